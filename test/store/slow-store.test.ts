import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SlowStore } from '../../src/store/slow-store.ts'
import { cleanEnv, node, useBundle } from '../support/children.ts'
import { fresh, isRoot, scratch } from '../support/directories.ts'

/** A clock that only the test moves. */
const clock = {
  ms: 0,
  waited: 0,
  delayed: 0,
  now: () => Date.now() + clock.ms,
  elapsed: () => clock.ms,
  waits: () => clock.waited,
  delay: () => clock.delayed,
}
const pass = (ms: number) => {
  clock.ms += ms
  clock.waited++
}

let memory: string
beforeEach(() => {
  memory = scratch()
  clock.ms = 0
  clock.waited = 0
  clock.delayed = 0
})

const guard = (directory = '/a') => new SlowStore(directory, clock, memory)
const marks = () => readdirSync(memory).map((name) => readlinkSync(join(memory, name)))
const work = (of: SlowStore, ...times: number[]) => {
  for (const ms of times) of.read(() => pass(ms))
}

describe('a process', () => {
  test('leaves a store alone once most of its calls were slow and took over 50 ms in all', () => {
    const slow = guard()
    expect(slow.isLeftAlone).toBe(false)
    work(slow, 20, 20)
    expect([slow.isLeftAlone, marks()]).toEqual([false, []])
    work(slow, 20)
    expect([slow.isLeftAlone, slow.problem, marks()]).toEqual([true, 'its file system is too slow', ['busy']])
    pass(1e9)
    expect(slow.isLeftAlone).toBe(true)
  })

  test.each<[string, number[]]>([
    ['one call took long', [500]],
    ['a few of many calls took long', [0, 1, 30, 0, 1, 30, 0, 1]],
    ['many calls took little time', Array(500).fill(1)],
  ])('uses a store on if %s', (_, times) => {
    const slow = guard()
    expect(slow.isLeftAlone).toBe(false)
    work(slow, ...times)
    expect([slow.isLeftAlone, marks()]).toEqual([false, []])
  })

  test('uses a store on if other programs had the processor meanwhile', () => {
    const slow = guard()
    for (let i = 0; i < 10; i++)
      slow.read(() => {
        pass(100)
        clock.waited = 0
      })
    expect([slow.isLeftAlone, marks()]).toEqual([false, []])
  })

  test('reads its waiting times once a turn, and again after slow calls', async () => {
    let asked = 0
    const waits = () => {
      asked++
      return clock.waited
    }
    const slow = new SlowStore('/a', { ...clock, waits }, memory)
    work(slow, 1, 1, 1)
    expect(asked).toBe(1)
    work(slow, 30)
    expect(asked).toBe(2)
    await Promise.resolve()
    work(slow, 1)
    expect(asked).toBe(3)
  })

  test('leaves a store alone that becomes slow after a long time', () => {
    const slow = guard()
    for (let i = 0; i < 50 && !slow.isLeftAlone; i++) work(slow, ...Array(100).fill(1))
    pass(20_000)
    expect(slow.isLeftAlone).toBe(false)
    work(slow, 30, 30)
    expect(slow.isLeftAlone).toBe(true)
  })

  test('returns what a call returns and throws what it throws', () => {
    const slow = guard()
    expect([slow.read(() => 1), slow.write(() => 2)]).toEqual([1, 2])
    const fails = () => {
      throw new Error('no')
    }
    for (const how of [() => slow.read(fails), () => slow.write(fails)]) expect(how).toThrow('no')
    expect(marks()).toEqual([])
  })

  test('has a mark during its first write', () => {
    const slow = guard()
    const during = () => slow.write(marks)
    expect([during(), marks(), during()]).toEqual([[`${process.pid}`], [], []])
  })

  test('marks the store as slow if its write was slow', () => {
    const slow = guard()
    work(slow, 100)
    slow.write(() => pass(100))
    expect(marks()).toEqual(['busy'])
  })
})

