import type { TLSSocket } from 'node:tls'

// No module of Node's is loaded here: the preload uses this file before any TLS connection is made.

/**
 * The options of a `tls.connect` call as Node itself has normalised them, and what a `secureContext` was made
 * from. Everything may be there in any type: nothing here has been checked by Node yet.
 */
export type ConnectOptions = { readonly [option: string]: unknown }

/**
 * What the module `tls` said when a connection or a context was made: the defaults that the options fall
 * back on, and the two functions that, replaced, make trust unreadable.
 */
export interface TlsDefaults {
  readonly minVersion: unknown
  readonly maxVersion: unknown
  readonly ecdhCurve: unknown
  readonly ciphers: unknown
  readonly checkServerIdentity: unknown
  readonly createSecureContext: unknown
  /** Whether OpenSSL is in FIPS mode, which a program can change (`crypto.setFips`). */
  readonly fips: unknown
  /** Another after each change of the default CAs, and 0 where they are Node's own for certain (`caGenerations`). */
  readonly caGeneration: number
}

/** @param tls the module `node:tls`, once something else has loaded it */
export const readDefaults = (tls: typeof import('node:tls'), caGeneration: number): TlsDefaults => ({
  minVersion: tls.DEFAULT_MIN_VERSION,
  maxVersion: tls.DEFAULT_MAX_VERSION,
  ecdhCurve: tls.DEFAULT_ECDH_CURVE,
  ciphers: tls.DEFAULT_CIPHERS,
  checkServerIdentity: tls.checkServerIdentity,
  createSecureContext: tls.createSecureContext,
  fips: process.getBuiltinModule('node:crypto').getFips(),
  caGeneration,
})

/** Of a process, outside the options of a call, what decides trust: its flags and its environment. */
export interface ProcessTrust {
  readonly execArgv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Noted after the program had begun, and may have changed its environment (`import 'ticketkeep/preload'`). */
  readonly isLate: boolean
}

/** What Node and OpenSSL look at, most of it once, when the process starts or first verifies. */
export const VARIABLES = [
  'NODE_OPTIONS',
  'NODE_EXTRA_CA_CERTS',
  'NODE_USE_SYSTEM_CA',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'OPENSSL_CONF',
] as const

export function readProcessTrust(isLate: boolean): ProcessTrust {
  const env: Record<string, string | undefined> = {}
  // Neither this nor the copy by an iterator, which costs a process that has just started more than all the rest.
  for (let i = 0; i < VARIABLES.length; i++) env[VARIABLES[i]!] = process.env[VARIABLES[i]!]
  return { execArgv: process.execArgv.slice(), env, isLate }
}

/** The options whose content is looked at later, and which the program may overwrite as soon as Node has it. */
const CONTENTS = ['ca', 'cert', 'pfx', 'ALPNProtocols'] as const

/** All that is asked of what a context is made from, by the names that Node reads. */
export const CONTEXT_OPTIONS = [
  ...['ca', 'allowPartialTrustChain', 'crl', 'cert', 'key', 'pfx', 'ciphers', 'sigalgs', 'ecdhCurve'],
  ...['minVersion', 'maxVersion', 'secureProtocol', 'secureOptions', 'sessionIdContext', 'ticketKeys'],
  ...['clientCertEngine', 'privateKeyEngine', 'privateKeyIdentifier'],
]

/** And of a call. */
const CALL_OPTIONS = [
  ...['host', 'port', 'servername', 'socket', 'lookup', 'session', 'secureContext', 'rejectUnauthorized'],
  ...['checkServerIdentity', 'minDHSize', 'ALPNProtocols', 'requestOCSP', 'pskCallback'],
]

// Marked for the preload, which has no use for it.
const OPTIONS = /* @__PURE__ */ CONTEXT_OPTIONS.concat(CALL_OPTIONS)

/**
 * The options as they are now, and stay: the program may reuse its arrays, wipe its buffers, and take back what
 * it put on `Object.prototype`. Read by name, since Node reads inherited ones too.
 */
export function noteOptions(options: ConnectOptions, names = OPTIONS): ConnectOptions {
  const noted: Record<string, unknown> = Object.create(null)
  // Not by an iterator, of which V8's interpreter makes an object a step.
  for (let i = 0; i < names.length; i++) noted[names[i]!] = options[names[i]!]
  for (const name of CONTENTS) if (noted[name]) noted[name] = copyOf(noted[name], name === 'ca')
  return noted
}

/** Of buffers of CAs, as they were: one copy of a bundle serves all connections that are given it. */
const copies = new WeakMap<object, Uint8Array>()

function copyOf(value: unknown, shared: boolean): unknown {
  if (Array.isArray(value)) return value.map((one) => copyOf(one, shared))
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value
    const known = shared ? copies.get(value) : undefined
    if (known && Buffer.compare(known, new Uint8Array(buffer, byteOffset, byteLength)) === 0) return known
    const copy = new Uint8Array(buffer.slice(byteOffset, byteOffset + byteLength))
    if (shared) copies.set(value, copy)
    return copy
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, copyOf(inner, shared)]))
}

let symbol: symbol | undefined

/** Node's own copy of the options that a client socket was made with; undefined for any other socket. */
export function connectOptionsOf(socket: TLSSocket): ConnectOptions | undefined {
  symbol ??= Object.getOwnPropertySymbols(socket).find((s) => s.description === 'connect-options')
  return symbol && (socket as unknown as Record<symbol, ConnectOptions | undefined>)[symbol]
}

/**
 * Whether a function of the module `tls` is still the one that Node came with. By the time that we are loaded
 * the program may have put its own there: one that wraps Node's, or speaks of its internals. So the whole frame of
 * Node's is looked at, the same in all its lines; where it is another one day, connections are left alone.
 */
const SIGNS = {
  checkServerIdentity: [
    'function checkServerIdentity(hostname, cert) {\n  const subject = cert.subject;\n',
    'unfqdn(hostname)',
    '  if (!valid) {\n    return new ERR_TLS_CERT_ALTNAME_INVALID(reason, hostname, cert);\n  }\n}',
  ],
  createSecureContext: [
    'function createSecureContext(options) {\n',
    'configSecureContext(c.context, options);\n',
    '\n  return c;\n}',
  ],
} as const
const known = new WeakMap<object, boolean>()

export function isNodesOwn(name: keyof typeof SIGNS, value: unknown): boolean {
  if (typeof value !== 'function') return false
  let own = known.get(value)
  if (own === undefined) {
    // Builds for Windows have lines that end as Windows has them.
    const text = Function.prototype.toString.call(value).replaceAll('\r', '')
    const [start, middle, end] = SIGNS[name]
    own = text.startsWith(start) && text.endsWith(end) && text.includes(middle)
    known.set(value, own)
  }
  return own
}

/** Marks our own wrapper around one of those functions as good as Node's. */
export const vouchFor = (wrapper: object): void => void known.set(wrapper, true)
