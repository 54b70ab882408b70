import { equal } from '../common/bytes.ts'
import { MAX_AGE, MAX_SKEW, type StoredTicket } from '../ticket-entry.ts'
import type { Admission } from './admission.ts'
import { type Certificate, isNamed, spkiFingerprint } from './certificate.ts'
import { cutCertificate, putCertificate, readSession, type Session } from './session.ts'
import type { Trust } from './verified-handshake.ts'

/**
 * When a session expires (UNIX seconds): 24 h after the full handshake that its trust derives from, or less if the
 * policy says so. Earlier if the server's lifetime hint, OpenSSL's timeout or the certificate ends first.
 */
export function expiry(
  session: Session,
  certificate: Certificate,
  verifiedAt: number,
  maxAge = MAX_AGE,
): number {
  // No hint, or 0, means "unspecified" in TLS 1.2 (RFC 5077, 3.3) and "discard immediately" in TLS 1.3 (RFC 8446, 4.6.1).
  const unhinted = session.protocol === 'TLSv1.3' ? 0 : session.timeout
  const lifetime = Math.min(session.timeout, session.lifetimeHint || unhinted)
  return Math.min(verifiedAt + maxAge, session.startedAt + lifetime, certificate.notAfter)
}

/**
 * The session of a stored ticket, if a full handshake with the same certificate would be accepted now. Undefined
 * otherwise. Nothing else checks this in a resumed handshake: Node does not call `checkServerIdentity`, and OpenSSL
 * does not check dates.
 *
 * @param now UNIX seconds
 */
export function sessionToOffer(ticket: StoredTicket, admission: Admission, now: number): Session | undefined {
  if (ticket.binding !== admission.binding || !ticket.certificate) return undefined
  const session = readSession(putCertificate(ticket.ticket, ticket.certificate))
  return session && mayBeOffered(session, ticket, admission, now) ? session : undefined
}

/**
 * The rule itself. It is checked again just before the handshake.
 *
 * @param session parsed from this ticket
 */
export function mayBeOffered(
  session: Session,
  ticket: StoredTicket,
  admission: Admission,
  now: number,
): boolean {
  const { verifiedAtUnixSecs: verifiedAt } = ticket
  if (ticket.binding !== admission.binding) return false
  if (verifiedAt === undefined || verifiedAt > now + MAX_SKEW) return false
  if (!session.extendedMasterSecret || session.startedAt > now + MAX_SKEW) return false
  if (ticket.protocol !== session.protocol) return false
  if (session.serverName !== undefined && session.serverName.toLowerCase() !== admission.name.toLowerCase()) {
    return false
  }
  const { certificate } = session
  if (now < certificate.notBefore || now >= expiry(session, certificate, verifiedAt, admission.maxAge))
    return false
  if (!equal(spkiFingerprint(certificate), ticket.spkiFp)) return false
  return isNamed(certificate, admission.name, admission.identityCheck)
}

/**
 * Builds the ticket to store for a session from a connection with this trust. Returns the reason instead, as a phrase
 * for people, if it is not kept.
 *
 * @param der kept by the result, except for its certificate
 * @param now UNIX seconds
 * @param address of the server; undefined if it is not known
 */
export function ticketOf(
  der: Uint8Array,
  trust: Trust,
  now: number,
  address?: string,
): StoredTicket | string {
  const session = readSession(der)
  if (!session) return 'the session has no ticket, or cannot be read'
  if (!session.extendedMasterSecret) return 'the session has no extended master secret (RFC 7627)'
  if (!equal(session.certificate.der, trust.certificate))
    return 'the session has another certificate than the handshake'
  const { certificate } = session
  return {
    ticket: cutCertificate(session.der),
    certificate: trust.certificate,
    ...(trust.issuers && { issuers: trust.issuers }),
    ...(address !== undefined && { address }),
    ...(trust.clientCertificate && { clientCertificate: true }),
    spkiFp: spkiFingerprint(certificate),
    storedAtUnixSecs: now,
    expiresAtUnixSecs: expiry(session, certificate, trust.verifiedAt),
    protocol: session.protocol,
    binding: trust.binding,
    verifiedAtUnixSecs: trust.verifiedAt,
  }
}
