import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type HostPort, peerOf } from '../../src/host-port.ts'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import { ticketFiles } from '../support/directories.ts'
import { describeWith } from '../support/missing.ts'
import { sleep } from '../support/ports.ts'
import { masterKey, ticket } from '../support/tickets.ts'
import { missingUsers, usePackageForEveryone, useUser } from '../support/users.ts'
import { cleanEnv, scratchDirectory, start, ticketkeep, useInstalled } from './kit.ts'

const now = () => Math.floor(Date.now() / 1000)
const KEY = Buffer.from(masterKey(1)).toString('base64')

const installed = useInstalled()

/** A directory of tickets that are encrypted with KEY, and `ticketkeep` with that directory. */
function place(key: string | undefined = KEY) {
  const home = scratchDirectory()
  const directory = join(home, 'tickets')
  const subkeys = deriveSubkeys(masterKey(1))
  const store = new TicketStore({ directory, subkeys, cipher: 'xsalsa20-poly1305' })
  const put = (peer: HostPort, seed: number, change: Partial<StoredTicket> & { age?: number } = {}) => {
    const { age = 0, ...rest } = change
    expect(store.save(peer, [ticket(seed, now() - age, { binding: 'b', ...rest })], now())).toBe(1)
  }
  const env = cleanEnv({ HOME: home, TICKETKEEP_DIR: directory, TICKETKEEP_KEY: key, LOGNAME: 'x' })
  const run = (...args: string[]) => ticketkeep(installed, args, { env })
  const json = (...args: string[]) => {
    const { stdout, stderr } = run(...args, '--json')
    expect(stderr).toBe('')
    return JSON.parse(stdout)
  }
  const tickets = () => ticketFiles(directory)
  return { home, directory, store, put, env, run, json, tickets }
}

describe('ticketkeep list', () => {
  it('shows for each server the protocol, age, time left and binding of its tickets', () => {
    const { put, run } = place()
    put(peerOf('b.example', 443), 1, { age: 60 })
    put(peerOf('a.example', 8443), 2, { protocol: 'TLSv1.2', age: 3600 })
    put(peerOf('a.example', 0), 3, { binding: undefined as never })
    put(peerOf('2001:db8::1', 443), 4, { expiresAtUnixSecs: now() + 1800 })
    const { stdout, stderr, status } = run('list')
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/))
    expect(rows[0]).toEqual(['server', 'protocol', 'age', 'expires in', 'bound'])
    expect(rows.slice(1).map(([server, protocol, , , bound]) => [server, protocol, bound])).toEqual([
      ['[2001:db8::1]:443', 'TLSv1.3', 'yes'],
      ['a.example:?', 'TLSv1.3', 'no'],
      ['a.example:8443', 'TLSv1.2', 'yes'],
      ['b.example:443', 'TLSv1.3', 'yes'],
    ])
    expect(rows[3]![2]).toBe('1h')
    // A busy machine takes a second or two for it.
    expect(rows[4]![2]).toMatch(/^1m( \ds)?$/)
  })

  it('prints the same as JSON, without any byte of a ticket', () => {
    const { put, run, json, directory } = place()
    const at = now()
    put(peerOf('a.example', 443), 7, { storedAtUnixSecs: at, verifiedAtUnixSecs: at - 3600 })
    expect(json('list')).toEqual({
      directory,
      tickets: [
        {
          host: 'a.example',
          port: 443,
          protocol: 'TLSv1.3',
          storedAtUnixSecs: at,
          expiresAtUnixSecs: at - 3600 + 86_400,
          bound: true,
        },
      ],
      failingServers: [],
    })
    const bytes = Buffer.from(ticket(7, 0).ticket)
    for (const { stdout } of [run('list'), run('list', '--json')]) {
      expect(stdout).not.toContain(bytes.toString('base64').slice(0, 12))
      expect(stdout).not.toContain(bytes.toString('hex').slice(0, 12))
    }
  })

  it('shows which servers failed on an offer, why, and how long they are left alone', () => {
    const { store, run, json, directory } = place()
    const at = now()
    store.failures.failed(peerOf('2001:db8::1', 443), undefined, 'ECONNRESET', at - 60)
    store.failures.failed(peerOf('a.example', 0), undefined, 'no answer', at)
    expect(json('list').failingServers).toEqual([
      {
        host: '2001:db8::1',
        port: 443,
        reason: 'ECONNRESET',
        failedAtUnixSecs: at - 60,
        untilUnixSecs: at - 60 + 3600,
      },
      { host: 'a.example', port: null, reason: 'no answer', failedAtUnixSecs: at, untilUnixSecs: at + 3600 },
    ])
    const { stdout } = run('list')
    expect(stdout).toMatch(new RegExp(`^There are no tickets in ${directory}.\n\nThese servers failed`))
    expect(stdout).toMatch(/^\[2001:db8::1\]:443 +ECONNRESET +1m( \d+s)? +5\dm( \d+s)?$/m)
    expect(stdout).toMatch(/^a\.example:\? +no answer +\ds +(1h|59m \d+s)$/m)
    expect(json('doctor').failingServers).toEqual(json('list').failingServers)
    expect(run('doctor').stdout).toMatch(/^\[2001:db8::1\]:443 +ECONNRESET /m)
    expect(json('invalidate', '[2001:db8::1]').removed).toBe(1)
    expect(json('list').failingServers).toHaveLength(1)
  })

  it('says that there are no tickets, and fails without a key', () => {
    const { run, directory } = place()
    expect(run('list')).toMatchObject({ status: 0, stdout: `There are no tickets in ${directory}.\n` })
    const keyless = place('swordfish')
    const { status, stdout, stderr } = keyless.run('list')
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(
      /^ticketkeep: without the key no ticket can be opened \(.*\); "ticketkeep doctor" says what to do\n$/,
    )
    expect(stderr).not.toContain('swordfish')
  })

  it('distinguishes an empty store from tickets of another key', () => {
    const { directory, put, env } = place()
    put(peerOf('a.example', 443), 1)
    const other = { ...env, TICKETKEEP_KEY: Buffer.from(masterKey(2)).toString('base64') }
    expect(ticketkeep(installed, ['list'], { env: other }).stdout).toBe(
      `There are no tickets of this key in ${directory}, and 1 file of others or too old.\n`,
    )
  })

  it('reports settings that do not work', () => {
    const { env } = place()
    const broken = { ...env, TICKETKEEP_KEY: 'c2hvcnQ=' }
    expect(ticketkeep(installed, ['list'], { env: broken })).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/no ticket can be opened \(variable: TICKETKEEP_KEY is not a key: .*\);/),
    })
  })
})

