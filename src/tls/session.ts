import type { TLSSocket } from 'node:tls'
import { asBuffer, equal, part } from '../common/bytes.ts'
import { type Certificate, readCertificate } from './certificate.ts'
import {
  type DerElement,
  DerError,
  type DerReader,
  explicit,
  OCTET_STRING,
  parseDer,
  SEQUENCE,
} from './der.ts'

/** The fields used from OpenSSL's `SSL_SESSION` (`ssl/ssl_asn1.c`). Times are UNIX seconds, durations seconds. */
export interface Session {
  /** The whole session, as OpenSSL accepts it. */
  readonly der: Uint8Array
  readonly protocol: 'TLSv1.2' | 'TLSv1.3'
  readonly startedAt: number
  readonly timeout: number
  /** The lifetime that the server set for the ticket (RFC 5077, 3.3; RFC 8446, 4.6.1). 0 or absent: none given. */
  readonly lifetimeHint: number | undefined
  /** The server's certificate. */
  readonly certificate: Certificate
  /** The name that was sent in SNI and acknowledged. */
  readonly serverName: string | undefined
  /** RFC 7627. Always true for TLS 1.3, which does not need the extension. */
  readonly extendedMasterSecret: boolean
}

const TLS1_2 = 0x0303
const TLS1_3 = 0x0304
const EXTENDED_MASTER_SECRET = 1

/**
 * The cipher suites with which a session is accepted. OpenSSL rejects a whole session if it does not know the suite,
 * and which suites it knows differs between builds. These are Node's defaults, which all builds have.
 */
const TLS1_3_SUITES = [0x1301, 0x1302, 0x1303]
// AEAD; ECDHE with CBC; RSA and DHE with CBC
// biome-ignore format: by kind
const TLS1_2_SUITES = [
  0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0xccaa, 0x009c, 0x009d, 0x009e, 0x009f,
  0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028,
  0x002f, 0x0033, 0x0035, 0x0039, 0x003c, 0x003d, 0x0067, 0x006b,
]

/** The tags of the fields after the master key. Each is EXPLICIT, in ascending order. */
const START = 1
const TIMEOUT = 2
const CERTIFICATE = 3
const SESSION_ID_CONTEXT = 4
const VERIFY_RESULT = 5
const SERVER_NAME = 6
const LIFETIME_HINT = 9
const TICKET = 10
const FLAGS = 13
const INTEGERS = [START, TIMEOUT, VERIFY_RESULT, LIFETIME_HINT, FLAGS, 14, 15, 17, 19]
const UINT32 = [VERIFY_RESULT, 14, 15, 17, 19]
const STRINGS = [SESSION_ID_CONTEXT, SERVER_NAME, TICKET, 16, 18]

/**
 * Reads a client's session from raw DER, more strictly than OpenSSL does: bytes that OpenSSL cannot parse leave an
 * error in the thread's error queue, which breaks other connections. Returns undefined for PSK, SRP and raw public key
 * sessions, and for sessions without a ticket, a peer certificate or a clean verify result.
 */
