import { X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from 'node:tls'
import { putMethod, type SocketMethods } from './socket-methods.ts'

/**
 * Makes a resumed socket show the chain that was verified. Node's own `getPeerCertificate()` and
 * `getPeerX509Certificate()` are empty on a resumed client socket, so a program that looks at the certificate after
 * connecting (a pin, a list of refused issuers) would accept what it refuses, or break.
 *
 * @param certificate DER, the server's own, as Node showed it in the full handshake
 * @param issuers DER, those above it; opened where they are looked at
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
 * Makes a resumed socket look as after a full handshake. Programs that pin do not look where `isSessionReused()`: a session
 * of their own they have pinned when it was made (snowflake-sdk does so). Node asks as well, so it checks the identity of
 * the server by `checkServerIdentity` and the certificate that is shown, with the options as they are by then.
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
  // Of the prototype as it is then: a program may check the certificate there.
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

/** Made once: a burst of connections shows the same certificate, and Node takes a while to spell one out. */
const legacyObjects = new WeakMap<Uint8Array, PeerCertificate>()

/** A certificate as `getPeerCertificate()` shows it. A copy: a program may write to what it is given. */
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

/** As Node links them: a root's `issuerCertificate` is the root itself. */
function detailedChain(chain: readonly Uint8Array[]): DetailedPeerCertificate {
  const links = chain.map((der) => legacy(der) as DetailedPeerCertificate)
  for (const [i, link] of links.entries()) {
    const issuer = links[i + 1] ?? (isSelfIssued(chain[i]!) ? link : undefined)
    if (issuer) link.issuerCertificate = issuer
  }
  return links[0]!
}

/** For Node's own check of the identity, before it calls the socket authorized: that reads the first certificate alone. */
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
 * Without a root at its end: Node takes that out of the trusted certificates for `getPeerCertificate` alone. Which
 * certificates the server has sent is not told.
 */
function x509Chain(chain: readonly Uint8Array[]): X509Certificate {
  const sent = chain.length > 1 && isSelfIssued(chain.at(-1)!) ? chain.slice(0, -1) : chain
  const links = sent.map((der) => new X509Certificate(der))
  for (const [i, link] of links.entries()) {
    const value = links[i + 1]
    // A getter of the prototype, which knows the issuer of a certificate that came with a connection only.
    if (value) Object.defineProperty(link, 'issuerCertificate', { value, configurable: true })
  }
  return links[0]!
}

function isSelfIssued(der: Uint8Array): boolean {
  const { issuer, subject } = new X509Certificate(der)
  return issuer === subject
}
