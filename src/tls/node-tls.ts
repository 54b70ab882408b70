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
}

/** @param tls the module `node:tls`, once something else has loaded it */
export const readDefaults = (tls: typeof import('node:tls')): TlsDefaults => ({
  minVersion: tls.DEFAULT_MIN_VERSION,
  maxVersion: tls.DEFAULT_MAX_VERSION,
  ecdhCurve: tls.DEFAULT_ECDH_CURVE,
  ciphers: tls.DEFAULT_CIPHERS,
  checkServerIdentity: tls.checkServerIdentity,
  createSecureContext: tls.createSecureContext,
})

let symbol: symbol | undefined

/** Node's own copy of the options that a client socket was made with; undefined for any other socket. */
export function connectOptionsOf(socket: TLSSocket): ConnectOptions | undefined {
  symbol ??= Object.getOwnPropertySymbols(socket).find((s) => s.description === 'connect-options')
  return symbol && (socket as unknown as Record<symbol, ConnectOptions | undefined>)[symbol]
}

/**
 * Whether a function of the module `tls` is still the one that Node came with. By the time that we are loaded
 * the program may have put its own there; it would not speak of Node's internals.
 */
const SIGNS = {
  checkServerIdentity: 'ERR_TLS_CERT_ALTNAME_INVALID(',
  createSecureContext: 'configSecureContext(',
}
const known = new WeakMap<object, boolean>()

export function isNodesOwn(name: keyof typeof SIGNS, value: unknown): boolean {
  if (typeof value !== 'function') return false
  let own = known.get(value)
  if (own === undefined) {
    own = Function.prototype.toString.call(value).includes(SIGNS[name])
    known.set(value, own)
  }
  return own
}

/** Marks our own wrapper around one of those functions as good as Node's. */
export const vouchFor = (wrapper: object): void => void known.set(wrapper, true)
