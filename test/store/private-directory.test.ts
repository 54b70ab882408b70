import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { findDirectory, type IfOpen, makeDirectory } from '../../src/store/private-directory.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { bundle, cleanEnv } from '../support/children.ts'
import { fresh, isRoot, scratch } from '../support/directories.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const posix = test.skipIf(process.platform === 'win32')
/** Only root can make files of another user. */
const root = test.skipIf(!isRoot)
const mode = (path: string) => statSync(path).mode & 0o7777
const now = Math.floor(Date.now() / 1000)

const put = (directory: string) => {
  const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
  return store.save({ host: 'a.test', port: 443 }, [ticket(1, now)], now) === 1 ? undefined : store.problem
}

/** The problem with a directory, or undefined. */
const problemOf = (directory: string, ifOpen: IfOpen = 'leave') => {
  const found = findDirectory(directory, ifOpen)
  return found.state === 'unusable' ? found.problem : undefined
}

describe('making the directory', () => {
  test('makes missing folders, with a CACHEDIR.TAG that tells backups to skip them', () => {
    const directory = join(scratch(), 'a', 'b', 'tls-tickets')
    expect(makeDirectory(directory)).toBeUndefined()
    expect(findDirectory(directory, 'leave').state).toBe('usable')
    const tag = execFileSync(process.execPath, [
      '-p',
      'fs.readFileSync(process.argv[1], "utf8")',
      join(directory, 'CACHEDIR.TAG'),
    ])
    expect(tag.toString()).toMatch(/^Signature: 8a477f597d28d172789f06886806bc55\n/)
    expect(makeDirectory(directory)).toBeUndefined()
  })

  test('says that a file is in the way', () => {
    const file = join(scratch(), 'file')
    writeFileSync(file, '')
    expect(makeDirectory(file)).toMatch(/is not a directory/)
    expect(makeDirectory(join(file, 'below'))).toMatch(/ENOTDIR|not a directory/)
  })

  posix('closes its own directory that others can enter, and does not change the folders above', () => {
    const parent = scratch()
    const directory = join(parent, 'tls-tickets')
    mkdirSync(directory)
    chmodSync(parent, 0o755)
    chmodSync(directory, 0o777)
    expect(problemOf(directory)).toBeUndefined()
    expect(mode(directory)).toBe(0o777)
    expect(makeDirectory(directory)).toBeUndefined()
    expect([mode(parent), mode(directory)]).toEqual([0o755, 0o700])
  })

  posix(
    'neither closes nor tags a directory with foreign files, which may be meant for others and for backups',
    () => {
      const directory = scratch()
      writeFileSync(join(directory, 'thesis.tex'), '')
      expect(put(directory)).toBeUndefined()
      expect(readdirSync(directory)).not.toContain('CACHEDIR.TAG')
      chmodSync(directory, 0o755)
      expect(put(directory)).toMatch(/holds files that are not tickets/)
      expect(problemOf(directory)).toMatch(/holds files that are not tickets/)
      expect(mode(directory)).toBe(0o755)
    },
  )

  posix('closes a store that was restored with mode 0755 before reading it', () => {
    const directory = fresh()
    put(directory)
    chmodSync(directory, 0o755)
    const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    expect(store.take({ host: 'a.test', port: 443 }, '', now)).toHaveLength(1)
    expect(mode(directory)).toBe(0o700)
  })

  posix('closes a restored store whose folders and files are writable for a group', () => {
    const directory = fresh()
    put(directory)
    const [folder = ''] = readdirSync(directory).filter((name) => name !== 'CACHEDIR.TAG')
    for (const path of [directory, join(directory, folder)]) chmodSync(path, 0o775)
    for (const name of readdirSync(join(directory, folder))) chmodSync(join(directory, folder, name), 0o664)
    expect(problemOf(directory)).toBeUndefined()
    const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    expect(store.take({ host: 'a.test', port: 443 }, '', now)).toHaveLength(1)
    expect([mode(directory), mode(join(directory, folder))]).toEqual([0o700, 0o700])
  })

  posix('does not follow a link', () => {
    const parent = scratch()
    mkdirSync(join(parent, 'target'), { mode: 0o700 })
    symlinkSync('target', join(parent, 'link'))
    symlinkSync('nowhere', join(parent, 'dangling'))
    expect(put(join(parent, 'link'))).toMatch(/symbolic link/)
    expect(put(join(parent, 'dangling'))).toMatch(/symbolic link/)
    expect(readdirSync(join(parent, 'target'))).toEqual([])
  })

  root("neither reads nor writes another user's directory (root only)", () => {
    const directory = fresh()
    put(directory)
    chownSync(directory, 12_345, 12_345)
    expect(put(directory)).toMatch(/belongs to another user \(uid 12345\)/)
    const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    expect(store.take({ host: 'a.test', port: 443 }, '', now)).toEqual([])
    expect([store.list(now), store.prune(now + 90_000).files]).toEqual([[], 0])
  })

  test('does not make a missing home directory', () => {
    const home = join(scratch(), 'later')
    vi.stubEnv('HOME', home)
    try {
      expect(put(join(home, '.cache', 'ticketkeep', 'tls-tickets'))).toMatch(
        /home directory .* does not exist/,
      )
      expect(existsSync(home)).toBe(false)
    } finally {
      vi.unstubAllEnvs()
    }
  })

  root("leaves nothing of root in another user's home (root only)", () => {
    const home = scratch()
    chownSync(home, 12_345, 12_345)
    expect(put(join(home, '.cache', 'ticketkeep', 'tls-tickets'))).toMatch(/belongs to another user/)
    expect(readdirSync(home)).toEqual([])
  })

  root('makes no directory behind a link of another user (root only)', () => {
    const parent = scratch()
    const target = join(parent, 'target')
    mkdirSync(target)
    symlinkSync(target, join(parent, 'link'))
    expect(put(join(parent, 'link', 'ours'))).toBeUndefined()
    lchownSync(join(parent, 'link'), 12_345, 12_345)
    expect(put(join(parent, 'link', 'theirs'))).toMatch(/belongs to another user \(uid 12345\)/)
    expect(readdirSync(target)).toEqual(['ours'])
  })

  root('makes a directory below one of root, but not below one of a third user (root only)', async () => {
    const parent = scratch()
    const script = await bundle(new URL('./child.ts', import.meta.url))
    chmodSync(join(script, '..'), 0o755)
    chmodSync(parent, 0o1777)
    mkdirSync(join(parent, 'third'))
    chownSync(join(parent, 'third'), 12_345, 12_345)
    chmodSync(join(parent, 'third'), 0o777)
    const asNobody = (directory: string) =>
      spawnSync(process.execPath, [script, directory, 'save', '1', '1'], {
        input: 'go',
        uid: 65_534,
        gid: 65_534,
        env: cleanEnv(),
        encoding: 'utf8',
      })
    expect(asNobody(join(parent, 'mine'))).toMatchObject({ status: 0, stderr: '' })
    expect(readdirSync(join(parent, 'mine'))).toHaveLength(2)
    expect(asNobody(join(parent, 'third', 'mine')).stderr).toMatch(/belongs to another user \(uid 12345\)/)
    expect(readdirSync(join(parent, 'third'))).toEqual([])
  })

  root('says that a read-only directory cannot be written (root only)', ({ skip }) => {
    const directory = scratch()
    put(directory)
    const mounted = spawnSync('sh', [
      '-c',
      'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"',
      'sh',
      directory,
    ])
    if (mounted.status !== 0) skip('this machine lets nobody mount')
    try {
      expect(put(directory)).toMatch(/EROFS/)
      const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
      expect(store.list(now)).toHaveLength(1)
      expect(
        store.take({ host: 'a.test', port: 443 }, '', now),
        'what cannot be removed cannot be used once',
      ).toEqual([])
      expect(store.prune(now + 90_000).files).toBe(0)
    } finally {
      execFileSync('umount', [directory])
    }
  })
})

describe('the default directory', () => {
  let script: string
  beforeAll(async () => {
    script = await bundle(new URL('./default-directory.ts', import.meta.url))
    chmodSync(join(script, '..'), 0o755)
  })
  const ask = (env: Record<string, string>, options: { uid?: number } = {}) =>
    spawnSync(process.execPath, [script], { env, encoding: 'utf8', ...options })

  const linux = test.skipIf(process.platform !== 'linux')

  linux('is in the cache directory of the user', () => {
    expect(ask({ HOME: '/home/me' }).stdout).toBe('/home/me/.cache/ticketkeep/tls-tickets')
    expect(ask({ HOME: '/home/me', XDG_CACHE_HOME: '/x' }).stdout).toBe('/x/ticketkeep/tls-tickets')
  })

  linux('does not exist if XDG_CACHE_HOME is relative', () => {
    expect(ask({ HOME: '/home/me', XDG_CACHE_HOME: 'x' }).stdout).toBe('none')
  })

  root('does not exist for a user without a passwd entry and without HOME (root only)', () => {
    expect(ask({}, { uid: 54_321 })).toMatchObject({ stdout: 'none', stderr: '', status: 0 })
    expect(existsSync('/.cache')).toBe(false)
  })
})
