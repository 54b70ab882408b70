import { TicketkeepError } from './errors.ts'

/** How long a ticket is kept at most: 24 hours, in seconds. The server or the policy of the machine may set less. */
export const MAX_AGE = 86_400

/** How many tickets of one peer a `TicketCache` keeps, as the plaintext cache that it replaces does. */
export const TICKETS_A_PEER = 4

/** How far into the future a time may lie, in seconds: clocks of machines that share a home differ a little. */
export const MAX_SKEW = 60

/** The longest ticket kept, in bytes. */
export const MAX_TICKET_BYTES = 65_536

/** The longest binding kept, in characters. */
const MAX_BINDING = 256

/** The longest address of a server kept, in characters: an IPv6 address with a zone. */
const MAX_ADDRESS = 64

/** The longest certificate of a server kept, in bytes. */
export const MAX_CERTIFICATE_BYTES = 16_384

/** What is kept of one TLS session. All times are UNIX seconds. */
export interface TicketEntry {
  /** The session as the event `session` gives it (Node's documentation, `tls.TLSSocket`): 1 to 65,536 bytes, opaque. */
  ticket: Uint8Array
  /** SHA-256 of the peer's SubjectPublicKeyInfo, 32 bytes: {@link spkiFingerprint}. */
  spkiFp: Uint8Array
  /** When the ticket was received: whole UNIX seconds. */
  storedAtUnixSecs: number
  /** When it expires: whole UNIX seconds. It expires {@link MAX_AGE} seconds after it was stored at the latest. */
  expiresAtUnixSecs?: number
  /** `TLSv1.2` sessions may be resumed again and again, all others are used once (RFC 8446, appendix C.4). */
  protocol?: 'TLSv1.2' | 'TLSv1.3'
  /** Digest of all that decided trust in the connection that it came from, 1 to 256 printable ASCII characters: {@link bindingOf}. */
  binding?: string
}

/** The certificates above a server's own, DER, nearest first. A function, since to decrypt them takes milliseconds. */
export type Issuers = () => readonly Uint8Array[]

/** An entry as it is kept of a connection that we attended; never public. */
export interface StoredTicket extends TicketEntry {
  /** The last full handshake behind it, inherited through resumptions. */
  verifiedAtUnixSecs?: number
  /** The server's own certificate, DER: 1 to 16,384 bytes. */
  certificate?: Uint8Array
  issuers?: Issuers
  /**
   * The IP address of the server that gave it, as `socket.remoteAddress` has it: 1 to 64 printable ASCII characters. Not known
   * behind proxies.
   */
  address?: string
  /** Made with a certificate of the client's: as good as its key, so it never leaves this machine. */
  clientCertificate?: true
}

/** Whether it may be offered in more than one connection. */
export const isReusable = ({ protocol }: TicketEntry): boolean => protocol === 'TLSv1.2'

/**
 * Whether it may still be used: neither too old, nor past its end, nor from the future (a clock set back).
 * @param maxAge seconds, at most `MAX_AGE`
 */
export function isFresh(entry: StoredTicket, nowUnixSecs: number, maxAge = MAX_AGE): boolean {
  return (
    isRecent(entry.storedAtUnixSecs, nowUnixSecs, maxAge) &&
    (entry.expiresAtUnixSecs === undefined || nowUnixSecs < entry.expiresAtUnixSecs) &&
    (entry.verifiedAtUnixSecs === undefined || isRecent(entry.verifiedAtUnixSecs, nowUnixSecs, maxAge))
  )
}

function isRecent(time: number, now: number, maxAge: number): boolean {
  const age = now - time
  return age < maxAge && age >= -MAX_SKEW
}

/**
 * Whether every field has the type and the bounds documented above: checked of what a caller hands in and of
 * what comes out of a box alike.
 */
export function isTicketEntry(value: unknown): value is StoredTicket {
  if (typeof value !== 'object' || value === null) return false
  const entry = value as Record<keyof StoredTicket, unknown>
  return (
    isBytes(entry.ticket, 1, MAX_TICKET_BYTES) &&
    isBytes(entry.spkiFp, 32, 32) &&
    isTime(entry.storedAtUnixSecs) &&
    (entry.expiresAtUnixSecs === undefined || isTime(entry.expiresAtUnixSecs)) &&
    (entry.verifiedAtUnixSecs === undefined || isTime(entry.verifiedAtUnixSecs)) &&
    (entry.protocol === undefined || entry.protocol === 'TLSv1.2' || entry.protocol === 'TLSv1.3') &&
    (entry.binding === undefined || isPrintable(entry.binding, MAX_BINDING)) &&
    (entry.address === undefined || isPrintable(entry.address, MAX_ADDRESS)) &&
    (entry.certificate === undefined || isBytes(entry.certificate, 1, MAX_CERTIFICATE_BYTES)) &&
    (entry.issuers === undefined || typeof entry.issuers === 'function') &&
    (entry.clientCertificate === undefined || entry.clientCertificate === true)
  )
}

// By hand: a short process would spend more on compiling a regular expression.
function isPrintable(text: unknown, max: number): boolean {
  if (typeof text !== 'string' || text.length < 1 || text.length > max) return false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0x21 || c > 0x7e) return false
  }
  return true
}

const isTime = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
const isBytes = (value: unknown, min: number, max: number) =>
  value instanceof Uint8Array && value.length >= min && value.length <= max

/**
 * A copy of the public fields, so that what the caller does with its own later changes nothing here.
 * @throws {TicketkeepError} `ERR_INVALID_TICKET`
 */
export function copyEntry(entry: TicketEntry): TicketEntry {
  if (!isTicketEntry(entry)) {
    throw new TicketkeepError(
      'ERR_INVALID_TICKET',
      'a ticket entry is { ticket: 1 to 65,536 bytes, spkiFp: 32 bytes, storedAtUnixSecs: whole seconds, ' +
        "expiresAtUnixSecs?: whole seconds, protocol?: 'TLSv1.2' | 'TLSv1.3', binding?: 1 to 256 characters }",
    )
  }
  return {
    ticket: new Uint8Array(entry.ticket),
    spkiFp: new Uint8Array(entry.spkiFp),
    storedAtUnixSecs: entry.storedAtUnixSecs,
    ...(entry.expiresAtUnixSecs === undefined ? {} : { expiresAtUnixSecs: entry.expiresAtUnixSecs }),
    ...(entry.protocol === undefined ? {} : { protocol: entry.protocol }),
    ...(entry.binding === undefined ? {} : { binding: entry.binding }),
  }
}