export function readSession(der: Uint8Array): Session | undefined {
  return parseDer(der, (reader) => {
    const fields = reader.enter(SEQUENCE)
    if (fields.integer() !== 1) throw new DerError('not version 1')
    const version = fields.integer()
    if (version !== TLS1_2 && version !== TLS1_3) throw new DerError('not TLS 1.2 or 1.3')
    const suite = fields.read(OCTET_STRING)
    const suites = version === TLS1_3 ? TLS1_3_SUITES : TLS1_2_SUITES
    if (suite.length !== 2 || !suites.includes(suite.octet(0)! * 256 + suite.octet(1)!)) {
      throw new DerError('bad cipher suite')
    }
    if (fields.read(OCTET_STRING).length > 32) throw new DerError('bad session id')
    const secret = fields.read(OCTET_STRING).length
    if (version === TLS1_2 ? secret !== 48 : secret !== 32 && secret !== 48) throw new DerError('bad secret')
    const { integers, elements } = readTagged(fields)
    const startedAt = integers[START]
    const timeout = integers[TIMEOUT]
    if (startedAt === undefined || timeout === undefined || !elements[TICKET]?.length) {
      throw new DerError('incomplete')
    }
    const certificate = elements[CERTIFICATE] && readCertificate(elements[CERTIFICATE].whole)
    if (!certificate) throw new DerError('no certificate')
    if (integers[VERIFY_RESULT]) throw new DerError('not verified')
    if ((elements[SESSION_ID_CONTEXT]?.length ?? 0) > 32) throw new DerError('bad context')
    const name = elements[SERVER_NAME]
    return {
      der,
      protocol: version === TLS1_3 ? 'TLSv1.3' : 'TLSv1.2',
      startedAt,
      timeout,
      lifetimeHint: integers[LIFETIME_HINT],
      certificate,
      serverName: name && asBuffer(name.value).toString('latin1'),
      extendedMasterSecret: version === TLS1_3 || ((integers[FLAGS] ?? 0) & EXTENDED_MASTER_SECRET) !== 0,
    }
  })
}

function readTagged(fields: DerReader) {
  const integers: (number | undefined)[] = []
  const elements: (DerElement | undefined)[] = []
  for (let last = 0; !fields.done; ) {
    const number = fields.nextTag! & 0x1f
    if (number <= last) throw new DerError('unexpected field')
    last = number
    const field = fields.enter(explicit(number))
    if (INTEGERS.includes(number)) {
      const integer = field.integer()
      if (UINT32.includes(number) && integer > 0xffffffff) throw new DerError('integer too large')
      integers[number] = integer
    } else if (STRINGS.includes(number)) elements[number] = field.read(OCTET_STRING)
    else if (number === CERTIFICATE) elements[number] = field.read(SEQUENCE)
    else throw new DerError('unknown field')
    field.end()
  }
  return { integers, elements }
}

/** Removes the certificate from a session. It is stored once for all sessions of a batch. */
export function cutCertificate(session: Uint8Array): Uint8Array {
  const [before, , after] = splitAt(session, (tag) => tag === explicit(CERTIFICATE))
  return sequenceOf([before, after])
}

/** Puts the certificate back. The result is unchecked: the caller must pass it to `readSession`. */
export function putCertificate(session: Uint8Array, certificate: Uint8Array): Uint8Array {
  const [before, next, after] = splitAt(session, (tag) => tag > explicit(CERTIFICATE))
  const header = headerOf(explicit(CERTIFICATE), certificate.length)
  return sequenceOf([before, header, certificate, next, after])
}

type Split = [before: Uint8Array, field: Uint8Array, after: Uint8Array]

/** Splits a session at the first field that matches: the fields before it, the field, the fields after it. */
function splitAt(session: Uint8Array, isIt: (tag: number) => boolean): Split {
  const cut = (first: number, start: number, end: number, last: number): Split => [
    session.subarray(first, start),
    session.subarray(start, end),
    session.subarray(end, last),
  ]
  const split = parseDer(session, (reader) => {
    const sequence = reader.read(SEQUENCE)
    const { contents: first, end: last } = sequence
    for (const fields = sequence.inside(); !fields.done; ) {
      const { tag, start, end } = fields.read()
      if (isIt(tag)) return cut(first, start, end, last)
    }
    return cut(first, last, last, last)
  })
  return split ?? cut(0, 0, 0, 0)
}

const fieldsOf = (session: Uint8Array): Uint8Array[] =>
  parseDer(session, (reader) => {
    const fields: Uint8Array[] = []
    for (const sequence = reader.enter(SEQUENCE); !sequence.done; ) fields.push(sequence.read().whole)
    return fields
  }) ?? []

