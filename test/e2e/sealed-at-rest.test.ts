import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, findCommand, missingCommands, runs } from '../support/missing.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { createAuthority } from '../support/pki.ts'
import { createSandbox, type RunOptions, runProgram, type Sandbox, TEST_KEY } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

const HOST = 'registry.sealed.test'
const VERSIONS: TlsVersion[] = ['TLSv1.2', 'TLSv1.3']

/** Connects to a name that must not be found on disk, and prints the sessions that it got. */
const PROGRAM = `
  const address = { address: '127.0.0.1', family: 4 }
  const lookup = (_host, options, done) =>
    setImmediate(() => (options.all ? done(null, [address]) : done(null, address.address, 4)))
  require('node:https')
    .get({ host: '${HOST}', port: process.argv[2], lookup }, (response) => response.resume())
    .on('socket', (socket) => socket.on('session', (bytes) => console.log(bytes.toString('base64'))))`

const servers = {} as Record<TlsVersion, TlsServer>
let ca: string

beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  const identity = await authority.issue({ names: [HOST] })
  for (const version of VERSIONS) servers[version] = await startTlsServer({ ...identity, version })
})
afterAll(async () => {
  for (const server of Object.values(servers)) await server.close()
})

/** Runs the program twice against both servers; returns every session that it saw. */
async function fill(sandbox: Sandbox, options: Partial<RunOptions> = {}): Promise<Buffer[]> {
  const sessions: Buffer[] = []
  const pem = sandbox.write('ca.pem', ca)
  for (const version of [...VERSIONS, ...VERSIONS]) {
    const { status, stdout, stderr } = await runProgram({
      sandbox,
      source: PROGRAM,
      args: [String(servers[version].port)],
      ...options,
      env: { NODE_EXTRA_CA_CERTS: pem, ...options.env },
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    sessions.push(
      ...stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => Buffer.from(line, 'base64')),
    )
  }
  expect(sessions.length).toBeGreaterThan(2)
  return sessions
}

const pathsBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name))

/** A file as a thief would read it: its name, its bytes, and the base64 in it, decoded. */
function readings(path: string): Buffer {
  if (!lstatSync(path).isFile()) return Buffer.from(basename(path))
  const text = readFileSync(path, 'latin1')
  const decoded = (text.match(/[\w+/-]{16,}={0,2}/g) ?? []).map((run) => Buffer.from(run, 'base64'))
  return Buffer.concat([Buffer.from(basename(path)), Buffer.from(text, 'latin1'), ...decoded])
}

/** The encodings in which secret bytes could be on disk. */
function forms(secret: Buffer): Buffer[] {
  const base64 = [0, 1, 2].map((skip) => secret.subarray(skip).toString('base64').replace(/=*$/, ''))
  return [secret, Buffer.from(secret.toString('hex')), ...base64.map((text) => Buffer.from(text))]
}

const WINDOW = 12

/** Whether any 12 consecutive bytes of one of these secrets are in the haystack, in any encoding. */
function holdsAnyOf(haystack: Buffer, secrets: readonly Buffer[]): boolean {
  const windows = new Set<string>()
  for (let i = 0; i + WINDOW <= haystack.length; i++) windows.add(haystack.toString('latin1', i, i + WINDOW))
  return secrets.flatMap(forms).some((form) => {
    for (let i = 0; i + WINDOW <= form.length; i++) {
      if (windows.has(form.toString('latin1', i, i + WINDOW))) return true
    }
    return false
  })
}

describe('the store on disk', () => {
  it('contains no host name, no bytes of a ticket and no key', async () => {
    const sandbox = createSandbox()
    try {
      const secrets = [...(await fill(sandbox)), Buffer.from(TEST_KEY, 'base64'), Buffer.from(HOST)]
      const paths = [...pathsBelow(sandbox.tickets), ...pathsBelow(sandbox.home)]
      expect(sandbox.stored().length).toBeGreaterThan(1)
      expect(paths.filter((path) => holdsAnyOf(readings(path), secrets))).toEqual([])

      const plaintext = sandbox.write(
        'plain.json',
        JSON.stringify({ ticket: secrets[0]?.toString('base64') }),
      )
      expect(holdsAnyOf(readings(plaintext), secrets), 'the search finds what is there').toBe(true)
    } finally {
      sandbox.remove()
    }
  })

  it.each([
    ['000', '700', '600'],
    ['022', '700', '600'],
    ['077', '700', '600'],
    // A umask also takes rights from the user.
    ['777', '0', '0'],
  ])('is private to the user under umask %s', async (umask, ofFolders, ofFiles) => {
    const sandbox = createSandbox()
    try {
      const prefix = ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh']
      await fill(sandbox, { prefix })
      await fill(sandbox, { prefix, env: { TICKETKEEP_DIR: undefined } })
      const home = join(sandbox.home, '.cache', 'ticketkeep', 'tls-tickets')
      for (const folder of [sandbox.tickets, home]) {
        const paths = [folder, ...pathsBelow(folder)]
        const files = paths.filter((path) => lstatSync(path).isFile())
        const folders = paths.filter((path) => lstatSync(path).isDirectory())
        expect([files.length, folders.length]).toEqual([3, 3])
        expect(files.map(mode)).toEqual(files.map(() => ofFiles))
        expect(folders.map(mode)).toEqual(folders.map(() => ofFolders))
      }
    } finally {
      sandbox.remove()
    }
  })
})

const mode = (path: string) => (lstatSync(path).mode & 0o7777).toString(8)

const tracing = findCommand('strace') && !runs('strace', 'true') ? 'strace may not trace here' : undefined

describeWith([missingCommands('strace'), tracing], 'every file of the store', () => {
  it('is created private and follows no link', async () => {
    const sandbox = createSandbox()
    const trace = join(sandbox.directory, 'trace')
    try {
      await fill(sandbox, {
        prefix: ['strace', '-f', '-A', '-s', '4096', '-e', 'trace=open,openat,mkdir,mkdirat', '-o', trace],
      })
      const calls = readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => line.includes(sandbox.tickets))
      const made = calls.filter((line) => line.includes('O_CREAT'))
      expect(made.length).toBeGreaterThan(1)
      // With O_CREAT and O_EXCL the last part of a path is not followed either, if it is a link (open(2)).
      for (const line of made) expect(line).toMatch(/O_EXCL.*, 0600\)/)
      const folders = calls.filter((line) => line.includes('mkdir'))
      expect(folders.length).toBeGreaterThan(0)
      for (const line of folders) expect(line).toContain('0700)')
    } finally {
      sandbox.remove()
    }
  })
})