describe('ticketkeep invalidate', () => {
  it('removes the tickets of one host at every port and under every binding', () => {
    const { put, run, json } = place()
    put(peerOf('a.example', 443), 1)
    put(peerOf('a.example', 443), 2, { binding: 'c' })
    put(peerOf('a.example', 8443), 3)
    put(peerOf('a.example', 0), 4)
    put(peerOf('b.example', 443), 5)
    expect(run('invalidate', 'A.Example.')).toMatchObject({
      stdout: 'Removed 4 files of a.example.\n',
      status: 0,
    })
    expect(json('list').tickets.map((t: { host: string }) => t.host)).toEqual(['b.example'])
    expect(run('invalidate', 'a.example').stdout).toBe('There was no ticket of a.example.\n')
  })

  it('with a port removes the tickets of that port and of unknown ports', () => {
    const { put, json } = place()
    put(peerOf('a.example', 443), 1)
    put(peerOf('a.example', 8443), 2)
    put(peerOf('a.example', 0), 3)
    expect(json('invalidate', 'a.example:443')).toEqual({ host: 'a.example', port: 443, removed: 2 })
    expect(json('list').tickets).toMatchObject([{ port: 8443 }])
  })

  it('opens no file, so that unreadable files are removed too', () => {
    const { put, json, tickets } = place()
    put(peerOf('a.example', 443), 1)
    put(peerOf('a.example', 9), 2)
    for (const path of tickets()) writeFileSync(path, 'junk')
    expect(json('invalidate', 'a.example').removed).toBe(2)
    expect(tickets()).toEqual([])
  })

  it('accepts IPv6 addresses with and without a port', () => {
    const { put, json } = place()
    put(peerOf('2001:db8::1', 443), 1)
    put(peerOf('2001:db8::2', 443), 2)
    expect(json('invalidate', '[2001:db8::1]:443').removed).toBe(1)
    expect(json('invalidate', '2001:DB8:0::2')).toEqual({ host: '2001:db8::2', port: null, removed: 1 })
  })

  it.each(['', 'a b', 'a:0', 'a:65536', 'a:x', 'https://a.example', '[::1', '127.1'])(
    'refuses %j',
    (text) => {
      expect(place().run('invalidate', text)).toMatchObject({
        status: 2,
        stdout: '',
        stderr: `ticketkeep: "${text}" is not a server; give HOST, HOST:PORT or [IPv6 address]:PORT\n`,
      })
    },
  )
})

