import { X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { isFresh, type StoredTicket } from '../../src/ticket-entry.ts'
import type { Admission } from '../../src/tls/admission.ts'
import { type Certificate, readCertificate, spkiFingerprint } from '../../src/tls/certificate.ts'
import { cutCertificate, type Session, unwrapSession } from '../../src/tls/session.ts'
import { expiry, sessionToOffer, ticketOf } from '../../src/tls/ticket.ts'
import { rootsOf } from '../../src/tls/trusted-roots.ts'
import type { Trust } from '../../src/tls/verified-handshake.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { startTlsServer } from '../support/tls-server.ts'
import { integer, withTag } from './session-fields.ts'

const HOUR = 3600
/** The start time of the session. A server gives it a lifetime of two hours. */
let start: number
let ca: Authority
let identity: { cert: string; key: string }
let der: Uint8Array
let tls12: Uint8Array
let certificate: Uint8Array
let issuer: Uint8Array
const issuers = () => [issuer]

beforeAll(async () => {
  ca = await createAuthority()
  identity = await ca.issue({ names: ['a.test'] })
  der = await sessionOf('TLSv1.3')
  tls12 = await sessionOf('TLSv1.2')
  certificate = new Uint8Array(new X509Certificate(identity.cert).raw)
  issuer = new Uint8Array(new X509Certificate(ca.cert).raw)
  start = Math.floor(Date.now() / 1000)
})

async function sessionOf(version: 'TLSv1.2' | 'TLSv1.3'): Promise<Uint8Array> {
  const server = await startTlsServer({ ...identity, version })
  const session = await new Promise<Buffer>((done) => {
    const socket = tls.connect({ port: server.port, host: '127.0.0.1', servername: 'a.test', ca: ca.cert })
    socket.once('session', (bytes) => {
      socket.destroy()
      done(bytes)
    })
  })
  await server.close()
  return unwrapSession(session)
}

const admission = (change: Partial<Admission> = {}): Admission => ({
  name: 'a.test',
  binding: 'b',
  trusted: rootsOf([ca.cert]),
  partial: false,
  clientCertificateEnds: undefined,
  maxAge: 86_400,
  identityCheck: tls.checkServerIdentity,
  ...change,
})

const trust = (verifiedAt: number, change: Partial<Trust> = {}): Trust => ({
  certificate,
  issuers,
  binding: 'b',
  verifiedAt,
  clientCertificate: false,
  ...change,
})

/** The session as if a server had issued it at another time. */
const givenAt = (time: number, session = der) =>
  withTag(session, 1, integer(time.toString(16).padStart(8, '0')))

const kept = (time = start, verifiedAt = time, session = givenAt(time)) =>
  ticketOf(session, trust(verifiedAt), time) as StoredTicket

const isOffered = (ticket: StoredTicket, now = start, change: Partial<Admission> = {}) =>
  sessionToOffer(ticket, admission(change), now) !== undefined

describe('the ticket that is kept of a session', () => {
  it('has everything that is needed to offer it again', () => {
    const { ticket, ...rest } = kept()
    expect(Buffer.from(ticket)).toEqual(Buffer.from(cutCertificate(givenAt(start))))
    expect(rest).toEqual({
      certificate,
      issuers,
      spkiFp: spkiFingerprint(readCertificate(certificate)!),
      storedAtUnixSecs: start,
      expiresAtUnixSecs: start + 2 * HOUR,
      protocol: 'TLSv1.3',
      binding: 'b',
      verifiedAtUnixSecs: start,
    })
    expect(sessionToOffer(kept(), admission(), start)?.der).toEqual(new Uint8Array(givenAt(start)))
  })

  it('does not change with the bytes that it was made from', () => {
    const bytes = new Uint8Array(givenAt(start))
    const ticket = ticketOf(bytes, trust(start), start) as StoredTicket
    bytes.fill(0)
    expect(isOffered(ticket)).toBe(true)
  })

  it('does not exist for a session that cannot be trusted, each with its own reason', () => {
    const reason = (session: Uint8Array, change: Partial<Trust> = {}) =>
      ticketOf(session, trust(start, change), start)
    expect(reason(der.subarray(1))).toBe('the session has no ticket, or cannot be read')
    expect(reason(withTag(tls12, 13, integer('00')))).toContain('no extended master secret')
    expect(reason(der, { certificate: issuer })).toContain('another certificate than the handshake')
  })
})

describe('a ticket is offered', () => {
  it('for the call that it was made by', () => {
    expect(isOffered(kept())).toBe(true)
    expect(isOffered(kept(start, start, givenAt(start, tls12)))).toBe(true)
  })

  it('only under its own binding', () => {
    expect(isOffered(kept(), start, { binding: 'c' })).toBe(false)
    const { binding: _, ...withoutBinding } = kept()
    expect(isOffered(withoutBinding)).toBe(false)
  })

  it('only for a name in its certificate, by the check of the call', () => {
    expect(isOffered(kept(), start, { name: 'A.test' })).toBe(true)
    expect(isOffered(kept(), start, { name: 'b.test' })).toBe(false)
    expect(isOffered(kept(), start, { identityCheck: () => new Error('no') })).toBe(false)
    const throws = () => {
      throw new Error('no')
    }
    expect(isOffered(kept(), start, { name: 'a.test.', identityCheck: throws })).toBe(false)
  })

  it('only for the name that the server has acknowledged, in upper or lower case', () => {
    const acknowledged = (name: string) =>
      kept(start, start, withTag(givenAt(start), 6, { tag: 0x04, contents: Buffer.from(name) }))
    expect(isOffered(acknowledged('a.test'))).toBe(true)
    expect(isOffered(acknowledged('A.TEST'))).toBe(true)
    expect(isOffered(acknowledged('b.test'))).toBe(false)
  })

  it('only with the certificate and the key that it was stored with', async () => {
    const { certificate: _, ...without } = kept()
    expect(isOffered(without)).toBe(false)
    expect(isOffered({ ...kept(), spkiFp: new Uint8Array(32) })).toBe(false)
    const other = new Uint8Array(new X509Certificate((await ca.issue({ names: ['a.test'] })).cert).raw)
    expect(isOffered({ ...kept(), certificate: other })).toBe(false)
    expect(isOffered({ ...kept(), certificate: new Uint8Array(9) })).toBe(false)
  })

  it('only with the protocol that it was stored with', () => {
    expect(isOffered({ ...kept(), protocol: 'TLSv1.2' })).toBe(false)
    const { protocol: _, ...without } = kept()
    expect(isOffered(without)).toBe(false)
  })

  it('only as long after its full handshake as the policy allows', () => {
    const ticket = kept(start, start - HOUR)
    expect(isOffered(ticket, start, { maxAge: HOUR + 1 })).toBe(true)
    expect(isOffered(ticket, start, { maxAge: HOUR })).toBe(false)
  })

  it('only if it says when it was verified', () => {
    const { verifiedAtUnixSecs: _, ...without } = kept()
    expect(isOffered(without)).toBe(false)
  })

  it('only with an extended master secret', () => {
    const withSecret = kept(start, start, givenAt(start, tls12))
    const without = { ...withSecret, ticket: withTag(withSecret.ticket, 13, integer('00')) }
    expect([isOffered(withSecret), isOffered(without)]).toEqual([true, false])
  })

  it('only if it can be read', () => {
    expect(isOffered({ ...kept(), ticket: new Uint8Array(100) })).toBe(false)
    expect(isOffered({ ...kept(), ticket: der })).toBe(false)
  })

  it('only while its certificate is valid', () => {
    const { validFrom, validTo } = new X509Certificate(certificate)
    const [from, to] = [Date.parse(validFrom) / 1000, Date.parse(validTo) / 1000]
    expect([from - 1, from].map((now) => isOffered(kept(from), now))).toEqual([false, true])
    expect([to - 1, to].map((now) => isOffered(kept(to - 60), now))).toEqual([true, false])
  })

  it('at most a minute before its times, since clocks of machines differ a little', () => {
    expect([start - 60, start - 61].map((now) => isOffered(kept(), now))).toEqual([true, false])
    // Each of the two times separately.
    expect(isOffered({ ...kept(), verifiedAtUnixSecs: start - HOUR }, start - 61)).toBe(false)
    expect(isOffered(kept(start, start, givenAt(start - HOUR)), start - 61)).toBe(false)
  })

  it('only as long as the server’s hint allows', () => {
    const ticket = kept(start, start, withTag(givenAt(start), 9, integer('012c')))
    expect([start + 299, start + 300].map((now) => isOffered(ticket, now))).toEqual([true, false])
    expect(isOffered(kept(start, start, withTag(givenAt(start), 9)))).toBe(false)
  })
})

it('with a resumption every hour and a new ticket each time, a full handshake takes place within 24 hours', () => {
  const full: number[] = []
  let ticket: StoredTicket | undefined
  for (let hour = 0; hour <= 30; hour++) {
    const now = start + hour * HOUR
    const resumes = ticket !== undefined && isFresh(ticket, now) && isOffered(ticket, now)
    if (!resumes) full.push(hour)
    ticket = kept(now, resumes ? ticket!.verifiedAtUnixSecs! : now)
  }
  expect(full).toEqual([0, 24])
})

it('no session is offered 24 hours after the full handshake, even if the store has no limit', () => {
  const day = 24 * HOUR
  const ticket = kept(start + day - HOUR, start)
  expect([start + day - 1, start + day].map((now) => isOffered(ticket, now))).toEqual([true, false])
})

describe('the end of a session', () => {
  const ends = { notAfter: 2_000_000_000 } as unknown as Certificate
  const session = (protocol: Session['protocol'], lifetimeHint?: number) =>
    ({ protocol, lifetimeHint, startedAt: 1_000, timeout: 7_200 }) as unknown as Session

  it('is its timeout, or the server’s hint if that is sooner', () => {
    expect(expiry(session('TLSv1.2', 300), ends, 1_000)).toBe(1_300)
    expect(expiry(session('TLSv1.3', 86_400), ends, 1_000)).toBe(8_200)
  })

  it('is its start in TLS 1.3 without a lifetime, but not in TLS 1.2 (RFC 8446, 4.6.1; RFC 5077, 3.3)', () => {
    expect([undefined, 0].map((hint) => expiry(session('TLSv1.3', hint), ends, 1_000))).toEqual([
      1_000, 1_000,
    ])
    expect([undefined, 0].map((hint) => expiry(session('TLSv1.2', hint), ends, 1_000))).toEqual([
      8_200, 8_200,
    ])
  })

  it('is a day after the full handshake, or the end of the certificate if that is sooner', () => {
    expect(expiry(session('TLSv1.2', 7_200), ends, 1_000 - 86_400 + 60)).toBe(1_060)
    expect(expiry(session('TLSv1.2', 7_200), { ...ends, notAfter: 1_030 }, 1_000)).toBe(1_030)
  })
})
