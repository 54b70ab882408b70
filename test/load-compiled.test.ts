import { chownSync, copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWith, missingNode, missingRoot } from './support/missing.ts'
import { NODE_LINES, nodeBinary } from './support/pinned.ts'
import { createAuthority } from './support/pki.ts'
import { DIST } from './support/places.ts'
import { createSandbox, type RunOptions, runProgram, type Sandbox } from './support/run-program.ts'
import { startTlsServer, type TlsServer } from './support/tls-server.ts'

// Says under which of two names its connection is heard of: as wire.cjs has it, and the same in capitals.
// Nothing can be kept, so that every run is like the first.
const PROGRAM = `
for (const name of ['ticketkeep', 'TICKETKEEP']) {
  require('node:diagnostics_channel').subscribe(name + ':skip', () => console.log(name))
}
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

const run = (options: Partial<RunOptions> = {}) =>
  runProgram({
    sandbox,
    source: PROGRAM,
    args: [`https://localhost:${server.port}`],
    preload: join(dist, 'preload.cjs'),
    env: {
      NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca),
      TICKETKEEP_DIR: '/dev/null/nowhere',
    },
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
      const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca), TICKETKEEP_CIPHER: cipher }
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
    const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca) }
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

  it('is not written for the owner of the package by somebody else', async () => {
    for (const name of [dist, join(dist, 'preload.cjs'), join(dist, 'wire.cjs')])
      chownSync(name, 65_534, 65_534)
    await run()
    expect(compiled()).toEqual([])
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

const withoutPid = (text: string) => text.replace(/\(node:\d+\)/g, '')
