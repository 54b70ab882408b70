import { X509Certificate } from 'node:crypto'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import { admit } from '../../src/tls/admission.ts'
import { readCertificate, readChain, spkiFingerprint } from '../../src/tls/certificate.ts'
import { isPlainlyNamed } from '../../src/tls/plain-certificate.ts'
import { readSession, setSession, unwrapSession } from '../../src/tls/session.ts'
import { missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary, OLDER_NODES } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { createSandbox, runProgram } from '../support/run-program.ts'
import { startTlsServer } from '../support/tls-server.ts'

const now = Math.floor(Date.now() / 1000)

/** Sessions as the `'session'` event of each Node gave them, TLS 1.2 and 1.3, ECDSA and RSA. */
const events: { line: string; bytes: Buffer }[] = []
/** Certificates with more in them, DER. */
const certificates: Uint8Array[] = []
let idle: tls.TLSSocket
let closeAll = async () => {}

beforeAll(async () => {
  const ca = await createAuthority()
  const sandbox = createSandbox()
  const servers = await Promise.all(
    (['TLSv1.2', 'TLSv1.3'] as const).flatMap((version) =>
      (['ecdsa', 'rsa'] as const).map(async (keyType) =>
        startTlsServer({ ...(await ca.issue({ names: ['a.test'], keyType })), kind: 'https', version }),
      ),
    ),
  )
  for (const keyType of ['ecdsa', 'rsa'] as const) {
    const names = ['*.b.test', '127.0.0.1', '::1', 'a.test']
    const { cert } = await ca.issue({ names, commonName: 'a.test,O=Example,L=Cologne,C=DE', keyType })
    certificates.push(new X509Certificate(cert).raw)
  }
  const source = `
    const tls = require('node:tls')
    const { ports, ca } = JSON.parse(process.argv[2])
    for (const port of ports) {
      const socket = tls.connect({ host: '127.0.0.1', port, servername: 'a.test', ca })
      socket.on('session', (session) => { console.log(session.toString('base64')); socket.destroy() })
    }`
  const args = [JSON.stringify({ ports: servers.map(({ port }) => port), ca: ca.cert })]
  const lines = [...NODE_LINES, ...OLDER_NODES].filter((line) => missingNode(line) === undefined)
  const nodes = new Map(lines.map((line) => [line as string, nodeBinary(line)] as const)).set(
    'that runs the tests',
    process.execPath,
  )
  for (const [line, node] of nodes) {
    const { stdout } = await runProgram({ sandbox, source, args, node, preload: false })
    for (const text of stdout.trim().split('\n')) events.push({ line, bytes: Buffer.from(text, 'base64') })
  }
  idle = tls.connect({ host: '127.0.0.1', port: servers[0]!.port, servername: 'a.test', ca: ca.cert })
  await new Promise((done) => idle.once('secureConnect', done))
  closeAll = async () => {
    for (const server of servers) await server.close()
    sandbox.remove()
  }
})
afterAll(() => closeAll())

/** mulberry32: the same attacks in every run. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** One to three changes: a bit, a byte, a cut, an insertion, a piece of another, a length that lies. */
function mutate(seed: Uint8Array, other: Uint8Array, below: (n: number) => number): Uint8Array {
  let bytes = Buffer.from(seed)
  for (let changes = 1 + below(3); changes > 0 && bytes.length > 0; changes--) {
    const at = below(bytes.length)
    const from = below(other.length)
    const piece = other.subarray(from, from + 1 + below(64))
    // Most of a session is certificate and ticket: the fields' own bytes lie in its first 120 and its last 60.
    const near =
      below(2) === 0
        ? below(Math.min(120, bytes.length))
        : bytes.length - 1 - below(Math.min(60, bytes.length))
    const change = [
      () => (bytes[near] = bytes[near]! ^ (1 << below(8))),
      () => (bytes[near] = below(256)),
      () => (bytes[at] = below(256)),
      () => (bytes = Buffer.from(bytes.subarray(0, at))),
      () => (bytes = Buffer.concat([bytes.subarray(0, near), piece, bytes.subarray(near)])),
      () => (bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(8))])),
      () => bytes.set(piece.subarray(0, Math.max(0, bytes.length - at)), at),
      () => bytes.length > 3 && bytes.writeUInt16BE(below(0x10000), Math.min(2, bytes.length - 2)),
    ]
    change[below(change.length)]!()
  }
  return bytes
}

/** Whether OpenSSL takes these bytes for a session: the second reading. It is asked on a socket of nobody's. */
function isOpensslSession(der: Uint8Array): boolean {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const socket = new tls.TLSSocket(stream as never, { isServer: false, servername: 'a.test' } as never)
  socket.on('error', () => {})
  setSession(socket, der, 'a.test')
  const taken = socket.getSession() !== undefined
  socket.destroy()
  return taken
}

