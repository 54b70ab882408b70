import { equal } from '../common/bytes.ts'
import { MAX_AGE, MAX_SKEW, type StoredTicket } from '../ticket-entry.ts'
import { type Certificate, isNamed, readCertificate, spkiFingerprint } from './certificate.ts'
import { readSession, type Session } from './session.ts'

/**
 * The last moment (UNIX seconds) at which a session may be offered: 24 h after the full handshake from which
 * its trust stems, the server's own lifetime hint, OpenSSL's timeout, and the certificate's end, whichever
 * comes first.
 */
export function expiry(session: Session, certificate: Certificate, verifiedAt: number): number {
  // No hint is "unspecified" in TLS 1.2 (RFC 5077, 3.3), and "discard at once" in TLS 1.3 (RFC 8446, 4.6.1).
  const unhinted = session.protocol === 'TLSv1.3' ? 0 : session.timeout
  const lifetime = Math.min(session.timeout, session.lifetimeHint || unhinted)
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
  if (verifiedAt === undefined || verifiedAt > now + MAX_SKEW) return undefined
  const session = readSession(ticket.ticket)
  if (!session?.extendedMasterSecret || session.startedAt > now + MAX_SKEW) return undefined
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

/** What a verified handshake, or the one that a resumption goes back to, has shown. */
export interface Trust {
  /** The server's certificate, DER. */
  readonly certificate: Uint8Array
  /** Under which a session is stored. */
  readonly binding: string
  /** UNIX seconds. */
  readonly verifiedAt: number
}

/**
 * What is kept of a session that a connection of this trust has brought: undefined if it is unreadable, came of
 * another certificate, or is one of TLS 1.2 without extended master secret (RFC 7627).
 *
 * @param der copied
 * @param now UNIX seconds
 */
export function ticketFrom(der: Uint8Array, trust: Trust, now: number): StoredTicket | undefined {
  const copy = new Uint8Array(der)
  const session = readSession(copy)
  const certificate = session && readCertificate(session.peerCertificate)
  if (!session?.extendedMasterSecret || !certificate) return undefined
  if (!equal(session.peerCertificate, trust.certificate)) return undefined
  return {
    ticket: copy,
    spkiFp: spkiFingerprint(certificate),
    storedAtUnixSecs: now,
    expiresAtUnixSecs: expiry(session, certificate, trust.verifiedAt),
    protocol: session.protocol,
    binding: trust.binding,
    verifiedAtUnixSecs: trust.verifiedAt,
  }
}
