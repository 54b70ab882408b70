import { spawnSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { KeyAnswer } from '../../../src/keys/key-source.ts'
import { commandSource, splitCommand } from '../../../src/keys/sources/command.ts'
import { scratch } from '../../support/directories.ts'
import { KEY, KEY_TEXT } from '../../support/keychains.ts'

const folder = scratch()

const { signal } = new AbortController()
const ask = (line: string, timeLimit?: number) =>
  commandSource(line, timeLimit).read({ now: 0, hold: true, signal }) as Promise<KeyAnswer>

describe.skipIf(process.platform === 'win32')('a key command', () => {
  test('gives the key in its first output line', async () => {
    const answer = await ask(`sh -c 'echo ${KEY_TEXT}; echo more'`)
    expect(answer).toMatchObject({ state: 'found', keys: { current: KEY } })
  })

  test('kills nobody, if the program has replaced child_process.spawn', async () => {
    const processes = createRequire(import.meta.url)('node:child_process')
    const { spawn } = processes
    const bystander = spawn('sleep', ['30'], { detached: true, stdio: 'ignore' })
    try {
      const stdout = new EventEmitter()
      processes.spawn = () => Object.assign(new EventEmitter(), { pid: bystander.pid, stdout })
      const reason = 'sh: cannot be run (child_process.spawn was replaced)'
      expect(await ask(`sh -c 'echo ${KEY_TEXT} # replaced'`)).toEqual({ state: 'unavailable', reason })
      await sleep(50)
      expect([bystander.exitCode, bystander.signalCode]).toEqual([null, null])
    } finally {
      processes.spawn = spawn
      bystander.kill('SIGKILL')
    }
  })

  test('runs once in a process', async () => {
    const log = join(folder, 'once')
    const line = `sh -c 'echo x >>${log}; echo ${KEY_TEXT}'`
    await ask(line)
    expect(await ask(line)).toMatchObject({ state: 'found', keys: { current: KEY } })
    expect(readFileSync(log, 'utf8')).toBe('x\n')
  })

  test('that fails, prints nothing or prints something else is explained without quoting its output', async () => {
    expect(await ask('false')).toEqual({ state: 'unavailable', reason: 'false: failed with exit status 1' })
    expect(await ask('true')).toMatchObject({ state: 'refused' })
    expect(await ask('/no/such/program')).toMatchObject({
      state: 'unavailable',
      reason: expect.stringMatching(/ENOENT/),
    })
    const garbage = await ask("sh -c 'echo hunter2hunter2'")
    expect(garbage.state).toBe('refused')
    expect(garbage.reason).not.toContain('hunter2')
    expect(await ask('head -c 100000 /dev/urandom')).toMatchObject({ state: 'unavailable' })
    expect(await ask("sh 'x")).toMatchObject({ state: 'refused' })
  })

  test('is not waited for if it leaves an agent that holds its output open, and the agent stays', async () => {
    const pids = join(folder, 'agents')
    const line = `sh -c 'sleep 300 & echo $! >${pids}; echo ${KEY_TEXT}'`
    expect(await ask(line)).toMatchObject({ state: 'found', keys: { current: KEY } })
    const agent = Number(readFileSync(pids, 'utf8'))
    expect(isRunning(agent)).toBe(true)
    process.kill(agent)
    expect(await ask(`sh -c 'sleep 300 & echo $! >${pids}; echo ${KEY_TEXT}; exit 3'`)).toMatchObject({
      state: 'unavailable',
      reason: 'sh: failed with exit status 3',
    })
    process.kill(Number(readFileSync(pids, 'utf8')))
  })

  test('is refused and not run if its program is a relative path or starts with ~', async () => {
    const reason = expect.stringMatching(/must be a name or an absolute path/)
    for (const program of ['~/bin/key', '~', './key', 'bin/key', '../key'])
      expect(await ask(`${program} ${KEY_TEXT}`)).toEqual({ state: 'refused', reason })
    expect(await ask(`/bin/echo ${KEY_TEXT}`)).toMatchObject({ state: 'found' })
  })

  test('that takes too long is ended with everything that it started', async () => {
    const pids = join(folder, 'pids')
    const script = join(folder, 'slow.sh')
    writeFileSync(script, `sleep 300 & echo $! >>${pids}; echo $$ >>${pids}; wait`)
    expect(await ask(`sh ${script}`, 300)).toMatchObject({
      state: 'unavailable',
      reason: expect.stringMatching(/0\.3 s/),
    })
    await expectEnded(pids)
  })

  test('is ended when it is cancelled', async () => {
    const pids = join(folder, 'pids2')
    const script = join(folder, 'slow2.sh')
    writeFileSync(script, `sleep 300 & echo $! >>${pids}; echo $$ >>${pids}; wait`)
    const controller = new AbortController()
    void commandSource(`sh ${script}`).read({ now: 0, hold: true, signal: controller.signal })
    await expect.poll(() => spawnSync('cat', [pids], { encoding: 'utf8' }).stdout.split('\n').length).toBe(3)
    controller.abort()
    await expectEnded(pids)
  })

  test('runs with ticketkeep disabled and without the preload, standard input or a terminal', async () => {
    const seen = join(folder, 'env')
    process.env.NODE_OPTIONS = '--max-old-space-size=999 --require /x/ticketkeep/dist/preload.cjs'
    try {
      await ask(`sh -c 'env >${seen}; cat >>${seen}; tty >>${seen} 2>&1; echo ${KEY_TEXT}'`)
    } finally {
      delete process.env.NODE_OPTIONS
    }
    const lines = readFileSync(seen, 'utf8').split('\n')
    expect(lines).toContain('NODE_OPTIONS=--max-old-space-size=999')
    expect(lines).toContain('TICKETKEEP_DISABLE=1')
    expect(lines).toContain('not a tty')
  })
})

async function expectEnded(file: string) {
  const pids = readFileSync(file, 'utf8').trim().split('\n').map(Number)
  expect(pids).toHaveLength(2)
  for (const pid of pids) await expect.poll(() => isRunning(pid)).toBe(false)
  await sleep(0)
}

function isRunning(pid: number) {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

test('a command line is split into words, and nothing in it is expanded', () => {
  expect(splitCommand('vault kv get -field=key secret/ticketkeep', false)).toEqual([
    'vault',
    'kv',
    'get',
    '-field=key',
    'secret/ticketkeep',
  ])
  expect(splitCommand(String.raw`a 'b "c' "d 'e\" \f" g\ h '' $HOME ~ *;|`, false)).toEqual([
    'a',
    'b "c',
    String.raw`d 'e" \f`,
    'g h',
    '',
    '$HOME',
    '~',
    '*;|',
  ])
  expect(splitCommand(String.raw`"C:\Program Files\op.exe" read C:\x`, true)).toEqual([
    String.raw`C:\Program Files\op.exe`,
    'read',
    String.raw`C:\x`,
  ])
  expect(splitCommand('a "b', false)).toBeUndefined()
  expect(splitCommand('  ', false)).toEqual([])
})
