import { X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from 'node:tls'
import { putMethod, type SocketMethods } from './socket-methods.ts'

/**
 * Makes a resumed socket return the chain that was verified. Node's own `getPeerCertificate()` and
 * `getPeerX509Certificate()` return nothing on a resumed client socket. A program that checks the certificate after
 * connecting (a pin, a list of rejected issuers) would then accept what it should reject, or fail.
 *
 * @param certificate the server's own certificate, DER, as Node showed it in the full handshake
 * @param issuers returns the certificates above it, DER; decrypts them when it is called
 * @param isResumed whether the connection was resumed from the session of that handshake
 */
export function showChain(
  socket: TLSSocket,
  certificate: Uint8Array,
  issuers: () => readonly Uint8Array[],
  isResumed: () => boolean,
): void {
  const chain = () => [certificate, ...issuers()]
  answer(socket, 'getPeerCertificate', isResumed, (detailed) => {
    if (!detailed) return legacy(certificate)
    return socket.authorized ? detailedChain(chain()) : withIssuersLater(certificate, chain)
  })
  answer(socket, 'getPeerX509Certificate', isResumed, () => x509Chain(chain()))
}

/**
 * Makes `isSessionReused()` return false on a socket that we resumed. Programs that pin certificates skip the check if
 * it returns true, since they checked a session of their own when it was made (snowflake-sdk does this). Node calls it
 * as well, so with false Node runs `checkServerIdentity` on the certificate that is shown, with the options as they are
 * then.
 */
export function hideResumption(socket: TLSSocket, isResumed: () => boolean, methods: SocketMethods): void {
  putMethod(socket, 'isSessionReused', function (this: TLSSocket) {
    const isReused = methods.isSessionReused.call(this)
    try {
      return isReused && !isResumed()
    } catch {
      return isReused
    }
  })
}

function answer(
  socket: TLSSocket,
  name: 'getPeerCertificate' | 'getPeerX509Certificate',
  isResumed: () => boolean,
  ours: (detailed: unknown) => unknown,
): void {
  // The prototype's method is looked up at each call: a program may have replaced it to check the certificate there.
  const own = Object.hasOwn(socket, name) ? (socket[name] as (...args: unknown[]) => unknown) : undefined
  putMethod(socket, name, function (this: TLSSocket, ...args: unknown[]) {
    const theirs = (own ?? Object.getPrototypeOf(this)[name]).apply(this, args)
    const isEmpty = theirs === undefined || (theirs !== null && Object.keys(theirs as object).length === 0)
    if (!isEmpty || theirs instanceof X509Certificate || this.destroyed) return theirs
    try {
      return isResumed() ? ours(args[0]) : theirs
    } catch {
      return theirs
    }
  })
}

/** Cached, because a burst of connections shows the same certificate and Node is slow to convert one. */
const legacyObjects = new WeakMap<Uint8Array, PeerCertificate>()

/** A certificate as `getPeerCertificate()` returns it. Returns a copy, because a program may modify the object. */
function legacy(certificate: Uint8Array): PeerCertificate {
  let shown = legacyObjects.get(certificate)
  if (!shown) {
    shown = new X509Certificate(certificate).toLegacyObject() as PeerCertificate
    legacyObjects.set(certificate, shown)
  }
  return copyOf(shown)
}

function copyOf<T>(value: T): T {
  if (value instanceof Uint8Array) return Buffer.from(value) as unknown as T
  if (typeof value !== 'object' || value === null) return value
  const copy = Array.isArray(value) ? [] : Object.create(Object.getPrototypeOf(value))
  for (const [name, one] of Object.entries(value)) copy[name] = copyOf(one)
  return copy
}

/** Links the certificates as Node does: a root's `issuerCertificate` is the root itself. */
function detailedChain(chain: readonly Uint8Array[]): DetailedPeerCertificate {
  const links = chain.map((der) => legacy(der) as DetailedPeerCertificate)
  for (const [i, link] of links.entries()) {
    const issuer = links[i + 1] ?? (isSelfIssued(chain[i]!) ? link : undefined)
    if (issuer) link.issuerCertificate = issuer
  }
  return links[0]!
}

/**
 * The result for Node's own identity check, which runs before the socket is authorized and reads only the first
 * certificate. The issuers are decrypted only if they are read.
 */
function withIssuersLater(certificate: Uint8Array, chain: () => readonly Uint8Array[]): PeerCertificate {
  const set = (value: unknown) => Object.defineProperty(shown, 'issuerCertificate', { ...PLAIN, value })
  const get = () => {
    const { issuerCertificate: issuer } = detailedChain(chain())
    set(issuer)
    return issuer
  }
  const shown = legacy(certificate)
  return Object.defineProperty(shown, 'issuerCertificate', { get, set, enumerable: true, configurable: true })
}

const PLAIN = { writable: true, enumerable: true, configurable: true }

/**
 * Omits a root at the end: Node adds it from the trusted certificates only in `getPeerCertificate`. It is not known
 * which certificates the server sent.
 */
function x509Chain(chain: readonly Uint8Array[]): X509Certificate {
  const sent = chain.length > 1 && isSelfIssued(chain.at(-1)!) ? chain.slice(0, -1) : chain
  const links = sent.map((der) => new X509Certificate(der))
  for (const [i, link] of links.entries()) {
    const value = links[i + 1]
    // Overrides the prototype's getter, which works only for certificates that came with a connection.
    if (value) Object.defineProperty(link, 'issuerCertificate', { value, configurable: true })
  }
  return links[0]!
}

function isSelfIssued(der: Uint8Array): boolean {
  const { issuer, subject } = new X509Certificate(der)
  return issuer === subject
}
