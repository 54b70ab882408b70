// Records the arguments of one call of `tls.connect` or `tls.createSecureContext` while the call runs. This file is
// small because it is loaded before the first packet of the first connection leaves.
import type tls from 'node:tls'
import type { PeerCertificate } from 'node:tls'
import { equal } from '../common/bytes.ts'
import type { BeforeHandshake } from './before-handshake.ts'
import type { ConnectionTimes } from './connection-times.ts'
import { isNodesOwn, type NodeFunction } from './node-functions.ts'
import { SOCKET_METHODS, type SocketMethods, socketMethods } from './socket-methods.ts'

/** The options of a call. A value can have any type: Node has not checked them yet, or not all of them. */
export type Options = { readonly [option: string]: unknown }

/** The state of `node:tls` that decides trust in addition to the options of a call. */
export interface TlsState {
  readonly minVersion: unknown
  readonly maxVersion: unknown
  readonly ecdhCurve: unknown
  readonly ciphers: unknown
  /** Whether OpenSSL is in FIPS mode, which a program can change (`crypto.setFips`). */
  readonly fips: unknown
  /** The name of a Node function that decides trust and was replaced. */
  readonly replaced: string | undefined
  /** The methods of Node's that every socket inherits. */
  readonly methods: SocketMethods
  /** The default CAs, used if a call passes no `ca`: PEM, as Node returns them. Undefined if they are not known. */
  readonly defaultRoots: readonly string[] | undefined
  /** The roots that Node ships with. */
  readonly bundledRoots: readonly string[]
}

/** What a secure context was made from. */
export interface ContextOrigin {
  readonly options: Options
  readonly state: TlsState
  /** Whether the context is unchanged since. */
  readonly isIntact: () => boolean
}

/** The arguments of one `tls.connect`. */
export interface CallOptions {
  readonly options: Options
  readonly state: TlsState
}

/** One `tls.connect`. */
export interface Call extends CallOptions {
  /**
   * Whether Node's copy of the options still has the recorded values. Node reads some of them only after the handshake.
   */
  readonly isUnchanged: () => boolean
  /**
   * Whether the ClientHello has a key share for the group that the server is known to want, instead of Node's default.
   */
  readonly isGroupChosen: boolean
  /** Undefined if the socket is already connected. */
  readonly beforeHandshake: BeforeHandshake | undefined
  /**
   * The origin of the context that the program passed. Undefined if it passed none, or one whose creation we did not
   * see.
   */
  readonly context: ContextOrigin | undefined
  /** `tls.checkServerIdentity`, if the call uses it. Undefined if the call uses a function of the program. */
  readonly identityCheck: CheckServerIdentity | undefined
  /** The session setting of the `https` agent that makes the call. Undefined if no agent makes it. */
  readonly agent: { readonly maxCachedSessions: unknown } | undefined
  /**
   * Whether the program listens for sessions. If it does, it stores them, and `session: null` only means that it has
   * none yet (Undici does this). Undefined if this is not known while the call runs.
   */
  readonly keepsSessions: () => boolean | undefined
  /** Recorded if a summary was requested. */
  readonly times?: ConnectionTimes | undefined
}

/** Node's `tls.checkServerIdentity`: returns undefined if the certificate is valid for the name. */
export type CheckServerIdentity = (name: string, certificate: PeerCertificate) => Error | undefined

/** Options of `tls.createSecureContext`: the names that `configSecureContext` of Node 20 to 26 reads. */
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

/** Options of `tls.connect` itself that decide who is trusted, where the connection goes, or whether it may resume. */
export const CALL_OPTIONS = [
  ...['host', 'port', 'servername', 'socket', 'lookup', 'session', 'secureContext', 'rejectUnauthorized'],
  ...['checkServerIdentity', 'minDHSize', 'ALPNProtocols', 'requestOCSP', 'pskCallback', 'maxCachedSessions'],
]

/** Options that Node reads from its own copy after the handshake (`onConnectSecure`). */
export const READ_LATER = ['checkServerIdentity', 'servername', 'host', 'minDHSize']

/** Whether Node's copy of the options means the same to Node as when it was recorded. */
export const sayTheSame = (now: Options, noted: Options): boolean =>
  READ_LATER.every((name) => now[name] === noted[name]) &&
  // Node treats every value other than false as true.
  (now.rejectUnauthorized === false) === (noted.rejectUnauthorized === false)

const ALL_OPTIONS = CONTEXT_OPTIONS.concat(CALL_OPTIONS)

/**
 * Whether Node received exactly these options. A program may have replaced `tls.connect` with a function of its own.
 */
export const areTheSame = (nodes: Options, given: Options): boolean =>
  ALL_OPTIONS.every((name) => nodes[name] === given[name] || SET_BY_NODE.includes(name)) &&
  sayTheSame(nodes, given)

/** Options that Node itself or its `https` agent sets. */
const SET_BY_NODE = ['rejectUnauthorized', 'session', 'singleUse']

/** Reads each option by name, because Node reads inherited options too. */
export function noteOptions(options: Options, names = ALL_OPTIONS): Options {
  const noted: Record<string, unknown> = Object.create(null)
  for (const name of names) noted[name] = copyOf(options[name])
  return noted
}

/**
 * Stands for a value that is not plain data, and so may have read differently for Node. Such a call is never admitted.
 */
export const COMPUTED = Symbol('computed')

/**
 * Copies text, bytes and lists of them, because a program may reuse its buffers as soon as Node has read them. Other
 * values are returned unchanged. Calls no method of the program that Node would not call.
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

/** Copies of buffers. All connections that pass the same CA bundle share one copy. */
const copies = new WeakMap<object, Uint8Array>()

function copyOfBytes(value: Uint8Array): Uint8Array | symbol {
  if (!(bufferOf.call(value) instanceof ArrayBuffer)) return COMPUTED // other threads can write to it
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

/** Functions that every verification uses. */
const TRUSTED_FUNCTIONS: readonly NodeFunction[] = ['createSecureContext', 'getCACertificates']

/**
 * @param textOf `Function.prototype.toString` as it was when the preload ran
 * @param withRoots whether the default CAs are needed: the first listing takes Node half a millisecond
 * @param rootsWithExtra returns the default CAs, for Nodes that do not list them, if `NODE_EXTRA_CA_CERTS` was set
 *   when the process started; returns undefined if they are not known
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
