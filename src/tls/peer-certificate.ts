import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { equal } from '../common/bytes.ts'
import { type Chain, readChain } from './certificate.ts'
import { readSession, unwrapSession } from './session.ts'

/** The verified chain of a full handshake. */
export interface SeenChain extends Chain {
  /** The server's own certificate, DER. */
  readonly certificate: Uint8Array
}

/**
 * By `getPeerCertificate`, as Node has just done itself: up to Node 24 `getPeerX509Certificate` takes the
 * certificate out of the connection's own chain, and the program would find none.
 */
export function seenChain(socket: TLSSocket): SeenChain | undefined {
  const ders: Uint8Array[] = []
  let certificate = socket.getPeerCertificate(true)
  while (certificate?.raw) {
    ders.push(certificate.raw)
    const { issuerCertificate } = certificate
    if (!issuerCertificate || issuerCertificate === certificate || ders.length > 16) break
    certificate = issuerCertificate
  }
  const chain = readChain(ders)
  return chain && { certificate: ders[0]!, ...chain }
}

/** Whether a resumed socket was resumed from a session with this certificate. (The program may set one, too.) */
function isResumedFrom(socket: TLSSocket, certificate: Uint8Array): boolean {
  const current = socket.isSessionReused() ? socket.getSession() : undefined
  const session = current && readSession(unwrapSession(current))
  return session ? equal(session.peerCertificate, certificate) : false
}

/**
 * Makes a socket, once it is resumed from a session with this certificate, answer with it. Without this
 * `getPeerCertificate()` and `getPeerX509Certificate()` are empty there, and a program that pins after
 * connecting would fail open or break. The chain above the certificate is not in a session: `detailed` has
 * no `issuerCertificate` to show.
 *
 * @param der the certificate out of the session
 */
export function showPeerCertificate(socket: TLSSocket, der: Uint8Array): void {
  const certificate = () => new X509Certificate(der)
  answer(socket, der, 'getPeerCertificate', () => certificate().toLegacyObject())
  answer(socket, der, 'getPeerX509Certificate', certificate)
}

function answer(
  socket: TLSSocket,
  der: Uint8Array,
  name: 'getPeerCertificate' | 'getPeerX509Certificate',
  ours: () => unknown,
) {
  const original = socket[name] as (...args: unknown[]) => unknown
  Object.defineProperty(socket, name, {
    configurable: true,
    writable: true,
    enumerable: false,
    value(this: TLSSocket, ...args: unknown[]) {
      const theirs = original.apply(this, args)
      const empty = theirs === undefined || (theirs !== null && Object.keys(theirs as object).length === 0)
      if (!empty || theirs instanceof X509Certificate || this.destroyed) return theirs
      return isResumedFrom(this, der) ? ours() : theirs
    },
  })
}
