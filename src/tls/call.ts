// What one call of `tls.connect` or `tls.createSecureContext` was given, noted while the call runs. Small, since it is
// loaded before the first packet of the first connection leaves.
import type tls from 'node:tls'
import type { PeerCertificate } from 'node:tls'
import { equal } from '../common/bytes.ts'
import type { BeforeHandshake } from './before-handshake.ts'
import type { ConnectionTimes } from './connection-times.ts'
import { isNodesOwn, type NodeFunction } from './node-functions.ts'
import { SOCKET_METHODS, type SocketMethods, socketMethods } from './socket-methods.ts'

/** The options of a call. Anything may be there in any type: Node has checked none of it yet, or not all. */
export type Options = { readonly [option: string]: unknown }

/** What `node:tls` says beyond the options of a call. */
export interface TlsState {
  readonly minVersion: unknown
  readonly maxVersion: unknown
  readonly ecdhCurve: unknown
  readonly ciphers: unknown
  /** Whether OpenSSL is in FIPS mode, which a program can change (`crypto.setFips`). */
  readonly fips: unknown
  /** A function of Node's that decides trust and has been replaced. */
  readonly replaced: string | undefined
  /** Those that a socket has of Node. */
  readonly methods: SocketMethods
  /** What is trusted where a call gives no `ca`: PEM, as Node tells it. Undefined where it does not. */
  readonly defaultRoots: readonly string[] | undefined
  /** The roots that Node comes with. */
  readonly bundledRoots: readonly string[]
}

/** What a secure context was made from. */
export interface ContextOrigin {
  readonly options: Options
  readonly state: TlsState
  /** Whether nothing has been added to the context since. */
  readonly isIntact: () => boolean
}

/** What one `tls.connect` was given. */
export interface CallOptions {
  readonly options: Options
  readonly state: TlsState
}

/** One `tls.connect`. */
export interface Call extends CallOptions {
  /** Whether Node's own copy of the options still says what was noted: Node reads a part of it after the handshake. */
  readonly isUnchanged: () => boolean
  /** Whether its ClientHello offers the group that the server is known to ask for, in the place of Node's default. */
  readonly isGroupChosen: boolean
  /** Undefined where the socket is connected already. */
  readonly beforeHandshake: BeforeHandshake | undefined
  /** Of the context that the program passed; undefined where it passed none, or one that we did not see being made. */
  readonly context: ContextOrigin | undefined
  /** `tls.checkServerIdentity`, where that is what the call asks; undefined where it asks a function of the program's. */
  readonly identityCheck: CheckServerIdentity | undefined
  /** What the agent of `https` that makes the call said of its sessions; undefined where no agent makes it. */
  readonly agent: { readonly maxCachedSessions: unknown } | undefined
  /**
   * Whether the program listens for sessions: it keeps them, and `session: null` says that it has none yet. Undici does.
   * Undefined where that is not known while the call runs.
   */
  readonly keepsSessions: () => boolean | undefined
  /** Noted where a summary is asked for. */
  readonly times?: ConnectionTimes | undefined
}

/** Node's `tls.checkServerIdentity`: undefined where the certificate bears the name. */
export type CheckServerIdentity = (name: string, certificate: PeerCertificate) => Error | undefined

/** Options of `tls.createSecureContext`, by the names that `configSecureContext` of Node 20 to 26 reads. */
export const CONTEXT_OPTIONS = [
  ...[
    'ca',
    'allowPartialTrustChain',
    'crl',
    'cert',
    'key',
    'passphrase',
    'pfx',
    'ciphers',
    'sigalgs',
    'ecdhCurve',
  ],
  ...['minVersion', 'maxVersion', 'secureProtocol', 'secureOptions', 'honorCipherOrder', 'sessionIdContext'],
  ...[
    'sessionTimeout',
    'ticketKeys',
    'dhparam',
    'certificateCompression',
    'clientCertEngine',
    'privateKeyEngine',
  ],
  ...['privateKeyIdentifier', 'singleUse'],
]

/** Options of `tls.connect` itself that decide who is trusted, to whom the connection goes, or whether it may resume. */
export const CALL_OPTIONS = [
  ...['host', 'port', 'servername', 'socket', 'lookup', 'session', 'secureContext', 'rejectUnauthorized'],
  ...['checkServerIdentity', 'minDHSize', 'ALPNProtocols', 'requestOCSP', 'pskCallback', 'maxCachedSessions'],
]

/** Those that Node reads once the handshake is done (`onConnectSecure`), out of its own copy. */
export const READ_LATER = ['checkServerIdentity', 'servername', 'host', 'minDHSize']

/** Whether Node's own copy of the options says the same to it as it did when it was noted. */
export const sayTheSame = (now: Options, noted: Options): boolean =>
  READ_LATER.every((name) => now[name] === noted[name]) &&
  // Node itself makes true of what is not false.
  (now.rejectUnauthorized === false) === (noted.rejectUnauthorized === false)

