import { X509Certificate } from 'node:crypto'
import tls, { checkServerIdentity, connect, type PeerCertificate } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { isFresh, type StoredTicket } from '../../src/ticket-entry.ts'
import { admit, expiry, ticketFrom } from '../../src/tls/admission.ts'
import { type Certificate, isNamed, readCertificate, spkiFingerprint } from '../../src/tls/certificate.ts'
import { type Session, unwrapSession } from '../../src/tls/session.ts'
import { createAuthority } from '../support/pki.ts'
import { startTlsServer } from '../support/tls-server.ts'

const HOUR = 3600
let der: Buffer
let certificate: Uint8Array
let start: number

beforeAll(async () => {
  const ca = await createAuthority()
  const identity = await ca.issue({ names: ['a.test'] })
  const server = await startTlsServer({ ...identity, version: 'TLSv1.3' })
  const session = await new Promise<Buffer>((done) => {
    const socket = connect({ port: server.port, host: '127.0.0.1', servername: 'a.test', ca: ca.cert })
    socket.once('session', (bytes) => {
      socket.destroy()
      done(bytes)
    })
  })
  await server.close()
  der = Buffer.from(unwrapSession(session))
  certificate = new X509Certificate(identity.cert).raw
  start = Math.floor(Date.now() / 1000)
})

/** The session as a server would have given it at another time: its field [1], whole seconds in four bytes. */
function givenAt(time: number): Buffer {
  const bytes = Buffer.from(der)
  const at = bytes.indexOf('a1060204', 0, 'hex')
  expect(at).toBeGreaterThan(0)
  bytes.writeUInt32BE(time, at + 4)
  return bytes
}

const trust = (verifiedAt: number) => ({ certificate, binding: 'b', verifiedAt })
const kept = (time: number, verifiedAt: number) =>
  ticketFrom(givenAt(time), trust(verifiedAt), time) as StoredTicket
const isOffered = (ticket: StoredTicket, now: number) =>
  isFresh(ticket, now) && admit(ticket, 'a.test', now) !== undefined

it('one resumption an hour for 30 hours, each with a new ticket: a full handshake takes place within 24 h', () => {
  const full: number[] = []
  let ticket: StoredTicket | undefined
  for (let hour = 0; hour <= 30; hour++) {
    const now = start + hour * HOUR
    const resumes = ticket !== undefined && isOffered(ticket, now)
    if (!resumes) full.push(hour)
    ticket = kept(now, resumes ? ticket!.verifiedAtUnixSecs! : now)
  }
  expect(full).toEqual([0, 24])
})

it('a stored session is not offered from the moment on at which its certificate ends', () => {
  const notAfter = Date.parse(new X509Certificate(certificate).validTo) / 1000
  const ticket = kept(notAfter - 60, notAfter - 60)
  const { expiresAtUnixSecs: _, ...withoutEnd } = ticket
  for (const one of [ticket, withoutEnd]) {
    expect([notAfter - 1, notAfter].map((now) => isOffered(one, now))).toEqual([true, false])
  }
})

it('nor before it begins, nor from the future beyond a minute', () => {
  const notBefore = Date.parse(new X509Certificate(certificate).validFrom) / 1000
  expect(isOffered(kept(notBefore, notBefore), notBefore - 1)).toBe(false)
  expect([start - 60, start - 61].map((now) => isOffered(kept(start, start), now))).toEqual([true, false])
})

it('a session of another certificate than the one verified is not kept', () => {
  expect(ticketFrom(der, { ...trust(start), certificate: certificate.slice(0, -1) }, start)).toBe(undefined)
})