describe('ticketkeep prune', () => {
  it('removes expired tickets and leaves others', () => {
    const { put, run, json, tickets } = place()
    put(peerOf('a.example', 443), 1, { expiresAtUnixSecs: now() + 1 })
    put(peerOf('b.example', 443), 2)
    expect(tickets()).toHaveLength(2)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100)
    expect(run('prune').stdout).toMatch(/^Removed 1 file of tickets from /)
    expect(json('list').tickets).toHaveLength(1)
    expect(json('prune').removed).toBe(0)
  })
})

describe('ticketkeep prune after a key file was replaced', () => {
  const peer = peerOf('a.example', 443)

  /** A directory with one batch under each of two keys, the second of which is now in the key file. */
  function replaced() {
    const home = scratchDirectory()
    const directory = join(home, 'tickets')
    const save = (seed: number) => {
      const subkeys = deriveSubkeys(masterKey(seed))
      const store = new TicketStore({ directory, subkeys, cipher: 'xsalsa20-poly1305' })
      expect(store.save(peer, [ticket(seed, now(), { binding: 'b' })], now())).toBe(1)
    }
    const file = join(home, 'key')
    const put = (seed: number) => {
      rmSync(file, { force: true })
      writeFileSync(file, masterKey(seed), { mode: 0o600 })
    }
    const env = cleanEnv({ HOME: home, TICKETKEEP_DIR: directory, TICKETKEEP_KEY_FILE: file })
    const prune = (more: NodeJS.ProcessEnv = {}) =>
      JSON.parse(ticketkeep(installed, ['prune', '--json'], { env: { ...env, ...more } }).stdout).removed
    return { directory, save, put, prune, env, tickets: () => ticketFiles(directory) }
  }

  it('removes tickets that no key can open any more and leaves those of the new key', () => {
    const { save, put, prune, tickets, env } = replaced()
    put(1)
    save(1)
    expect(prune()).toBe(0)
    put(2)
    save(2)
    expect(prune()).toBe(1)
    expect(tickets()).toHaveLength(1)
    expect(JSON.parse(ticketkeep(installed, ['list', '--json'], { env }).stdout).tickets).toHaveLength(1)
    expect(prune()).toBe(0)
  })

  it('leaves tickets that another key has stored since, and everything if the key cannot be read', () => {
    const { directory, save, put, prune, tickets } = replaced()
    put(2)
    // The name of a batch has the time of its newest ticket. That is an hour ahead here, so that no clock decides.
    const later = now() + 3600
    const store = new TicketStore({
      directory,
      subkeys: deriveSubkeys(masterKey(3)),
      cipher: 'xsalsa20-poly1305',
    })
    expect(store.save(peer, [ticket(3, later, { binding: 'b' })], later)).toBe(1)
    save(1)
    expect(prune({ TICKETKEEP_KEY_FILE: '/nonexistent/key' })).toBe(0)
    expect(prune({ TICKETKEEP_KEY_FILE: undefined, TICKETKEEP_KEY: KEY })).toBe(0)
    expect(tickets()).toHaveLength(2)
    expect(prune()).toBe(1)
    expect(tickets()).toHaveLength(1)
  })
})

