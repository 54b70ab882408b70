import { TLSSocket } from 'node:tls'
import { DerError, type DerReader, explicit, OCTET_STRING, parseDer, SEQUENCE } from './der.ts'

/** What is read from OpenSSL's `SSL_SESSION` (`ssl/ssl_asn1.c`). Times are UNIX seconds, spans seconds. */
export interface Session {
  readonly protocol: 'TLSv1.2' | 'TLSv1.3'
  readonly startedAt: number
  readonly timeout: number
  /** The server's own bound on the ticket (RFC 5077, 3.3; RFC 8446, 4.6.1); 0 or absent: none given. */
  readonly lifetimeHint: number | undefined
  /** The server's certificate, DER. */
  readonly peerCertificate: Uint8Array
  /** The name that was sent in SNI and acknowledged. */
  readonly serverName: string | undefined
  /** RFC 7627; always true for TLS 1.3, which needs no such extension. */
  readonly extendedMasterSecret: boolean
}

const TLS1_2 = 0x0303
const TLS1_3 = 0x0304
const EXTENDED_MASTER_SECRET = 1

/**
 * The cipher suites with which a session is taken. OpenSSL refuses the whole session where it does not know the
 * suite, and which it knows differs from build to build: these are Node's default ones, which all have.
 */
const CIPHER_SUITES: Record<number, ReadonlySet<number>> = {
  [TLS1_3]: new Set([0x1301, 0x1302, 0x1303]),
  [TLS1_2]: new Set([
    ...[0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0xccaa, 0x009c, 0x009d, 0x009e, 0x009f], // AEAD
    ...[0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028], // ECDHE, CBC
    ...[0x002f, 0x0033, 0x0035, 0x0039, 0x003c, 0x003d, 0x0067, 0x006b], // RSA and DHE, CBC
  ]),
}

/** The fields after the master key, each EXPLICIT and in ascending order, by what they hold. */
const INTEGERS = new Set([1, 2, 5, 9, 13, 14, 15, 17, 19])
const UINT32 = new Set([5, 14, 15, 17, 19])
const STRINGS = new Set([4, 6, 10, 16, 18])
const SESSION_ID_CONTEXT = 4
const TICKET = 10
const CERTIFICATE = 3

/**
 * Reads a client's session as raw DER, as strictly as OpenSSL would and then some: bytes that OpenSSL cannot
 * parse leave an error in the thread's queue that breaks other connections. PSK, SRP and raw public key
 * sessions, sessions without ticket, peer certificate or clean verify result are "no session": undefined.
 */
export function readSession(der: Uint8Array): Session | undefined {
  return parseDer(der, (reader) => {
    const fields = reader.enter(SEQUENCE)
    if (fields.integer() !== 1) throw new DerError('not version 1')
    const version = fields.integer()
    if (version !== TLS1_2 && version !== TLS1_3) throw new DerError('not TLS 1.2 or 1.3')
    const suite = fields.read(OCTET_STRING).value
    if (suite.length !== 2 || !CIPHER_SUITES[version]?.has(suite[0]! * 256 + suite[1]!)) {
      throw new DerError('bad cipher suite')
    }
    if (fields.read(OCTET_STRING).value.length > 32) throw new DerError('bad session id')
    const secret = fields.read(OCTET_STRING).value.length
    if (version === TLS1_2 ? secret !== 48 : secret !== 32 && secret !== 48) throw new DerError('bad secret')
    const { integers, strings, certificate } = readTagged(fields)
    const startedAt = integers.get(1)
    const timeout = integers.get(2)
    if (startedAt === undefined || timeout === undefined || !certificate || !strings.get(TICKET)?.length) {
      throw new DerError('incomplete')
    }
    if (integers.get(5)) throw new DerError('not verified')
    if ((strings.get(SESSION_ID_CONTEXT)?.length ?? 0) > 32) throw new DerError('bad context')
    const name = strings.get(6)
    return {
      protocol: version === TLS1_3 ? 'TLSv1.3' : 'TLSv1.2',
      startedAt,
      timeout,
      lifetimeHint: integers.get(9),
      peerCertificate: certificate,
      serverName: name && Buffer.from(name).toString('latin1'),
      extendedMasterSecret: version === TLS1_3 || ((integers.get(13) ?? 0) & EXTENDED_MASTER_SECRET) !== 0,
    }
  })
}