/**
 * Whether both sessions come from one full handshake: secret, certificate and all other fields are equal, except those
 * that a server may change when it resumes. In TLS 1.2 the server may replace the ticket (RFC 5077, 3.3), and with it
 * session ID, lifetime and start time. In TLS 1.3 it may choose another cipher suite (RFC 8446, 4.2.11).
 */
export function isSameSession(one: Uint8Array, other: Uint8Array): boolean {
  if (equal(one, other)) return true
  const [a, b] = [lastingFieldsOf(one), lastingFieldsOf(other)]
  return a.length > 0 && equal(sequenceOf(a), sequenceOf(b))
}

/** Positions of the untagged fields at the start of the sequence. */
const [VERSION, SUITE, SESSION_ID] = [1, 2, 3]

function lastingFieldsOf(session: Uint8Array): Uint8Array[] {
  const fields = fieldsOf(session)
  const version = fields[VERSION]
  if (version?.[version.length - 1] === (TLS1_3 & 0xff)) return fields.filter((_, i) => i !== SUITE)
  const renewed = [START, TIMEOUT, LIFETIME_HINT, TICKET].map(explicit)
  return fields.filter((field, i) => i !== SESSION_ID && !renewed.includes(field[0]!))
}

function sequenceOf(fields: readonly Uint8Array[]): Uint8Array {
  const header = headerOf(
    SEQUENCE,
    fields.reduce((sum, { length }) => sum + length, 0),
  )
  const parts = [header, ...fields]
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const one of parts) {
    whole.set(one, at)
    at += one.length
  }
  return whole
}

/** Identifier and length octets (X.690, 8.1), for contents of less than 64 KiB. */
function headerOf(tag: number, length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(tag, length)
  if (length < 0x100) return Uint8Array.of(tag, 0x81, length)
  return Uint8Array.of(tag, 0x82, length >> 8, length & 0xff)
}

/**
 * The start of a wrapped session. Since the fix of CVE-2026-48934, Node wraps a session's DER with the name that it was
 * verified for.
 */
const WRAPPER = Buffer.from('\0nodejs:tls:session:1\0', 'latin1')

/**
 * The first releases that use wrapped sessions (CVE-2026-48934). Earlier releases, and all of Node 20, use OpenSSL's
 * DER.
 */
const WRAPPED_SINCE: Readonly<Record<number, readonly [minor: number, patch: number]>> = {
  22: [23, 0],
  24: [17, 0],
  26: [3, 1],
}

function takesWrapped(version = process.versions.node): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  const [firstMinor, firstPatch] = WRAPPED_SINCE[major] ?? [Number.POSITIVE_INFINITY, 0]
  return minor > firstMinor || (minor === firstMinor && patch >= firstPatch)
}

function wrap(der: Uint8Array, name: string): Buffer {
  const utf8 = Buffer.from(name, 'utf8')
  const length = Buffer.of(utf8.length >> 8, utf8.length & 0xff)
  return Buffer.concat([WRAPPER, length, utf8, der])
}

/** The raw DER inside what a `'session'` event of any Node carries. */
export function unwrapSession(session: Uint8Array): Uint8Array {
  const { length } = WRAPPER
  if (session.length < length + 2 || !equal(part(session, 0, length), WRAPPER)) return session
  return session.subarray(length + 2 + session[length]! * 256 + session[length + 1]!)
}

/** A copy of `der`, for a server verified as `name`, in the form that this Node emits and accepts. */
export const asNodeHasIt = (der: Uint8Array, name: string): Buffer =>
  takesWrapped() ? wrap(der, name) : Buffer.from(der)

/**
 * Hands `der` to a socket whose server will be verified as `name`. Call it only before the handshake starts: later it
 * would break the connection.
 */
export function setSession(socket: TLSSocket, der: Uint8Array, name: string): void {
  ;(socket as TLSSocket & { setSession(session: Buffer): void }).setSession(asNodeHasIt(der, name))
}