describe('ticketkeep status', () => {
  it('says where tickets are, how many there are and which key is used', () => {
    const { put, json, run, directory } = place()
    put(peerOf('a.example', 443), 1)
    put(peerOf('a.example', 8443), 2)
    put(peerOf('b.example', 443), 3)
    const status = json('status')
    expect(status).toMatchObject({
      keeping: true,
      disabled: false,
      active: false,
      preload: installed.preload,
      directory: { path: directory, exists: true, problem: null },
      files: 3,
      tickets: 3,
      hosts: 2,
      key: { source: 'variable', available: true, creatable: false },
    })
    if (process.platform !== 'win32')
      expect(status.directory).toMatchObject({ mode: '0700', owner: process.getuid?.() })
    expect(run('status').stdout).toContain('3 tickets of 2 hosts, in 3 files, ')
    expect(JSON.stringify(status)).not.toContain(KEY)
  })

  it('says whether programs that are started from here load the preload', () => {
    const { env } = place()
    const active = (extra: NodeJS.ProcessEnv) =>
      JSON.parse(ticketkeep(installed, ['status', '--json'], { env: { ...env, ...extra } }).stdout)
    expect(active({ NODE_OPTIONS: `--require=${installed.preload}` })).toMatchObject({
      active: true,
      keeping: true,
    })
    expect(active({ NODE_OPTIONS: `--require=${installed.preload}`, TICKETKEEP_DISABLE: '1' })).toMatchObject(
      {
        active: false,
        disabled: true,
        keeping: false,
      },
    )
    expect(active({ AUBE_DISABLE_TLS_TICKET_CACHE: '' })).toMatchObject({ disabled: true, keeping: false })
  })

  it('says without a key that nothing is kept, why, and what to do', () => {
    const { home, directory } = place()
    const env = cleanEnv({ HOME: home, TICKETKEEP_DIR: directory, TICKETKEEP_KEY_SOURCE: 'memory' })
    const { stdout, status } = ticketkeep(installed, ['status'], { env })
    expect(status).toBe(0)
    expect(stdout).toMatch(/^tickets kept +no$/m)
    expect(stdout).toContain('Nothing is kept on disk, because no source gave a key:')
    expect(stdout).toContain('make a key file: ticketkeep init --key-file')
    expect(existsSync(directory)).toBe(false)
  })

  it('reports a directory that is not private', () => {
    const { directory, json, run } = place()
    mkdirSync(directory, { mode: 0o755 })
    chmodSync(directory, 0o755)
    writeFileSync(join(directory, 'foreign'), '')
    expect(json('status')).toMatchObject({ keeping: false, directory: { mode: '0755' } })
    expect(run('status').stdout).toMatch(/Nothing is kept: .* is open to other users/)
  })

  it('counts the files of other keys without opening them', () => {
    const { put, env } = place()
    put(peerOf('a.example', 443), 1)
    const other = { ...env, TICKETKEEP_KEY: Buffer.from(masterKey(2)).toString('base64') }
    const status = JSON.parse(ticketkeep(installed, ['status', '--json'], { env: other }).stdout)
    expect(status).toMatchObject({ files: 1, tickets: 0, hosts: 0 })
  })
})

/** A plaintext file as the original program writes it. */
function plaintext(path: string, hosts: Record<string, number[]>): string {
  const entries = Object.entries(hosts).map(([host, ages]) => [
    { host, port: 443 },
    ages.map((age, i) => ({
      ticket: [...ticket(i + 1, 0).ticket],
      spki_fp: Array(32).fill(1),
      stored_at_unix_secs: now() - age,
    })),
  ])
  writeFileSync(path, JSON.stringify({ magic: 'aube-tls-tickets/v1', entries }))
  return path
}

describe('ticketkeep import', () => {
  it('stores the fresh tickets of a plaintext file, removes the file and prints their number', () => {
    const { home, run, json, directory } = place()
    const file = plaintext(join(home, 'tls-tickets.json'), {
      'a.example': [30, 20],
      'b.example': [10, 90_000],
    })
    expect(run('import', file)).toMatchObject({
      status: 0,
      stdout: `Encrypted 3 tickets into ${directory} and removed ${file}.\n`,
      stderr: '',
    })
    expect(existsSync(file)).toBe(false)
    expect(json('list').tickets).toMatchObject([
      { host: 'a.example', bound: false },
      { host: 'a.example', bound: false },
      { host: 'b.example', bound: false },
    ])
    const again = plaintext(file, { 'c.example': [1] })
    expect(json('import', again)).toEqual({ file, directory, imported: 1 })
  })

  it.skipIf(!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(tmpdir()).dev)(
    'works across file systems (needs /dev/shm)',
    () => {
      const { json } = place()
      const elsewhere = mkdtempSync('/dev/shm/import-')
      const file = plaintext(join(elsewhere, 'tls-tickets.json'), { 'a.example': [1] })
      expect(json('import', file).imported).toBe(1)
      expect(readdirSync(elsewhere)).toEqual([])
      expect(json('status').files).toBe(1)
      rmSync(elsewhere, { recursive: true })
    },
  )

  it.skipIf(process.geteuid?.() !== 0 || !existsSync('/dev/shm'))(
    'does not take a file that another user puts in its place meanwhile (needs root and /dev/shm)',
    async () => {
      const { json, env } = place()
      const elsewhere = mkdtempSync('/dev/shm/import-')
      const [file, other] = [join(elsewhere, 'tickets.json'), join(elsewhere, 'other.json')]
      for (let i = 0; i < 6; i++) {
        // It takes a while to read.
        plaintext(file, { 'a.example': Array.from({ length: 20_000 }, () => 1) })
        chownSync(plaintext(other, { 'planted.example': [1] }), 54_321, 54_321)
        const { ended } = start(installed, ['import', file], env)
        await sleep(80 + 40 * i)
        renameSync(other, file)
        await ended
      }
      rmSync(elsewhere, { recursive: true })
      const hosts = json('list').tickets.map(({ host }: { host: string }) => host)
      expect(hosts).not.toContain('planted.example')
    },
  )

  it('leaves other files unchanged and says so in one sentence', () => {
    const { home, run, directory } = place()
    const file = join(home, 'notes.json')
    writeFileSync(file, '{"magic":"other"}')
    expect(run('import', file)).toMatchObject({
      status: 1,
      stderr: `ticketkeep: nothing was imported: ${file} is not a plaintext ticket file\n`,
    })
    expect(readFileSync(file, 'utf8')).toBe('{"magic":"other"}')
    expect(run('import', `${directory}-nowhere`).stderr).toContain('does not exist; give the path')
    expect(run('import')).toMatchObject({ status: 2 })
  })

  it('leaves the file unchanged without a key or if ticketkeep is disabled', () => {
    for (const extra of [{ TICKETKEEP_KEY_SOURCE: 'memory' }, { TICKETKEEP_DISABLE: '1' }]) {
      const { home, env, directory } = place()
      const file = plaintext(join(home, 'tls-tickets.json'), { 'a.example': [1] })
      const { status, stdout } = ticketkeep(installed, ['import', file], { env: { ...env, ...extra } })
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
      expect(existsSync(file)).toBe(true)
      expect(existsSync(directory)).toBe(false)
    }
  })
})