describe('the end of a session', () => {
  const certificate = { notAfter: 2_000_000_000 } as unknown as Certificate
  const session = (protocol: Session['protocol'], lifetimeHint?: number) =>
    ({ protocol, lifetimeHint, startedAt: 1_000, timeout: 7_200 }) as unknown as Session

  it('is the timeout, or the server’s hint where that is sooner', () => {
    expect(expiry(session('TLSv1.2', 300), certificate, 1_000)).toBe(1_300)
    expect(expiry(session('TLSv1.3', 86_400), certificate, 1_000)).toBe(8_200)
  })

  it('comes at once where TLS 1.3 gives no lifetime, and not in TLS 1.2 (RFC 8446, 4.6.1; RFC 5077, 3.3)', () => {
    expect(expiry(session('TLSv1.3'), certificate, 1_000)).toBe(1_000)
    expect(expiry(session('TLSv1.2'), certificate, 1_000)).toBe(8_200)
  })
})

// What Node asks of a name on a full handshake, and nobody would on a resumed one.
describe('a name', () => {
  const NAMES = [
    ...['a.test', 'A.TEST', 'b.test', 'cn.test', 'x.w.test', 'x.y.w.test', 'w.test', 'exam.p.test', 'p.test'],
    ...['127.0.0.1', '127.0.0.2', '::1', 'localhost', '', 'xn--bcher-kva.test', 'a.test.', '.a.test'],
  ]

  it('is borne by a certificate exactly where Node says so, asked of one and another in turn', async () => {
    const ca = await createAuthority()
    const issue = async (names: string[], commonName: string) =>
      new X509Certificate((await ca.issue({ names, commonName })).cert)
    const certificates = [
      await issue(['a.test', '127.0.0.1'], 'cn.test'),
      await issue(['*.w.test', 'e*m.p.test', 'B.test'], 'a.test'),
      await issue([], 'cn.test'),
      await issue(['*.test'], 'cn.test'),
    ]
    const byName = NAMES.flatMap((name) => certificates.map((certificate) => ({ name, certificate })))
    const byCertificate = certificates.flatMap((certificate) => NAMES.map((name) => ({ name, certificate })))
    for (const { name, certificate } of [...byName, ...byCertificate]) {
      const problem = checkServerIdentity(name, certificate.toLegacyObject() as PeerCertificate)
      expect([name, isNamed(certificate.raw, name)]).toEqual([name, problem === undefined])
    }
  })

  it.each([
    [
      'that OpenSSL cannot read, for a BOOLEAN of two octets',
      '0603551d130101ff04023000',
      '0603551d130102ffff040100',
    ],
    ['with two subjectAltNames, of which Node reads the first', '0603551d0e', '0603551d11'],
  ])('is not borne by a certificate %s', async (_what, from, to) => {
    const ca = await createAuthority()
    const { raw } = new X509Certificate((await ca.issue({ names: ['a.test'] })).cert)
    const hex = raw.toString('hex')
    expect(hex).toContain(from)
    expect([isNamed(raw, 'a.test'), isNamed(Buffer.from(hex.replace(from, to), 'hex'), 'a.test')]).toEqual([
      true,
      false,
    ])
  })
})

it('what was read of a certificate stays, whatever becomes of the bytes that it was read from', () => {
  readCertificate(new Uint8Array(3)) // another one, since the last one is remembered
  const bytes = new Uint8Array(certificate)
  const read = readCertificate(bytes)!
  const fingerprint = Buffer.from(spkiFingerprint(read))
  const { spki, notAfter } = structuredClone(read)
  bytes.fill(0)
  expect(read).toMatchObject({ spki, notAfter })
  expect(readCertificate(bytes)).toBeUndefined()
  expect(Buffer.from(spkiFingerprint(readCertificate(certificate)!))).toEqual(fingerprint)
})

it('a name that Node has to be asked about is not right where the program answers in its place', async () => {
  const { cert } = await (await createAuthority()).issue({ names: ['127.0.0.1'] })
  const { raw } = new X509Certificate(cert)
  const own = tls.checkServerIdentity
  try {
    tls.checkServerIdentity = () => undefined
    for (const name of ['127.0.0.1', '127.0.0.2']) expect(isNamed(raw, name)).toBe(false)
  } finally {
    tls.checkServerIdentity = own
  }
  expect(isNamed(raw, '127.0.0.2')).toBe(false)
  expect(isNamed(raw, '127.0.0.1')).toBe(true)
})
