import { equal } from '../common/bytes.ts'
import type { HostPort } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import { unwrapSession } from './session.ts'

/** Where a session came from that this process has kept. */
export interface Provenance {
  readonly peer: HostPort
  readonly ticket: StoredTicket
  /** As OpenSSL gave it. */
  readonly session: Uint8Array
}

// Node's own agent remembers 100 sessions.
const REMEMBERED = 256
const kept: Provenance[] = []

/** Remembers a session by its bytes, in case that the program passes them back to `tls.connect`. */
export function rememberProvenance(provenance: Provenance): void {
  if (kept.push(provenance) > REMEMBERED) kept.shift()
}

/**
 * What is known of a session that the program passes: nothing, unless this process has kept it. By content: newer Nodes
 * hand back a slice of what they handed out.
 */
export function provenanceOf(session: unknown): Provenance | undefined {
  if (!(session instanceof Uint8Array)) return undefined
  const der = unwrapSession(session)
  return kept.findLast((one) => equal(one.session, der))
}