// As plain mkdir makes it. A program with the preload closes it, so it is no problem.
describe('a directory of tickets alone that others can enter', () => {
  it('is reported by status as keeping tickets, and not changed', () => {
    const { directory, put, json } = place()
    put(peerOf('a.example', 443), 1)
    chmodSync(directory, 0o755)
    expect(json('status')).toMatchObject({ keeping: true, directory: { mode: '0755', problem: null } })
    expect(statSync(directory).mode & 0o777).toBe(0o755)
  })

  it.each(['list', 'prune', 'invalidate b.example'])('is closed by %s', (words) => {
    const { directory, put, run } = place()
    put(peerOf('a.example', 443), 1)
    chmodSync(directory, 0o755)
    expect(run(...words.split(' '))).toMatchObject({ status: 0, stderr: '' })
    expect(statSync(directory).mode & 0o777).toBe(0o700)
  })
})

describe('ticketkeep purge', () => {
  it('needs no home', () => {
    const { directory, put, env } = place()
    put(peerOf('a.example', 443), 1)
    const homeless = { ...env, HOME: '/dev/null', XDG_CACHE_HOME: undefined }
    expect(ticketkeep(installed, ['purge', '--keep-key'], { env: homeless })).toMatchObject({
      status: 0,
      stdout: `Removed 1 file of tickets from ${directory}.\n`,
    })
    const nowhere = { ...homeless, TICKETKEEP_DIR: '/dev/null/tickets' }
    expect(ticketkeep(installed, ['purge', '--keep-key'], { env: nowhere })).toMatchObject({
      status: 0,
      stderr: '',
    })
  })

  it('leaves foreign files: a tag, an empty directory, and files behind a link', () => {
    const { home, directory, put, run } = place()
    mkdirSync(directory)
    run('purge', '--keep-key')
    expect(existsSync(directory)).toBe(true)
    writeFileSync(join(directory, 'CACHEDIR.TAG'), 'mine')
    put(peerOf('a.example', 443), 1)
    run('purge', '--keep-key')
    expect(readdirSync(directory)).toEqual(['CACHEDIR.TAG'])
    put(peerOf('a.example', 443), 1)
    renameSync(directory, join(home, 'elsewhere'))
    symlinkSync(join(home, 'elsewhere'), directory)
    expect(run('purge', '--keep-key')).toMatchObject({
      status: 1,
      stderr: `ticketkeep: nothing was removed: ${directory} is a symbolic link; name the directory of the tickets in TICKETKEEP_DIR\n`,
    })
    expect(readdirSync(join(home, 'elsewhere'))).toHaveLength(2)
  })

  it('removes every ticket of every key, and nothing else', () => {
    const { put, store, run, directory } = place()
    put(peerOf('a.example', 443), 1)
    put(peerOf('b.example', 443), 2)
    const other = deriveSubkeys(masterKey(2))
    new TicketStore({ directory, subkeys: other, cipher: 'aes-256-gcm' }).save(
      peerOf('a.example', 443),
      [ticket(3, now())],
      now(),
    )
    writeFileSync(join(directory, 'mine.txt'), 'x')
    expect(run('purge', '--keep-key')).toMatchObject({
      status: 0,
      stdout: `Removed 3 files of tickets from ${directory}.\n`,
    })
    expect(readdirSync(directory)).toEqual(['mine.txt'])
    expect(store.list(now())).toEqual([])
  })

  it('needs no key and succeeds without tickets', () => {
    const { put, env, directory, json } = place()
    put(peerOf('a.example', 443), 1)
    const keyless = { ...env, TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_SOURCE: 'memory' }
    expect(ticketkeep(installed, ['purge', '--keep-key'], { env: keyless }).status).toBe(0)
    expect(existsSync(directory)).toBe(false)
    expect(json('purge', '--keep-key')).toEqual({ directory, removed: 0, keys: [], files: [] })
  })
})

