import { asBuffer, toBase64 } from '../common/bytes.ts'
import { type HostPort, peerOf } from '../host-port.ts'
import { isTicketEntry, type StoredTicket } from '../ticket-entry.ts'

/** What a box holds: a ticket, the peer that it is for, and the key that sealed it. */
export interface SealedRecord {
  readonly kid: string
  readonly peer: HostPort
  readonly ticket: StoredTicket
}

/** The shape in a box. Keys stand in this order, and those that are undefined are left out. */
interface RecordJson {
  v: 1
  kid: string
  host: string
  port: number
  binding: string
  ticket: string
  spkiFp: string
  storedAt: number
  expiresAt?: number | undefined
  verifiedAt?: number | undefined
  protocol?: string | undefined
}

// A session's length follows its certificate's, and certificates are public.
const PADDING = 2048

/** What the records of most tickets take. */
export const USUAL_RECORD_BYTES = PADDING

/** The record as bytes: JSON, padded with spaces to a multiple of 2 KiB. */
export function encodeRecord(record: SealedRecord): Buffer {
  return Buffer.from(toText(record), 'latin1')
}

/**
 * Reads what `encodeRecord` wrote and nothing else: every record has one spelling, and a text that is not the
 * spelling of what it seems to say is refused.
 */
export function decodeRecord(bytes: Uint8Array): SealedRecord | undefined {
  try {
    const text = asBuffer(bytes).toString('latin1')
    const record = fromJson(JSON.parse(text))
    return record !== undefined && toText(record) === text ? record : undefined
  } catch {
    return undefined
  }
}

function toText({ kid, peer, ticket }: SealedRecord): string {
  const json: RecordJson = {
    v: 1,
    kid,
    host: peer.host,
    port: peer.port,
    binding: ticket.binding ?? '',
    ticket: toBase64(ticket.ticket),
    spkiFp: toBase64(ticket.spkiFp),
    storedAt: ticket.storedAtUnixSecs,
    expiresAt: ticket.expiresAtUnixSecs,
    verifiedAt: ticket.verifiedAtUnixSecs,
    protocol: ticket.protocol,
  }
  // All of it is ASCII, so its length in bytes is its length.
  const text = JSON.stringify(json)
  return text.padEnd(Math.ceil(text.length / PADDING) * PADDING)
}

function fromJson(json: RecordJson): SealedRecord | undefined {
  if (json.v !== 1 || typeof json.kid !== 'string') return undefined
  const ticket = {
    ticket: fromBase64(json.ticket),
    spkiFp: fromBase64(json.spkiFp),
    storedAtUnixSecs: json.storedAt,
    ...(json.expiresAt === undefined ? {} : { expiresAtUnixSecs: json.expiresAt }),
    ...(json.verifiedAt === undefined ? {} : { verifiedAtUnixSecs: json.verifiedAt }),
    ...(json.protocol === undefined ? {} : { protocol: json.protocol }),
    ...(json.binding === '' ? {} : { binding: json.binding }),
  }
  if (!isTicketEntry(ticket)) return undefined
  return { kid: json.kid, peer: peerOf(json.host, json.port), ticket }
}

// Copied out of the Buffer, whose memory may be the pool's, shared with others.
const fromBase64 = (text: string) => new Uint8Array(Buffer.from(text, 'base64'))
