import type { TLSSocket } from 'node:tls'
import { type Issuers, MAX_AGE, MAX_SKEW, type StoredTicket } from '../ticket-entry.ts'
import type { Admission } from './admission.ts'
import type { Call } from './call.ts'
import { readCertificate } from './certificate.ts'
import { isSameSession, unwrapSession } from './session.ts'
import type { SocketMethods } from './socket-methods.ts'
import { endOfTrust } from './verified-chain.ts'

/** What a verified full handshake has shown. A resumed connection has the trust of the full handshake before it. */
export interface Trust {
  /** The server's certificate, DER. */
  readonly certificate: Uint8Array
  /** The certificates above it as Node showed them: DER, nearest first. */
  readonly issuers: Issuers | undefined
  /** The binding that its sessions are stored under. */
  readonly binding: string
  /** UNIX seconds. The trust ends a day later. */
  readonly verifiedAt: number
  /** Whether the client presented a certificate of its own. */
  readonly clientCertificate: boolean
}

/**
 * The trust of a full handshake that Node has just verified. Returns the reason instead, as a phrase for people, if the
 * sessions must not be kept.
 * @param now UNIX seconds
 */
export function trustOfFullHandshake(
  socket: TLSSocket,
  { context }: Call,
  { binding, trusted, partial, clientCertificateEnds }: Admission,
  now: number,
): Trust | string {
  if (context && !context.isIntact()) return 'the secureContext was changed during the handshake'
  // Wherever a client certificate came from, a session made with it is as valuable as its key.
  const local = socket.getCertificate() as { raw?: unknown } | null
  if (clientCertificateEnds === undefined && local?.raw)
    return 'the connection has a client certificate that was not in its options'
  const [certificate, ...issuers] = shownChain(socket)
  if (!certificate) return 'the server sent no certificate'
  const endOfChain = endOfTrust([certificate, ...issuers], trusted, partial, now)
  if (endOfChain === undefined) return whyNoEnd([certificate, ...issuers], now)
  const end = Math.min(endOfChain, clientCertificateEnds ?? endOfChain)
  const shown = issuers.length > 0 ? () => issuers : undefined
  const clientCertificate = clientCertificateEnds !== undefined
  // `verifiedAt` is set back if a certificate of the chain, or the client's own, expires within the day.
  return { certificate, issuers: shown, binding, verifiedAt: Math.min(now, end - MAX_AGE), clientCertificate }
}

/** For people: a certificate that was made for a trial is the one case that goes away by itself. */
function whyNoEnd(shown: readonly Uint8Array[], now: number): string {
  const isNew = shown.some((der) => now < (readCertificate(der)?.notBefore ?? 0) + MAX_SKEW)
  if (isNew) return 'a certificate of its chain has been valid for less than a minute'
  return 'no path of signatures leads from the server to a trusted certificate'
}

/**
 * The trust of a resumed connection is that of the offered session, provided that this session is in force. The program
 * may have set another one since, for example one with a client certificate.
 */
export function trustOfResumption(
  socket: TLSSocket,
  ticket: StoredTicket | undefined,
  offered: Uint8Array | undefined,
  getSession: SocketMethods['getSession'],
): Trust | string {
  const { certificate, issuers, binding, verifiedAtUnixSecs: verifiedAt } = ticket ?? {}
  if (!certificate || binding === undefined || verifiedAt === undefined || !offered) {
    return 'the session in force is of unknown origin'
  }
  if (!isInForce(socket, offered, getSession)) return 'the session in force is not the one that was offered'
  return { certificate, issuers, binding, verifiedAt, clientCertificate: ticket?.clientCertificate === true }
}

/**
 * Whether the offered session is in force. At `secureConnect` OpenSSL returns the offered session, except for the
 * fields that the server changed.
 */
export function isInForce(
  socket: TLSSocket,
  offered: Uint8Array,
  getSession: SocketMethods['getSession'],
): boolean {
  const session = getSession.call(socket)
  return session !== undefined && isSameSession(unwrapSession(session), offered)
}

const MAX_CERTIFICATES = 16

/**
 * Uses `getPeerCertificate`, as Node has just done itself. Up to Node 24, `getPeerX509Certificate` removes the
 * certificate from the connection's own chain, and the program would find none.
 */
function shownChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let certificate = socket.getPeerCertificate(true)
  while (certificate?.raw && chain.length <= MAX_CERTIFICATES) {
    chain.push(new Uint8Array(certificate.raw))
    const { issuerCertificate } = certificate
    if (!issuerCertificate || issuerCertificate === certificate) break
    certificate = issuerCertificate
  }
  return chain
}
