import { equal } from '../common/bytes.ts'
import type { HostPort } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import { unwrapSession } from './session.ts'

/** The origin of a session that this process has kept. */
export interface Provenance {
  readonly peer: HostPort
  readonly ticket: StoredTicket
  /** In OpenSSL's DER form. */
  readonly session: Uint8Array
}

// Enough for Node's own agent, which caches 100 sessions.
const REMEMBERED = 256
const kept: Provenance[] = []

/** Remembers a session by its bytes, in case the program passes it back to `tls.connect`. */
export function rememberProvenance(provenance: Provenance): void {
  if (kept.push(provenance) > REMEMBERED) kept.shift()
}

/**
 * The origin of a session that the program passes. Undefined unless this process has kept it. Compares content, because
 * newer Nodes return a slice of what they handed out.
 */
export function provenanceOf(session: unknown): Provenance | undefined {
  if (!(session instanceof Uint8Array)) return undefined
  const der = unwrapSession(session)
  return kept.findLast((one) => equal(one.session, der))
}
