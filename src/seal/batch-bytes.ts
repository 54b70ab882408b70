import { asBuffer, equal, part, toBase64, wipe } from '../common/bytes.ts'
import { plainJson } from '../common/plain-json.ts'
import { type HostPort, peerOf } from '../host-port.ts'
import { isReusable, isTicketEntry, type StoredTicket } from '../ticket-entry.ts'
import { decode, padded, paddedLength } from './padded-json.ts'

/** The most tickets in a batch. */
export const MAX_TICKETS = 64

/** The maximum total size of its tickets: bytes. */
export const MAX_TICKETS_BYTES = 65_536

/** The most certificates kept above a server's own, and their maximum total size in bytes. */
const MAX_ISSUERS = 16
const MAX_ISSUERS_BYTES = 49_152

/** The contents of one file: tickets of one peer. */
export interface Batch {
  /** The ID of the key that sealed it. */
  readonly kid: string
  readonly peer: HostPort
  /**
   * At least one. They share `binding`, `address`, `spkiFp`, `certificate`, `issuers` and `clientCertificate`. Either
   * all are reusable or none is.
   */
  readonly tickets: readonly StoredTicket[]
}

/** A batch as it is sealed: its issuers are in a separate box. */
export interface BoxedBatch {
  readonly batch: Batch
  /** SHA-256 of the issuers' box. */
  readonly issuersDigest: Uint8Array | undefined
}

/**
 * The JSON of a batch. A box contains one line of JSON, then the bytes of the certificate and of each ticket, then
 * zeros. The bytes are not base64, which would be a third longer: encryption in JavaScript is the slowest step. The
 * keys are in this order. Undefined ones are omitted.
 */
interface BatchJson {
  v: 2
  kid: string
  host: string
  port: number
  binding: string
  address?: string | undefined
  spkiFp: string
  /** Length in bytes. */
  certificate?: number | undefined
  issuers?: string | undefined
  clientCertificate?: true | undefined
  tickets: TicketJson[]
}

interface TicketJson {
  /** Length in bytes. */
  ticket: number
  storedAt: number
  expiresAt?: number | undefined
  verifiedAt?: number | undefined
  protocol?: string | undefined
}

const LINE_FEED = 0x0a

export function encodeBatch(boxed: BoxedBatch): Buffer {
  const { tickets } = boxed.batch
  const line = Buffer.from(`${plainJson(jsonOf(boxed))}\n`, 'latin1')
  const parts: Uint8Array[] = [line, tickets[0]!.certificate ?? NOTHING, ...tickets.map((one) => one.ticket)]
  const bytes = Buffer.alloc(paddedLength(totalBytes(parts)))
  let at = 0
  for (const one of parts) {
    bytes.set(one, at)
    at += one.length
  }
  return bytes
}

const NOTHING = new Uint8Array(0)

/** Reads exactly what `encodeBatch` writes. Every batch has one encoding, and any other bytes are rejected. */
export function decodeBatch(bytes: Uint8Array): BoxedBatch | undefined {
  try {
    const end = bytes.indexOf(LINE_FEED)
    const json = JSON.parse(asBuffer(part(bytes, 0, end)).toString('latin1')) as BatchJson
    const boxed = batchOf(json, part(bytes, end + 1))
    if (boxed === undefined) return undefined
    const spelled = encodeBatch(boxed)
    const isSame = equal(spelled, bytes)
    wipe(spelled)
    return isSame ? boxed : undefined
  } catch {
    return undefined
  }
}

/** @throws if they are too many or too long */
export function encodeIssuers(issuers: readonly Uint8Array[]): Buffer {
  if (!areIssuers(issuers)) throw new Error("the certificates above the server's own are over 48 KiB")
  return Buffer.from(issuersText(issuers), 'latin1')
}

/** Reads exactly what `encodeIssuers` writes. */
export function decodeIssuers(bytes: Uint8Array): Uint8Array[] | undefined {
  return decode(bytes, issuersOf, issuersText)
}

function jsonOf({ batch: { kid, peer, tickets }, issuersDigest }: BoxedBatch): BatchJson {
  const { binding = '', address, spkiFp, certificate, clientCertificate } = tickets[0]!
  return {
    v: 2,
    kid,
    host: peer.host,
    port: peer.port,
    binding,
    address,
    spkiFp: toBase64(spkiFp),
    certificate: certificate?.length,
    issuers: issuersDigest && toBase64(issuersDigest),
    clientCertificate,
    tickets: tickets.map((one) => ({
      ticket: one.ticket.length,
      storedAt: one.storedAtUnixSecs,
      expiresAt: one.expiresAtUnixSecs,
      verifiedAt: one.verifiedAtUnixSecs,
      protocol: one.protocol,
    })),
  }
}

function batchOf(json: BatchJson, bytes: Uint8Array): BoxedBatch | undefined {
  if (json.v !== 2 || typeof json.kid !== 'string') return undefined
  let at = 0
  const next = (length: number) => {
    if (!Number.isSafeInteger(length) || length < 0 || length > bytes.length - at)
      throw new Error('too short')
    at += length
    return new Uint8Array(part(bytes, at - length, at))
  }
  const shared = {
    spkiFp: fromBase64(json.spkiFp),
    ...(json.certificate === undefined ? {} : { certificate: next(json.certificate) }),
    ...(json.binding === '' ? {} : { binding: json.binding }),
    ...(json.address === undefined ? {} : { address: json.address }),
    ...(json.clientCertificate === undefined ? {} : { clientCertificate: json.clientCertificate }),
  }
  const tickets = json.tickets.map((one) => ({
    ticket: next(one.ticket),
    storedAtUnixSecs: one.storedAt,
    ...(one.expiresAt === undefined ? {} : { expiresAtUnixSecs: one.expiresAt }),
    ...(one.verifiedAt === undefined ? {} : { verifiedAtUnixSecs: one.verifiedAt }),
    ...(one.protocol === undefined ? {} : { protocol: one.protocol }),
    ...shared,
  }))
  if (!areTickets(tickets)) return undefined
  const issuersDigest = json.issuers === undefined ? undefined : fromBase64(json.issuers)
  if (issuersDigest !== undefined && issuersDigest.length !== 32) return undefined
  return { batch: { kid: json.kid, peer: peerOf(json.host, json.port), tickets }, issuersDigest }
}

function areTickets(tickets: readonly unknown[]): tickets is StoredTicket[] {
  return (
    tickets.every(isTicketEntry) &&
    tickets.length > 0 &&
    tickets.length <= MAX_TICKETS &&
    tickets.every((one) => isReusable(one) === isReusable(tickets[0]!)) &&
    totalBytes(tickets.map(({ ticket }) => ticket)) <= MAX_TICKETS_BYTES
  )
}

const issuersText = (issuers: readonly Uint8Array[]) => padded(issuers.map(toBase64))

function issuersOf(json: readonly string[]): Uint8Array[] | undefined {
  const issuers = json.map(fromBase64)
  return areIssuers(issuers) ? issuers : undefined
}

const areIssuers = (issuers: readonly Uint8Array[]) =>
  issuers.length <= MAX_ISSUERS && totalBytes(issuers) <= MAX_ISSUERS_BYTES

const totalBytes = (parts: readonly Uint8Array[]) => parts.reduce((sum, { length }) => sum + length, 0)

// Copied, because the memory of a small Buffer may be part of Node's shared pool.
const fromBase64 = (text: string) => new Uint8Array(Buffer.from(text, 'base64'))
