import { hash } from 'node:crypto'
import type { HostPort } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import { unwrapSession } from './session.ts'

/** Where a session came from that this process has harvested. */
export interface Provenance {
  readonly peer: HostPort
  readonly ticket: StoredTicket
}

// Node's own agent remembers 100 sessions. By content: newer Nodes hand back a slice of what they handed out.
const REMEMBERED = 256
const harvested = new Map<string, Provenance>()

const nameOf = (der: Uint8Array) => hash('sha256', der, 'base64')

/** Remembers a ticket by its bytes, in case that the program passes them back to `tls.connect`. */
export function rememberProvenance(provenance: Provenance): void {
  if (harvested.size >= REMEMBERED) harvested.delete(harvested.keys().next().value!)
  harvested.set(nameOf(provenance.ticket.ticket), provenance)
}

/** What is known of a session that the program passes: nothing, unless this process has harvested it. */
export function provenanceOf(session: unknown): Provenance | undefined {
  return session instanceof Uint8Array ? harvested.get(nameOf(unwrapSession(session))) : undefined
}
