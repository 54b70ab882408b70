import { execFileSync, spawnSync } from 'node:child_process'
import { hash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWith, missingNode, missingRoot } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { DIST } from '../support/places.ts'
import {
  createSandbox,
  environment,
  type RunOptions,
  runProgram,
  type Sandbox,
} from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

// Says under which of two names its connection is heard of: as wire.cjs has it, and the same in capitals.
// Nothing can be kept, so that every run is like the first.
const PROGRAM = `
const names = new Set()
for (const name of ['ticketkeep', 'TICKETKEEP']) {
  require('node:diagnostics_channel').subscribe(name + ':skip', () => names.add(name))
}
process.on('exit', () => console.log(...names))
require('node:https').get(process.argv[2], (response) => response.resume())`

let server: TlsServer
let ca: string

beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  server = await startTlsServer(await authority.issue())
})
afterAll(() => server?.close())

let sandbox: Sandbox
let dist: string

beforeEach(() => {
  sandbox = createSandbox()
  dist = join(sandbox.directory, 'dist')
  mkdirSync(dist)
  for (const name of readdirSync(DIST).filter((name) => name.endsWith('.cjs')))
    copyFileSync(join(DIST, name), join(dist, name))
  return () => sandbox.remove()
})

const trusting = () => ({ NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca) })

const run = (options: Partial<RunOptions> = {}) =>
  runProgram({
    sandbox,
    source: PROGRAM,
    args: [`https://localhost:${server.port}`],
    preload: join(dist, 'preload.cjs'),
    env: { ...trusting(), TICKETKEEP_DIR: '/dev/null/nowhere' },
    ...options,
  })

const compiled = () => readdirSync(dist).filter((name) => /^wire\.(?!cjs$)/.test(name))
const theFile = () => {
  expect(compiled()).toHaveLength(1)
  return join(dist, compiled()[0]!)
}

describe('compiled code', () => {
  it('is written once, and no more open than the source', async () => {
    await run()
    const first = statSync(theFile())
    expect(first.mode & 0o133).toBe(0)
    await run()
    expect(statSync(theFile()).ino).toBe(first.ino)
  })

  it('is written again where more of it has run, until all has', async () => {
    const wrote = async (cipher: string) => {
      const before = compiled().length === 0 ? 0 : statSync(theFile()).ino
      const env = { ...trusting(), TICKETKEEP_CIPHER: cipher }
      expect(await run({ env })).toMatchObject({ status: 0, stderr: '' })
      return statSync(theFile()).ino !== before
    }
    const rounds = ['aes-256-gcm', 'xsalsa20-poly1305', 'aes-256-gcm'].map((cipher) => [
      cipher,
      cipher,
      cipher,
    ])
    const written: boolean[] = []
    for (const cipher of rounds.flat()) written.push(await wrote(cipher))
    // A full handshake, then a resumption; and what seals.
    expect(written).toEqual([true, true, false, true, false, false, false, false, false])
  })

  it('of which V8 has thrown some away takes the place of none', async () => {
    const env = trusting()
    const endingWith = async (end: string) => {
      const source = `require('node:https').get(process.argv[2], (r) => r.resume().on('close', () => { ${end} }))`
      expect(await run({ env, source })).toMatchObject({ status: 0, stderr: '' })
      return statSync(theFile())
    }
    const { ino, size } = await endingWith('')
    // Collects until what has not run for a while is gone. This one and the next are resumed, which is more.
    const collecting = 'for (let i = 0; i < 200; i++) Array.from({ length: 20 }, () => new ArrayBuffer(5e6))'
    expect((await endingWith(collecting)).ino).toBe(ino)
    expect((await endingWith('process.uptime = () => 60')).ino).toBe(ino)
    // The server gives no ticket for a ticket.
    await endingWith('')
    expect((await endingWith('')).size).toBeGreaterThan(size)
  })

  it('of another source is not used, be that of the same length and age', async () => {
    const path = join(dist, 'wire.cjs')
    // npm gives every file of a package the same time.
    const age = () => utimesSync(path, 499_162_500, 499_162_500)
    age()
    expect((await run()).stdout).toBe('ticketkeep\n')
    const { ino } = statSync(theFile())
    const source = readFileSync(path, 'latin1')
    sandbox.write('dist/wire.cjs', source.replaceAll('ticketkeep:', 'TICKETKEEP:'))
    age()
    expect((await run()).stdout).toBe('TICKETKEEP\n')
    expect(statSync(theFile()).ino).not.toBe(ino)
  })

  it('that is cut short or damaged is not used', async () => {
    await run()
    const whole = readFileSync(theFile())
    const damaged = Buffer.from(whole)
    damaged.fill(0xff, 4096, 8192)
    for (const bytes of [Buffer.of(), whole.subarray(0, 20), whole.subarray(0, -1000), damaged]) {
      sandbox.write(`dist/${compiled()[0]}`, bytes)
      expect(await run()).toMatchObject({ status: 0, stdout: 'ticketkeep\n', stderr: '' })
      expect(readFileSync(theFile()).length).toBeGreaterThan(50_000)
    }
  })
})