const storedAs = (der: Uint8Array): StoredTicket | undefined => {
  const session = readSession(der)
  const certificate = session && readCertificate(session.peerCertificate)
  if (!certificate) return undefined
  const { protocol } = session
  return {
    ticket: der,
    spkiFp: spkiFingerprint(certificate),
    storedAtUnixSecs: now,
    verifiedAtUnixSecs: now,
    protocol,
  }
}

describe('sessions', () => {
  it('of every Node are read, and admitted for their name', () => {
    expect(events.length).toBeGreaterThanOrEqual(4)
    for (const { line, bytes } of events) {
      const stored = storedAs(unwrapSession(bytes))
      expect([line, stored && admit(stored, 'a.test', now) !== undefined]).toEqual([line, true])
      expect(stored && admit(stored, 'b.test', now)).toBe(undefined)
      expect(isOpensslSession(unwrapSession(bytes))).toBe(true)
    }
  })

  it('in 100,000 mutations: no throw, and none is admitted that OpenSSL does not take', async () => {
    const below = random(20_260)
    const ders = events.map(({ bytes }) => unwrapSession(bytes))
    let admitted = 0
    const refusedByOpenssl: string[] = []
    for (let i = 0; i < 100_000; i++) {
      const der = mutate(ders[below(ders.length)]!, ders[below(ders.length)]!, below)
      const stored = storedAs(der)
      if (!stored || !admit(stored, 'a.test', now)) continue
      admitted++
      if (!isOpensslSession(der)) refusedByOpenssl.push(Buffer.from(der).toString('hex'))
      if (i % 1000 === 0) await new Promise((done) => setImmediate(done))
    }
    expect(refusedByOpenssl).toEqual([])
    expect(admitted).toBeGreaterThan(1000) // else the second reading was hardly asked
  }, 240_000)

  it('wrapped, mutated 20,000 times: never a throw', () => {
    const below = random(7)
    for (let i = 0; i < 20_000; i++) {
      const { bytes } = events[below(events.length)]!
      readSession(unwrapSession(mutate(bytes, bytes, below)))
    }
  })

  it('leave no error behind that would break an idle connection of the process', async () => {
    const answer = new Promise((done, fail) => idle.once('data', done).once('error', fail))
    idle.write('GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n')
    expect(String(await answer)).toMatch(/^HTTP\/1\.1 200/)
  })
})

describe('certificates', () => {
  it('of the bundled roots are all read', () => {
    const ders = tls.rootCertificates.map((pem) => new X509Certificate(pem))
    for (const { raw, validTo, publicKey } of ders) {
      const certificate = readCertificate(raw)
      expect(certificate?.notAfter).toBe(Date.parse(validTo) / 1000)
      expect(Buffer.from(certificate!.spki)).toEqual(publicKey.export({ type: 'spki', format: 'der' }))
      expect(readChain([raw])?.notAfter).toBe(certificate?.notAfter)
    }
  })

  it('in 200,000 mutations: one read as plainly named is named so to Node, too', () => {
    const below = random(2_026)
    const plain = events.map(({ bytes }) => readSession(unwrapSession(bytes))!.peerCertificate)
    plain.push(...certificates)
    for (const der of plain) expect(isPlainlyNamed(der, 'a.test')).toBe(true)
    let named = 0
    for (let i = 0; i < 200_000; i++) {
      const der = mutate(plain[below(plain.length)]!, plain[below(plain.length)]!, below)
      for (const name of ['a.test', 'x.b.test', 'xn--x-0.b.test', 'b.test', 'x.y.b.test', 'test']) {
        if (!isPlainlyNamed(der, name)) continue
        named++
        const certificate = new X509Certificate(der).toLegacyObject() as tls.PeerCertificate
        expect(tls.checkServerIdentity(name, certificate)).toBe(undefined)
      }
    }
    expect(named).toBeGreaterThan(2000)
  }, 120_000)

  it('in 20,000 mutations: no throw, and dates and key as Node’s own reader has them', () => {
    const below = random(99)
    const certificates = events.map(({ bytes }) => readSession(unwrapSession(bytes))!.peerCertificate)
    let compared = 0
    for (let i = 0; i < 20_000; i++) {
      const der = mutate(certificates[below(certificates.length)]!, certificates[0]!, below)
      const certificate = readCertificate(der)
      if (!certificate) continue
      let second: X509Certificate
      try {
        second = new X509Certificate(der)
      } catch {
        continue
      }
      const [from, to] = [Date.parse(second.validFrom), Date.parse(second.validTo)]
      if (Number.isNaN(from) || Number.isNaN(to)) continue
      expect([certificate.notBefore, certificate.notAfter]).toEqual([from / 1000, to / 1000])
      compared++
    }
    expect(compared).toBeGreaterThan(500)
  }, 60_000)
})