test('a process that waited for a processor does not leave its store alone', () => {
  const slow = guard()
  expect(slow.isLeftAlone).toBe(false)
  clock.delayed += 40
  work(slow, 30, 30)
  expect([slow.isLeftAlone, marks()]).toEqual([false, []])
  work(slow, 30)
  expect([slow.isLeftAlone, marks()]).toEqual([true, ['busy']])
})

describe('other processes', () => {
  test('leave a store alone for ten seconds after it was slow once, since the machine may have been busy', () => {
    work(guard(), 30, 30)
    expect([guard().isLeftAlone, guard('/b').isLeftAlone]).toEqual([true, false])
    pass(9_000)
    expect(guard().isLeftAlone).toBe(true)
    pass(2_000)
    expect(guard().isLeftAlone).toBe(false)
  })

  test('leave it alone for no longer if several find it slow at once', () => {
    for (const one of [guard(), guard(), guard()]) work(one, 30, 30)
    pass(11_000)
    expect(guard().isLeftAlone).toBe(false)
  })

  test('leave a slow store alone for ten minutes, and only that one', () => {
    work(guard(), 30, 30)
    pass(11_000)
    work(guard(), 30, 30)
    expect([guard().isLeftAlone, guard('/b').isLeftAlone]).toEqual([true, false])
    // The mark has the time of the machine, which is 11 seconds behind this clock.
    pass(588_000)
    expect(guard().isLeftAlone).toBe(true)
    pass(2_000)
    expect([guard().isLeftAlone, marks()]).toEqual([false, []])
  })

  test('notice within ten seconds that a store is slow and that it is no longer slow', () => {
    const other = guard()
    expect(other.isLeftAlone).toBe(false)
    work(guard(), 30, 30)
    pass(10_001)
    work(guard(), 30, 30)
    pass(10_000)
    expect([other.isLeftAlone, other.problem]).toEqual([
      true,
      'its file system was too slow for another process',
    ])
    pass(600_000)
    expect([other.isLeftAlone, other.problem]).toEqual([false, undefined])
  })

  test('leave a store alone if a process has been writing to it for five seconds', () => {
    const stuck = guard()
    stuck.write(() => {
      expect(guard().isLeftAlone).toBe(false)
      pass(5_010)
      expect(guard().isLeftAlone).toBe(true)
      pass(600_000)
      expect(guard().isLeftAlone).toBe(false)
    })
  })

  test('ignore the mark of a killed process', () => {
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    symlinkSync(`${pid}`, join(memory, markName()))
    pass(6_000)
    expect([guard().isLeftAlone, marks()]).toEqual([false, []])
  })

  test('ignore anything else in the place of the mark, or a missing /dev/shm', () => {
    writeFileSync(join(memory, markName()), 'slow')
    expect(guard().isLeftAlone).toBe(false)
    const without = new SlowStore('/a', clock, join(memory, 'nowhere'))
    work(without, 30, 30)
    expect([without.isLeftAlone, new SlowStore('/a', clock, join(memory, 'nowhere')).isLeftAlone]).toEqual([
      true,
      false,
    ])
  })

  function markName(): string {
    const elsewhere = scratch()
    let name = ''
    new SlowStore('/a', clock, elsewhere).write(() => {
      name = readdirSync(elsewhere)[0]!
    })
    return name
  }
})

const hasShm = process.platform === 'linux' && existsSync('/dev/shm')
const hasStrace = spawnSync('strace', ['-V']).status === 0

