import { equal } from '../common/bytes.ts'
import type { HostPort } from '../host-port.ts'
import { MAX_TICKETS, MAX_TICKETS_BYTES } from '../seal/batch-bytes.ts'
import { type Issuers, isReusable, type StoredTicket } from '../ticket-entry.ts'

/** Tickets to be stored. */
export interface TicketsOfPeer {
  readonly peer: HostPort
  readonly tickets: readonly StoredTicket[]
}

/**
 * Groups the tickets of one peer into files, oldest first in each. All tickets of a file share the fields that a batch
 * stores once. Of reusable tickets only the newest is kept. Of single-use tickets, the newest that fit are kept.
 */
export const groupTickets = (tickets: readonly StoredTicket[]): StoredTicket[][] =>
  likeTickets(tickets).map((group) => newestThatFit(group))

/** Groups tickets that can share a file, without a size limit: oldest first in each group. */
export function likeTickets(tickets: readonly StoredTicket[]): StoredTicket[][] {
  const groups: StoredTicket[][] = []
  for (const ticket of tickets.toSorted((a, b) => a.storedAtUnixSecs - b.storedAtUnixSecs)) {
    const group = groups.find(([other]) => belongTogether(other!, ticket))
    if (group) group.push(ticket)
    else groups.push([ticket])
  }
  return groups
}

/** The newest tickets of a group that fit into one file, with at most so many single-use tickets. */
export function newestThatFit(group: readonly StoredTicket[], ofSingleUse = MAX_TICKETS): StoredTicket[] {
  const most = isReusable(group[0]!) ? 1 : ofSingleUse
  let first = group.length
  for (let bytes = 0; first > 0 && group.length - first < most; first--) {
    bytes += group[first - 1]!.ticket.length
    if (bytes > MAX_TICKETS_BYTES) break
  }
  return group.slice(first)
}

function belongTogether(a: StoredTicket, b: StoredTicket): boolean {
  return (
    a.binding === b.binding &&
    a.address === b.address &&
    a.clientCertificate === b.clientCertificate &&
    isReusable(a) === isReusable(b) &&
    equal(a.spkiFp, b.spkiFp) &&
    areSame(a.certificate, b.certificate, equal) &&
    areSame(a.issuers, b.issuers, areSameIssuers)
  )
}

function areSameIssuers(a: Issuers, b: Issuers): boolean {
  const [ours, theirs] = [a(), b()]
  return ours.length === theirs.length && ours.every((one, i) => equal(one, theirs[i]!))
}

function areSame<T>(a: T | undefined, b: T | undefined, compare: (a: T, b: T) => boolean): boolean {
  return a === b || (a !== undefined && b !== undefined && compare(a, b))
}