function readTagged(fields: DerReader) {
  const integers = new Map<number, number>()
  const strings = new Map<number, Uint8Array>()
  let certificate: Uint8Array | undefined
  let last = 0
  while (!fields.done) {
    const { tag, value } = fields.read()
    const number = tag & 0x1f
    if (tag !== explicit(number) || number <= last) throw new DerError('unexpected field')
    last = number
    const inner = parseDer(value, (reader) => {
      if (INTEGERS.has(number)) {
        const integer = reader.integer()
        if (UINT32.has(number) && integer > 0xffffffff) throw new DerError('integer too large')
        integers.set(number, integer)
      } else if (STRINGS.has(number)) strings.set(number, reader.read(OCTET_STRING).value)
      else if (number === CERTIFICATE) certificate = reader.read(SEQUENCE).whole
      else throw new DerError('unknown field')
      return true
    })
    if (!inner) throw new DerError('bad field')
  }
  return { integers, strings, certificate }
}

/** Since CVE-2026-48934 Node wraps a session's DER with the name that it was verified for. */
const WRAPPER = Buffer.from('\0nodejs:tls:session:1\0', 'latin1')

/** `raw`: this Node hands out and takes OpenSSL's DER. `wrapped`: the DER behind the server's name. */
export type SessionForm = 'raw' | 'wrapped'

let form: SessionForm | undefined

const PASSES_ON = /session = Buffer\.from\(session, 'latin1'\);\s+this\._handle\.setSession\(session\);\s+\}$/

/**
 * The form that this Node takes, found out by asking its own `setSession`, on an object that has only a
 * recorder for a handle: Nodes that know the wrapper take it off.
 */
export function sessionForm(): SessionForm {
  if (form) return form
  const { setSession } = TLSSocket.prototype as unknown as {
    setSession(this: unknown, session: Buffer): void
  }
  // To ask takes longer than to see that it only passes on what it is given, as that of the older ones does.
  if (PASSES_ON.test(Function.prototype.toString.call(setSession))) return (form = 'raw')
  let taken: unknown
  const recorder = {
    _handle: { setSession: (session: unknown) => void (taken = session) },
    _tlsOptions: { servername: 'x', rejectUnauthorized: true },
  }
  setSession.call(recorder, wrap(Buffer.of(0x30), 'x'))
  form = taken instanceof Uint8Array && taken.length === 1 ? 'wrapped' : 'raw'
  return form
}

function wrap(der: Uint8Array, name: string): Buffer {
  const utf8 = Buffer.from(name, 'utf8')
  const length = Buffer.of(utf8.length >> 8, utf8.length & 0xff)
  return Buffer.concat([WRAPPER, length, utf8, der])
}

/** The raw DER inside what a `'session'` event of any Node carries. */
export function unwrapSession(session: Uint8Array): Uint8Array {
  const { length } = WRAPPER
  if (session.length < length + 2 || WRAPPER.compare(session, 0, length) !== 0) return session
  return session.subarray(length + 2 + session[length]! * 256 + session[length + 1]!)
}

/**
 * Hands `der` to a socket that is to be verified as `name`, in the form that this Node takes. Only before the
 * handshake starts: later it would break the connection.
 */
export function setSession(socket: TLSSocket, der: Uint8Array, name: string): void {
  const session = sessionForm() === 'wrapped' ? wrap(der, name) : Buffer.from(der)
  ;(socket as TLSSocket & { setSession(session: Buffer): void }).setSession(session)
}
