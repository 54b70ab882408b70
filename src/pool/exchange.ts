import { randomBytes } from 'node:crypto'
import type { CipherName } from '../ciphers.ts'
import { type HostPort, peerKey as peerText } from '../host-port.ts'
import { cipherInForce, MAX_FILE_BYTES, openBatch, sealBatch } from '../seal/box.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { likeTickets, newestThatFit, type TicketsOfPeer } from '../store/group-tickets.ts'
import type { TicketStore } from '../store/ticket-store.ts'
import { isFresh, isReusable, MAX_AGE, type StoredTicket } from '../ticket-entry.ts'
import type { PoolAddress } from './address.ts'
import type { PoolHelper } from './helper.ts'
import {
  type Given,
  type GivenSet,
  type GiveRequest,
  jobKey,
  MAX_SETS,
  MEMBER,
  type PoolStatus,
  peerKey,
  type Root,
  type Taken,
} from './messages.ts'

/** What is needed to move tickets between the store of this machine and a pool. */
export interface Exchange {
  readonly address: PoolAddress
  /** The subkeys of the fleet's key. */
  readonly keys: Subkeys
  readonly cipher: CipherName
  readonly store: TicketStore
}

/** The most tickets per batch in a pool, so that no job takes more than it needs. */
const MAX_TICKETS = 16

/** The most batches of one peer and binding that a job gives, and the most files that it makes them from. */
const MAX_BATCHES = 64
const MAX_FILES = 256

const rootOf = ({ address, keys }: Exchange): Root => `${address.prefix}{${keys.kid}.`

/**
 * Takes tickets from the pool into the store: for these peers, or for the peers that jobs of this name had tickets for.
 *
 * Whoever can write to the pool controls its contents, so every box is opened and checked here first. A box that our
 * key did not seal for exactly this place is dropped.
 *
 * @returns how many tickets were taken
 * @throws {PoolUnusable}
 */
export async function takeFromPool(
  exchange: Exchange,
  helper: PoolHelper,
  from: { readonly job: string } | { readonly peers: readonly HostPort[] },
  now: number,
): Promise<number> {
  const { address, keys, store } = exchange
  const root = rootOf(exchange)
  const lists =
    'job' in from
      ? [jobKey(root, keys.jobName(from.job))]
      : from.peers.map((peer) => peerKey(root, keys.peerName(peer)))
  const taken = await helper.ask(() => ({ do: 'take', root, lists, tls12: address.tls12 }) as const)
  return store.saveAll(openTaken(exchange, taken, now), now)
}

function openTaken({ keys, address }: Exchange, taken: Taken, now: number): TicketsOfPeer[] {
  return taken.boxes.slice(0, MAX_SETS).flatMap(({ member, box }) => {
    if (!MEMBER.test(member) || box.length > MAX_FILE_BYTES) return []
    const batch = openBatch(box, keys)
    if (batch === undefined || memberOf(keys, batch.peer, batch.tickets[0]!) !== member) return []
    const tickets = batch.tickets.filter((ticket) => isFresh(ticket, now)).slice(-MAX_TICKETS)
    return tickets.every((ticket) => mayBeShared(ticket, address)) ? [{ peer: batch.peer, tickets }] : []
  })
}

/**
 * Moves the tickets of the store to the pool. Tickets that the pool refuses return to the store. If the connection
 * breaks, it is not known which tickets arrived. Those are dropped, so that none is used twice.
 *
 * @returns how many the pool accepted, and why it refused others, if it did
 * @throws {PoolUnusable}
 */
export async function giveToPool(
  exchange: Exchange,
  helper: PoolHelper,
  job: string,
  now: number,
): Promise<{ readonly given: number; readonly refused: string | undefined }> {
  const { store, address, keys } = exchange
  let batches: SealedSet[] = []
  const prepare = (): GiveRequest => {
    const tickets = store.takeOut(now, (ticket) => mayBeShared(ticket, address), MAX_FILES)
    batches = sealedSets(exchange, tickets)
    return {
      do: 'give',
      root: rootOf(exchange),
      now,
      job: keys.jobName(job),
      sets: batches.map(({ member, boxes }) => ({ member, boxes })),
      batches: address.batches,
      origins: address.origins,
    }
  }
  const { sets }: Given = await helper.ask(prepare)
  const ofKind = (isIt: (set: Given['sets'][number] | undefined) => boolean) =>
    batches.filter((_, i) => isIt(sets[i]))
  const refused = sets.find((set) => typeof set === 'object')
  const returned = ofKind((set) => typeof set === 'object').filter(({ member }) => member.endsWith('s'))
  store.saveAll(returned, now)
  const kept = ofKind((set) => set === 'kept')
  return {
    given: kept.reduce((sum, { tickets }) => sum + tickets.length, 0),
    refused: typeof refused === 'object' ? refused.refused : undefined,
  }
}

