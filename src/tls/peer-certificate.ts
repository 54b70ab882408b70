import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/**
 * Makes a resumed socket answer with the certificate that was verified when its session was made. Without
 * this `getPeerCertificate()` and `getPeerX509Certificate()` are empty there, and a program that pins after
 * connecting would fail open or break. The chain above the certificate is not in a session: `detailed` has
 * no `issuerCertificate` to show.
 *
 * @param der the certificate out of the session
 */
export function showPeerCertificate(socket: TLSSocket, der: Uint8Array): void {
  const certificate = () => new X509Certificate(der)
  answer(socket, 'getPeerCertificate', () => certificate().toLegacyObject())
  answer(socket, 'getPeerX509Certificate', certificate)
}

function answer(
  socket: TLSSocket,
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
      return empty && !(theirs instanceof X509Certificate) && !this.destroyed ? ours() : theirs
    },
  })
}
