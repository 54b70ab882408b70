import { type HostPort, peerOf } from '../host-port.ts'
import { decode, padded } from './padded-json.ts'

/** The failure of a server when a session was offered to it. */
export interface Failure {
  /** The ID of the key that sealed it. */
  readonly kid: string
  readonly peer: HostPort
  /** UNIX seconds. */
  readonly failedAt: number
  /** A phrase for people, or an error code: 1 to 64 printable ASCII characters. */
  readonly reason: string
}

interface FailureJson {
  v: 1
  kid: string
  host: string
  port: number
  failedAt: number
  reason: string
}

const REASON = /^[ -~]{1,64}$/

/** @throws if the reason does not have the form above */
export function encodeFailure(failure: Failure): Buffer {
  if (!isFailure(failure)) throw new Error('not a failure that can be kept')
  return Buffer.from(failureText(failure), 'latin1')
}

/** Reads exactly what `encodeFailure` writes. */
export const decodeFailure = (bytes: Uint8Array): Failure | undefined => decode(bytes, failureOf, failureText)

function failureText({ kid, peer: { host, port }, failedAt, reason }: Failure): string {
  const json: FailureJson = { v: 1, kid, host, port, failedAt, reason }
  return padded(json)
}

function failureOf({ v, kid, host, port, failedAt, reason }: FailureJson): Failure | undefined {
  const failure = { kid, peer: peerOf(host, port), failedAt, reason }
  return v === 1 && isFailure(failure) ? failure : undefined
}

const isFailure = ({ kid, failedAt, reason }: Failure) =>
  typeof kid === 'string' && Number.isSafeInteger(failedAt) && failedAt >= 0 && REASON.test(reason)