/** The maximum time for the status of a pool: milliseconds. */
const STATUS_BUDGET = 3_000

/** @throws {PoolUnusable} */
export const statusOfPool = (exchange: Exchange, helper: PoolHelper): Promise<PoolStatus> =>
  helper.ask(() => ({ do: 'status', root: rootOf(exchange) }) as const, STATUS_BUDGET)

/**
 * Whether a ticket may be shared, checked both when giving and when taking. It must come from a connection that we
 * verified, must not be made with a client certificate, and must be TLS 1.3 unless TLS 1.2 is enabled.
 */
export function mayBeShared(ticket: StoredTicket, { tls12 }: Pick<PoolAddress, 'tls12'>): boolean {
  const { protocol, binding, certificate, verifiedAtUnixSecs, clientCertificate } = ticket
  const isVerified = binding !== undefined && certificate !== undefined && verifiedAtUnixSecs !== undefined
  const isOfVersion = protocol === 'TLSv1.3' || (tls12 && protocol === 'TLSv1.2')
  return isVerified && isOfVersion && clientCertificate === undefined
}

interface SealedSet extends GivenSet, TicketsOfPeer {}

function sealedSets({ keys, cipher }: Exchange, all: readonly TicketsOfPeer[]): SealedSet[] {
  const sets = new Map<
    string,
    { peer: HostPort; tickets: StoredTicket[]; boxes: GivenSet['boxes'][number][] }
  >()
  for (const { peer, tickets } of together(all)) {
    for (const batch of inBatches(tickets)) {
      const member = memberOf(keys, peer, batch[0]!)
      const set = sets.get(member) ?? { peer, tickets: [], boxes: [] }
      const box = sealBatch({ kid: keys.kid, peer, tickets: batch }, keys, cipherInForce(cipher), randomBytes)
      set.boxes.push({ box, end: Math.max(...batch.map(endOf)) })
      set.tickets.push(...batch)
      sets.set(member, set)
    }
  }
  return [...sets].map(([member, set]) => ({ member, ...set }))
}

function together(all: readonly TicketsOfPeer[]): TicketsOfPeer[] {
  const byPeer = new Map<string, { peer: HostPort; tickets: StoredTicket[] }>()
  for (const { peer, tickets } of all) {
    const entry = byPeer.get(peerText(peer)) ?? { peer, tickets: [] }
    entry.tickets.push(...tickets)
    byPeer.set(peerText(peer), entry)
  }
  return [...byPeer.values()]
}

/** The newest batches first. Of a group of reusable tickets, only the newest. */
function inBatches(tickets: readonly StoredTicket[]): StoredTicket[][] {
  return likeTickets(tickets).flatMap((group) => {
    const batches: StoredTicket[][] = []
    for (let rest = group; rest.length > 0 && batches.length < MAX_BATCHES; ) {
      const batch = newestThatFit(rest, MAX_TICKETS)
      if (batch.length === 0) break
      batches.push(batch)
      rest = isReusable(batch[0]!) ? [] : rest.slice(0, -batch.length)
    }
    return batches
  })
}

const memberOf = (keys: Subkeys, peer: HostPort, ticket: StoredTicket) =>
  `${keys.peerName(peer)}.${keys.bindingName(peer, ticket.binding ?? '')}.${isReusable(ticket) ? 'r' : 's'}`

/** UNIX seconds. */
const endOf = ({
  storedAtUnixSecs,
  verifiedAtUnixSecs = storedAtUnixSecs,
  expiresAtUnixSecs,
}: StoredTicket) => {
  const oldest = Math.min(storedAtUnixSecs, verifiedAtUnixSecs) + MAX_AGE
  return Math.min(oldest, expiresAtUnixSecs ?? oldest)
}
