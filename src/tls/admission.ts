import { timingSafeEqual } from 'node:crypto'
import { MAX_AGE, type StoredTicket } from '../ticket-entry.ts'
import { type Certificate, isNamed, readCertificate, spkiFingerprint } from './certificate.ts'
import { readSession, type Session } from './session.ts'

/** How far a clock may have been ahead when a ticket was stored: seconds. */
const SKEW = 60

/**
 * The last moment (UNIX seconds) at which a session may be offered: 24 h after the full handshake from which
 * its trust stems, the server's own lifetime hint, OpenSSL's timeout, and the certificate's end, whichever
 * comes first.
 */
export function expiry(session: Session, certificate: Certificate, verifiedAt: number): number {
  const lifetime = Math.min(session.timeout, session.lifetimeHint || session.timeout)
  return Math.min(verifiedAt + MAX_AGE, session.startedAt + lifetime, certificate.notAfter)
}

/**
 * The session in a stored ticket if it may be offered, now, to a server that has to be `name`: undefined
 * unless a full handshake with the same certificate would be accepted now. A resumed connection asks none of
 * this again (Node calls no `checkServerIdentity`; OpenSSL looks at no dates), so it is asked here.
 *
 * @param now UNIX seconds
 */
export function admit(ticket: StoredTicket, name: string, now: number): Session | undefined {
  const { verifiedAtUnixSecs: verifiedAt } = ticket
  if (verifiedAt === undefined || verifiedAt > now + SKEW) return undefined
  const session = readSession(ticket.ticket)
  if (!session?.extendedMasterSecret || session.startedAt > now + SKEW) return undefined
  if (ticket.protocol !== session.protocol) return undefined
  if (session.serverName !== undefined && session.serverName.toLowerCase() !== name.toLowerCase()) {
    return undefined
  }
  const certificate = readCertificate(session.peerCertificate)
  if (!certificate || now < certificate.notBefore) return undefined
  if (now >= expiry(session, certificate, verifiedAt)) return undefined
  if (!equal(spkiFingerprint(certificate), ticket.spkiFp)) return undefined
  return isNamed(session.peerCertificate, name) ? session : undefined
}

export const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b)