describeWith(missingNode('20'), 'compiled code', () => {
  it('of the common flags takes the place of that of others', async () => {
    const node = nodeBinary('20')
    await run({ node, flags: ['--max-old-space-size=300'] })
    const { ino } = statSync(theFile())
    await run({ node })
    const common = statSync(theFile()).ino
    expect(common).not.toBe(ino)
    await run({ node, flags: ['--max-old-space-size=300'] })
    await run({ node })
    expect(statSync(theFile()).ino).toBe(common)
  })
})

describeWith(missingRoot(), 'compiled code', () => {
  it('of another user is not used', async () => {
    await run()
    const { ino } = statSync(theFile())
    chownSync(theFile(), 65_534, 65_534)
    expect((await run()).stdout).toBe('ticketkeep\n')
    expect(statSync(theFile())).toMatchObject({ uid: 0 })
    expect(statSync(theFile()).ino).not.toBe(ino)
  })
})

// What npm installs for all users of a machine is root's. Here root is one of the others.
describeWith(missingRoot(), 'compiled code of a package that is somebody else’s', () => {
  const NOBODY = 65_534
  const own = () => join(sandbox.home, '.cache/ticketkeep/compiled')
  const inOwn = () => (existsSync(own()) ? readdirSync(own()).filter((name) => name.endsWith('.v8')) : [])
  const theOwn = () => {
    expect(inOwn()).toHaveLength(1)
    return join(own(), inOwn()[0]!)
  }
  const giveAway = () => {
    for (const name of ['', ...readdirSync(dist)]) chownSync(join(dist, name), NOBODY, NOBODY)
  }
  const forge = async () => {
    const path = join(dist, 'wire.cjs')
    const source = readFileSync(path)
    sandbox.write('dist/wire.cjs', source.toString('latin1').replaceAll('ticketkeep:', 'TICKETKEEP:'))
    expect((await run()).stdout).toBe('TICKETKEEP\n')
    const forged = readFileSync(theFile())
    forged.write(hash('sha256', source), 64, 'latin1')
    forged.write(hash('sha256', forged.subarray(64)), 0, 'latin1')
    rmSync(theFile())
    writeFileSync(path, source)
    giveAway()
    return forged
  }

  it('is kept in a user’s own cache, closed to everyone else, and written once', async () => {
    giveAway()
    expect(await run()).toMatchObject({ status: 0, stdout: 'ticketkeep\n', stderr: '' })
    const { ino, mode, uid } = statSync(theOwn())
    expect([mode & 0o777, uid]).toEqual([0o600, 0])
    expect(statSync(own()).mode & 0o777).toBe(0o700)
    await run()
    expect(statSync(theOwn()).ino).toBe(ino)
    expect(compiled()).toEqual([])
  })

  it('is taken from beside it as well, where its owner has some', async () => {
    await run({ env: trusting() })
    for (let i = 0; i < 2; i++) await run({ env: trusting() })
    expect(compiled()).toHaveLength(1)
    giveAway()
    await run({ env: trusting() })
    expect(inOwn()).toEqual([])
  })

  // The control, too: as good as our own, were it not for whose it is.
  it.each<[string, string, (path: string) => void]>([
    ['our own, and so it is used', 'TICKETKEEP', () => {}],
    ['another user’s', 'ticketkeep', (path) => chownSync(path, 12_345, 12_345)],
    ['open to a group', 'ticketkeep', (path) => chmodSync(path, 0o620)],
    ['open to everyone', 'ticketkeep', (path) => chmodSync(path, 0o602)],
    ['behind a link', 'ticketkeep', hideBehindLink],
    ['a pipe', 'ticketkeep', pipeAt],
  ])('that somebody has forged: %s', async (_, expected, change) => {
    const forged = await forge()
    await run()
    const path = theOwn()
    writeFileSync(path, forged)
    change(path)
    expect(await run({ timeoutMs: 10_000 })).toMatchObject({ status: 0, stdout: `${expected}\n`, stderr: '' })
  })

  it('that is another user’s is not used in a HOME of theirs, though it be in a file of ours', async () => {
    const forged = await forge()
    await run()
    const copy = join(sandbox.directory, 'copied by root')
    cpSync(own(), copy, { recursive: true })
    chmodSync(copy, 0o700)
    writeFileSync(join(copy, inOwn()[0]!), forged)
    rmSync(own(), { recursive: true })
    symlinkSync(copy, own())
    // The control: where HOME is ours, so is the link.
    expect((await run()).stdout).toBe('TICKETKEEP\n')
    chownSync(sandbox.home, 12_345, 12_345)
    expect((await run()).stdout).toBe('ticketkeep\n')
    chownSync(sandbox.home, 0, 0)
    chmodSync(sandbox.home, 0o777)
    expect((await run()).stdout).toBe('ticketkeep\n')
  })

  it('of two packages is kept twice', async () => {
    giveAway()
    await run()
    const other = join(sandbox.directory, 'other')
    cpSync(dist, other, { recursive: true })
    for (const name of ['', ...readdirSync(other)]) chownSync(join(other, name), NOBODY, NOBODY)
    const both = async () => {
      await run()
      await run({ preload: join(other, 'preload.cjs') })
      return inOwn().map((name) => statSync(join(own(), name)).ino)
    }
    const first = await both()
    expect(first).toHaveLength(2)
    expect(await both()).toEqual(first)
  })

  it('is written into a folder that was opened to others meanwhile, which is closed', async () => {
    giveAway()
    await run()
    chmodSync(own(), 0o755)
    renameSync(theOwn(), join(own(), 'wire.v1.2.3-linux-x64-1.v8'))
    await run()
    expect(inOwn()).toHaveLength(2)
    expect(statSync(own()).mode & 0o777).toBe(0o700)
  })

  it.each([undefined, '', 'relative'])('is kept nowhere where HOME is %j', async (HOME) => {
    giveAway()
    const env = { ...trusting(), HOME, TICKETKEEP_DIR: '/dev/null/nowhere' }
    expect(await run({ env })).toMatchObject({ status: 0, stderr: '' })
    expect([...compiled(), ...inOwn()]).toEqual([])
    expect(readdirSync(sandbox.directory).sort()).toEqual(['ca.pem', 'dist', 'home', 'program.cjs'])
    expect(existsSync('/.cache')).toBe(false)
  })

  it('is not left by root in the home of another user', async () => {
    giveAway()
    chownSync(sandbox.home, 12_345, 12_345)
    expect(await run()).toMatchObject({ status: 0, stderr: '' })
    expect(readdirSync(sandbox.home)).toEqual([])
  })

  it('goes once it is old, as another is written', async () => {
    giveAway()
    await run()
    const name = inOwn()[0]!
    const names = [name.replace(/v\d+/, 'v18'), `${name.replace(/v\d+/, 'v18')}.0af3`, 'notes.txt']
    for (const old of names) {
      writeFileSync(join(own(), old), '')
      utimesSync(join(own(), old), 1, 1)
    }
    rmSync(join(own(), name))
    await run()
    expect(readdirSync(own()).sort()).toEqual(['CACHEDIR.TAG', 'notes.txt', name])
  })

  it('goes with `ticketkeep purge`', async () => {
    giveAway()
    await run()
    expect(inOwn()).toHaveLength(1)
    const env = environment({ sandbox, preload: false })
    const { status } = spawnSync(process.execPath, [join(DIST, 'cli.js'), 'purge', '--keep-key'], { env })
    expect(status).toBe(0)
    expect(existsSync(own())).toBe(false)
  })
})

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `under the permission model of Node ${line}`, () => {
    it('a program that may write nothing ends as it does without us', async () => {
      const flags = [line === '20' ? '--experimental-permission' : '--permission', '--allow-fs-read=*']
      if (line === '26') flags.push('--allow-net')
      const node = nodeBinary(line)
      const plain = await run({ node, flags, preload: false })
      const ours = await run({ node, flags })
      expect(plain.status).toBe(0)
      expect(ours).toMatchObject({ status: 0, stdout: 'ticketkeep\n' })
      expect(withoutPid(ours.stderr)).toBe(withoutPid(plain.stderr))
      expect(compiled()).toEqual([])
    })
  })
}

function hideBehindLink(path: string): void {
  renameSync(path, `${path}.x`)
  symlinkSync(`${path}.x`, path)
}

function pipeAt(path: string): void {
  rmSync(path)
  execFileSync('mkfifo', ['-m', '600', path])
}

const withoutPid = (text: string) => text.replace(/\(node:\d+\)/g, '')
