import { hash } from 'node:crypto'
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

// Node's own agent remembers 100 sessions. By content: newer Nodes hand back a slice of what they handed out.
const REMEMBERED = 256
const kept = new Map<string, Provenance>()

const nameOf = (der: Uint8Array) => hash('sha256', der, 'base64')

/** Remembers a session by its bytes, in case that the program passes them back to `tls.connect`. */
export function rememberProvenance(provenance: Provenance): void {
  if (kept.size >= REMEMBERED) kept.delete(kept.keys().next().value!)
  kept.set(nameOf(provenance.session), provenance)
}

/** What is known of a session that the program passes: nothing, unless this process has kept it. */
export function provenanceOf(session: unknown): Provenance | undefined {
  return session instanceof Uint8Array ? kept.get(nameOf(unwrapSession(session))) : undefined
}