describeWith(missingUsers(), 'in a directory that its user cannot read or write', () => {
  const everyones = usePackageForEveryone()
  const user = useUser('closed')

  it.each([
    ['purge --keep-key', 0o000],
    ['purge --keep-key', 0o500],
    ['prune', 0o000],
    ['prune', 0o500],
    ['list', 0o000],
    ['invalidate a.example', 0o000],
  ])('%s fails if the mode is %o', (words, mode) => {
    const parent = mkdtempSync(join(everyones.folder, 'of-'))
    chmodSync(parent, 0o755)
    const directory = join(parent, 'tickets')
    const store = new TicketStore({
      directory,
      subkeys: deriveSubkeys(masterKey(1)),
      cipher: 'xsalsa20-poly1305',
    })
    store.save(peerOf('a.example', 443), [ticket(1, now(), { binding: 'b' })], now())
    spawnSync('chown', ['-R', user.name, directory])
    chmodSync(directory, mode)
    const env = cleanEnv({ HOME: user.home, TICKETKEEP_DIR: directory, TICKETKEEP_KEY: KEY })
    const [command, ...args] = [...user.prefix, everyones.node(process.execPath), everyones.cli]
    const { status, stdout, stderr } = spawnSync(command!, [...args, ...words.split(' ')], {
      env,
      encoding: 'utf8',
    })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(
      /^ticketkeep: [^\n]*(cannot be read|cannot be written to|can be read and written to)[^\n]*\n$/,
    )
    expect(ticketFiles(directory)).toHaveLength(words.startsWith('purge') && mode === 0o500 ? 0 : 1)
  })
})

describe('every command about the store', () => {
  it.each([
    ['status', '[--user NAME | --prometheus] [--json]'],
    ['list', '[--json]'],
    ['prune', '[--json]'],
  ])('%s takes no operand and no unknown option', (name, usage) => {
    expect(place().run(name, 'x')).toMatchObject({
      status: 2,
      stderr: `ticketkeep: too many arguments (x); usage: ticketkeep ${name} ${usage}\n`,
    })
    expect(place().run(name, '--all').status).toBe(2)
  })

  it('names the variable with an invalid value', () => {
    const { env } = place()
    const { status, stderr } = ticketkeep(installed, ['list'], {
      env: { ...env, TICKETKEEP_KEY_SOURCE: 'oracle' },
    })
    expect(status).toBe(2)
    expect(stderr).toMatch(/^ticketkeep: TICKETKEEP_KEY_SOURCE must be one of auto, /)
  })

  it.each(['list', 'prune', 'invalidate a.example'])('%s says why a directory cannot be used', (words) => {
    const { run, directory } = place()
    mkdirSync(directory)
    writeFileSync(join(directory, 'foreign'), '')
    chmodSync(directory, 0o755)
    const { status, stdout, stderr } = run(...words.split(' '))
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^ticketkeep: the directory .* is open to other users, .*TICKETKEEP_DIR\n$/)
  })

  it('import refuses an empty name', () => {
    const { status, stderr } = place().run('import', '')
    expect(status).toBe(2)
    expect(stderr).toMatch(/^ticketkeep: FILE is empty; give/)
  })

  it('list, status and doctor change nothing', () => {
    const { put, run, directory } = place()
    put(peerOf('a.example', 443), 1)
    const contents = () => ticketFiles(directory).map((path) => [path, readFileSync(path, 'latin1')])
    const before = contents()
    for (const name of ['status', 'list']) expect(run(name).status).toBe(0)
    expect(contents()).toEqual(before)
  })
})