const ALL_OPTIONS = CONTEXT_OPTIONS.concat(CALL_OPTIONS)

/** Whether Node was given just these options: a program may have put a function of its own in the place of `tls.connect`. */
export const areTheSame = (nodes: Options, given: Options): boolean =>
  ALL_OPTIONS.every((name) => nodes[name] === given[name] || SET_BY_NODE.includes(name)) &&
  sayTheSame(nodes, given)

/** What Node itself, or its agent of `https`, puts in. */
const SET_BY_NODE = ['rejectUnauthorized', 'session', 'singleUse']

/** Read by name, since Node reads inherited options too. */
export function noteOptions(options: Options, names = ALL_OPTIONS): Options {
  const noted: Record<string, unknown> = Object.create(null)
  for (const name of names) noted[name] = copyOf(options[name])
  return noted
}

/** What is not plain data: it could have said something else to Node. Never admitted. */
export const COMPUTED = Symbol('computed')

/**
 * Text and bytes, and lists of them, copied: a program may reuse its buffers as soon as Node has them. Whatever else an
 * option holds stays as it is. Nothing is asked of the program's own methods, which Node does not ask either.
 */
function copyOf(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return value instanceof Uint8Array ? copyOfBytes(value) : COMPUTED
  if (!Array.isArray(value)) return value
  if (process.getBuiltinModule('node:util').types.isProxy(value)) return COMPUTED
  const copy: unknown[] = []
  for (let i = 0; i < value.length; i++) {
    const property = Object.getOwnPropertyDescriptor(value, i)
    copy.push(property && 'value' in property ? copyOf(property.value) : COMPUTED)
  }
  return copy
}

const bufferOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'buffer')!.get!

/** Of buffers, as they were: one copy of a bundle of CAs serves all connections that are given it. */
const copies = new WeakMap<object, Uint8Array>()

function copyOfBytes(value: Uint8Array): Uint8Array | symbol {
  if (!(bufferOf.call(value) instanceof ArrayBuffer)) return COMPUTED // other threads write to it
  const known = copies.get(value)
  if (known && equal(known, value)) return known
  const copy = new Uint8Array(value)
  copies.set(value, copy)
  return copy
}

type Tls = typeof tls & {
  /** Node 22.15 and newer. */
  readonly getCACertificates?: (type: 'default' | 'extra') => readonly string[]
}

/**
 * Node lists the certificates of `NODE_EXTRA_CA_CERTS` among the default ones only if the variable is set when it is first
 * asked (`cacheDefaultCACertificates` in lib/tls.js), in a worker the variable of the worker. OpenSSL has them since the
 * process started.
 *
 * @returns undefined where the list lacks some of them
 */
function allDefaultRoots(getCACertificates: NonNullable<Tls['getCACertificates']>) {
  const listed = getCACertificates('default')
  return getCACertificates('extra').every((one) => listed.includes(one)) ? listed : undefined
}

/** Functions that every verification passes through. */
const TRUSTED_FUNCTIONS: readonly NodeFunction[] = ['createSecureContext', 'getCACertificates']

/**
 * @param textOf `Function.prototype.toString` as the preload found it
 * @param withRoots whether the default CAs matter: Node takes half a millisecond to list them at first
 * @param rootsWithExtra what is trusted by default where Node does not tell and `NODE_EXTRA_CA_CERTS` was set when the
 *   process started; undefined where that is not known
 */
export function readTlsState(
  module: typeof tls,
  textOf: (f: object) => string,
  withRoots: boolean,
  rootsWithExtra: (() => readonly string[] | undefined) | undefined,
): TlsState {
  const { getCACertificates } = module as Tls
  const prototype = module.TLSSocket.prototype as unknown as Record<string, unknown>
  const functions = module as unknown as Record<string, unknown>
  const isPatched = (owner: Record<string, unknown>) => (name: NodeFunction) =>
    owner[name] !== undefined && !isNodesOwn(name, owner[name], textOf)
  const replaced = TRUSTED_FUNCTIONS.find(isPatched(functions)) ?? SOCKET_METHODS.find(isPatched(prototype))
  const roots = () => {
    if (getCACertificates) return allDefaultRoots(getCACertificates)
    return rootsWithExtra ? rootsWithExtra() : module.rootCertificates
  }
  return {
    minVersion: module.DEFAULT_MIN_VERSION,
    maxVersion: module.DEFAULT_MAX_VERSION,
    ecdhCurve: module.DEFAULT_ECDH_CURVE,
    ciphers: module.DEFAULT_CIPHERS,
    fips: process.getBuiltinModule('node:crypto').getFips(),
    replaced,
    methods: socketMethods(module.TLSSocket.prototype),
    defaultRoots: withRoots && replaced === undefined ? roots() : undefined,
    bundledRoots: withRoots ? module.rootCertificates : [],
  }
}