describe('a program', () => {
  const script = useBundle(new URL('./slow-child.ts', import.meta.url))
  const made: string[] = []
  afterEach(() => {
    for (const path of made.splice(0)) execFileSync('umount', [path])
    for (const name of readdirSync('/dev/shm').filter((name) => name.startsWith('ticketkeep-')))
      execFileSync('rm', ['-f', join('/dev/shm', name)])
  })

  /** What the child reports: how many milliseconds its calls on the store took, and their results. */
  const run = async (directory: string, command: string[] = []) => {
    const { stdout, stderr, code } = await node(script.path, [directory], cleanEnv(), command).done
    expect({ stderr: command.length ? '' : stderr, code }).toEqual({ stderr: '', code: 0 })
    return JSON.parse(stdout) as {
      ms: number
      taken: number
      saved: number
      problem?: string
      memoryCalls: number
    }
  }

  test.skipIf(!hasShm)('with a fast store makes three calls on the memory file system', async () => {
    const directory = fresh()
    await run(directory)
    expect(await run(directory)).toMatchObject({ taken: 1, saved: 1, memoryCalls: 3 })
  })

  test.skipIf(!hasShm || !hasStrace)(
    'is delayed little by a store whose calls take 20 ms, and later programs are not delayed (needs strace)',
    async () => {
      const directory = fresh()
      await run(directory)
      const calls = 'open,openat,lstat,newfstatat,statx,stat,mkdir,rename,unlink,getdents64'
      const slow = ['strace', '-f', '-o', '/dev/null', '-P', directory, '-e', `trace=${calls}`]
      const inject = [...slow, '-e', `inject=${calls}:delay_enter=20000`]
      // strace delays the calls on files below the directory, by their paths.
      const paths = readdirSync(directory).flatMap((folder) => {
        const path = join(directory, folder)
        return lstatSync(path).isDirectory()
          ? [path, ...readdirSync(path).map((name) => join(path, name))]
          : []
      })
      const command = [...inject, ...paths.flatMap((path) => ['-P', path])]
      const first = await run(directory, command)
      expect(first.problem).toMatch(/is left alone: its file system is too slow/)
      expect(first.ms).toBeLessThan(500)
      const next = await run(directory, command)
      expect(next).toMatchObject({ taken: 0, saved: 0 })
      expect(next.problem).toMatch(/was too slow for another process/)
      // Without strace it takes 0.1 ms.
      expect(next.ms).toBeLessThan(first.ms)
    },
  )

  test.skipIf(!hasShm || !canFreeze())(
    'is blocked by a frozen file system, and no program is five seconds later (root only)',
    async () => {
      const place = scratch()
      const [image, mounted] = [join(place, 'image'), join(place, 'mounted')]
      mkdirSync(mounted)
      mountImage(image, mounted)
      made.push(mounted)
      const directory = join(mounted, 'tls-tickets')
      await run(directory)
      execFileSync('fsfreeze', ['-f', mounted])
      const stuck = spawn(process.execPath, [script.path, directory], { env: cleanEnv(), stdio: 'ignore' })
      const ended = new Promise((resolve) => stuck.on('close', resolve))
      try {
        await sleep(5_500)
        expect(stuck.exitCode).toBeNull()
        expect(await run(directory)).toMatchObject({
          taken: 0,
          saved: 0,
          problem: expect.stringContaining('too slow'),
        })
      } finally {
        execFileSync('fsfreeze', ['-u', mounted])
      }
      expect(await ended).toBe(0)
      expect(await run(directory)).toMatchObject({ saved: 1 })
    },
    30_000,
  )
})

function mountImage(image: string, at: string): void {
  execFileSync('dd', ['if=/dev/zero', `of=${image}`, 'bs=1M', 'count=8'], { stdio: 'ignore' })
  execFileSync('mkfs.ext4', ['-q', image])
  execFileSync('mount', ['-o', 'loop', image, at], { stdio: 'ignore' })
  execFileSync('chmod', ['700', at])
}

function canFreeze(): boolean {
  if (!isRoot || process.platform !== 'linux') return false
  const place = scratch()
  try {
    mkdirSync(join(place, 'mounted'))
    mountImage(join(place, 'image'), join(place, 'mounted'))
    execFileSync('fsfreeze', ['-f', join(place, 'mounted')])
    execFileSync('fsfreeze', ['-u', join(place, 'mounted')])
    execFileSync('umount', [join(place, 'mounted')])
    return true
  } catch {
    return false
  }
}
