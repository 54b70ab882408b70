import { equal } from '../common/bytes.ts'
import { type HostPort, isSamePeer, peerKey } from '../host-port.ts'
import { isFresh, type StoredTicket } from '../ticket-entry.ts'

/** Stores tickets between processes: the part of `TicketStore` that the pool uses. */
export interface Shelf {
  /**
   * The tickets of the newest batch. Single-use tickets are removed from the shelf.
   * @param address of the server that issued them; undefined: any
   */
  take(peer: HostPort, binding: string, now: number, address?: string): StoredTicket[]
  /** @returns how many were kept */
  saveAll(entries: readonly PeerTickets[], now: number): number
  /**
   * @param storedBefore UNIX seconds
   * @param address of the server that issued them; undefined: any
   */
  dropTickets(peer: HostPort, storedBefore?: number, address?: string): void
  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void
}

export interface PeerTickets {
  readonly peer: HostPort
  readonly tickets: readonly StoredTicket[]
}

/** Where a ticket is to be offered. */
export interface Destination {
  /** Undefined if it is not known, for example behind a proxy. Then any ticket will do. */
  readonly address: string | undefined
  /** Whether tickets that a server at another address issued may work there. */
  readonly takesOthers: () => boolean
}

const UNKNOWN: Destination = { address: undefined, takesOthers: () => true }

/** The tickets of one peer under one binding. */
interface Entry {
  readonly peer: HostPort
  tickets: StoredTicket[]
}

const MAX_TICKETS = 64
/** The most batches that are read for one connection. */
const MAX_BATCHES = 16
const MAX_ENTRIES = 1024

/**
 * The tickets of one process. A single-use ticket is either in this memory or on the shelf, never in both: `flush`
 * moves it. Without a shelf, tickets live only as long as the process.
 */
export class SessionPool {
  #shelf: Shelf | undefined
  readonly #entries = new Map<string, Entry>()
  /** Reusable tickets that are on the shelf as well. */
  readonly #shelved = new WeakSet<StoredTicket>()
  /** The public key that each peer showed in its last full handshake. */
  readonly #keys = new Map<string, { readonly peer: HostPort; readonly spkiFp: Uint8Array }>()
  /** Peers for which the shelf may still have tickets with other keys. */
  readonly #rotated = new Set<string>()
  /** Peers invalidated before there was a shelf. */
  readonly #invalidated = new Map<string, HostPort>()
  /** Peers whose connections brought data, and peers with a resumed connection that was closed before it did. */
  readonly #read = new Map<string, HostPort>()
  readonly #unread = new Map<string, HostPort>()
  /** How often each peer was invalidated. */
  readonly #generations = new Map<string, number>()
  /** The number of tickets written to the shelf. */
  kept = 0

  /** @param reuse whether tickets of TLS 1.3 are offered more than once */
  constructor(
    private readonly now: () => number,
    private readonly reuse: boolean,
  ) {}

  /** From now on, tickets are taken from the shelf and saved to it. */
  attach(shelf: Shelf): void {
    this.#shelf = shelf
    for (const peer of this.#invalidated.values()) shelf.dropTickets(peer)
    this.#invalidated.clear()
  }

  /** Whether `flush` has anything to do. */
  get dirty(): boolean {
    return this.#rotated.size > 0 || this.#pending().length > 0
  }

  /**
   * Takes a ticket of exactly this peer and binding that `accept` accepts. Tickets from the server at this address come
   * first, then others, each newest first. A TLS 1.3 ticket is then gone for every process (RFC 8446, C.4). A TLS 1.2
   * session stays. Tickets that `accept` rejects are dropped.
   */
  take(
    peer: HostPort,
    binding: string,
    accept: (ticket: StoredTicket) => boolean,
    { address, takesOthers } = UNKNOWN,
  ): StoredTicket | undefined {
    const own = address === undefined ? undefined : this.#take(peer, binding, accept, address)
    if (own || (address !== undefined && !takesOthers())) return own
    return this.#take(peer, binding, accept, undefined)
  }

  #take(
    peer: HostPort,
    binding: string,
    accept: (ticket: StoredTicket) => boolean,
    address: string | undefined,
  ): StoredTicket | undefined {
    const isOfAddress = (ticket: StoredTicket) => address === undefined || ticket.address === address
    for (let batches = 0; batches < MAX_BATCHES; batches++) {
      const tickets = this.#entries.get(entryKey(peer, binding))?.tickets ?? []
      for (let at = tickets.findLastIndex(isOfAddress); at >= 0; at = tickets.findLastIndex(isOfAddress)) {
        const [ticket] = tickets.splice(at, 1) as [StoredTicket]
        if (!isFresh(ticket, this.now()) || !accept(ticket)) continue
        if (!this.#isSingleUse(ticket)) tickets.push(ticket)
        return ticket
      }
      const taken = this.#shelf?.take(peer, binding, this.now(), address) ?? []
      if (taken.length === 0) return undefined
      for (const ticket of taken) {
        if (!this.#isSingleUse(ticket)) this.#shelved.add(ticket)
        this.put(peer, ticket)
      }
    }
    return undefined
  }

  /**
   * Finds the newest ticket of exactly this peer and binding that `accept` accepts. The ticket stays. The shelf is not
   * read.
   */
  find(peer: HostPort, binding: string, accept: (ticket: StoredTicket) => boolean): StoredTicket | undefined {
    const tickets = this.#entries.get(entryKey(peer, binding))?.tickets
    return tickets?.findLast((ticket) => isFresh(ticket, this.now()) && accept(ticket))
  }

  put(peer: HostPort, ticket: StoredTicket): void {
    const name = entryKey(peer, ticket.binding ?? '')
    const entry = this.#entries.get(name) ?? { peer, tickets: [] }
    remember(this.#entries, name, entry)
    // Only one reusable ticket is kept per address.
    if (!this.#isSingleUse(ticket))
      entry.tickets = entry.tickets.filter(({ address }) => address !== ticket.address)
    entry.tickets.push(ticket)
    if (entry.tickets.length > MAX_TICKETS) entry.tickets.shift()
  }

  /** Changes whenever the peer is invalidated. */
  generation(peer: HostPort): number {
    return this.#generations.get(peerKey(peer)) ?? 0
  }

  /**
   * Whether a ticket taken in this generation, or one derived from it, may still be kept. It may not if the peer was
   * invalidated since, or has shown another key.
   */
  mayReturn(peer: HostPort, ticket: StoredTicket, generation: number): boolean {
    const shown = this.#keys.get(peerKey(peer))
    return generation === this.generation(peer) && (!shown || equal(shown.spkiFp, ticket.spkiFp))
  }

  /** Returns a ticket that was taken in this generation and not used. */
  giveBack(peer: HostPort, ticket: StoredTicket, generation: number): void {
    if (this.#isSingleUse(ticket) && this.mayReturn(peer, ticket, generation)) this.put(peer, ticket)
  }

  /** Drops one ticket that the program has used itself. */
  spend(peer: HostPort, ticket: StoredTicket): void {
    if (!this.#isSingleUse(ticket)) return
    const entry = this.#entries.get(entryKey(peer, ticket.binding ?? ''))
    const isOther = (one: StoredTicket) => !equal(one.ticket, ticket.ticket)
    if (entry && !entry.tickets.every(isOther)) entry.tickets = entry.tickets.filter(isOther)
    else this.#spendOnShelf(peer, ticket.binding ?? '', isOther)
  }

  /** The ticket may have been saved already. Then its batch is taken, and the rest of the batch is kept in memory. */
  #spendOnShelf(peer: HostPort, binding: string, isOther: (one: StoredTicket) => boolean): void {
    for (let taken = this.#shelf?.take(peer, binding, this.now()); taken?.length; ) {
      for (const one of taken.filter(isOther)) this.put(peer, one)
      if (!taken.every(isOther)) return
      taken = this.#shelf?.take(peer, binding, this.now())
    }
  }

  /**
   * Records that a connection brought data, or that a resumed one was closed before any data. A program that pins
   * certificates may reject the one that a resumed connection shows without an error that we could see: it closes the
   * connection, or exits.
   */
  used(peer: HostPort, hasRead: boolean): void {
    remember(hasRead ? this.#read : this.#unread, peerKey(peer), peer)
  }

  /**
   * Called when the process exits. If all resumed connections to a server were closed before any data, its tickets are
   * dropped. The next connection makes a full handshake, in which the server shows its current certificate.
   */
  dropUnread(): void {
    for (const [name, peer] of this.#unread) if (!this.#read.has(name)) this.invalidate(peer)
  }

  /** Drops every ticket of a peer, in memory and on the shelf. */
  invalidate(peer: HostPort): void {
    for (const [name, entry] of this.#entries) if (isSamePeer(entry.peer, peer)) this.#entries.delete(name)
    if (this.#shelf) this.#shelf.dropTickets(peer)
    else this.#invalidated.set(peerKey(peer), peer)
    remember(this.#generations, peerKey(peer), this.generation(peer) + 1)
  }

  /**
   * The server declined one of the peer's tickets, for example because it was restarted with new ticket keys. Tickets
   * that are as old would be declined too, so they are dropped.
   * @param since UNIX seconds: later tickets stay
   * @param address of the server that issued them; undefined: any
   */
  turnedDown(peer: HostPort, since: number, address?: string): void {
    const isOther = (ticket: StoredTicket) => address !== undefined && ticket.address !== address
    this.#retain(peer, (ticket) => ticket.storedAtUnixSecs >= since || isOther(ticket))
    this.#shelf?.dropTickets(peer, since, address)
  }

  /** A full handshake showed this key. Tickets of the peer that were made with another key are dropped. */
  sawKey(peer: HostPort, spkiFp: Uint8Array): void {
    this.#retain(peer, (ticket) => equal(ticket.spkiFp, spkiFp))
    const last = this.#keys.get(peerKey(peer))
    if (!last || !equal(last.spkiFp, spkiFp)) this.#rotated.add(peerKey(peer))
    remember(this.#keys, peerKey(peer), { peer, spkiFp })
  }

  /**
   * Moves single-use tickets to the shelf, if there is one, and copies reusable ones to it. What the shelf does not
   * accept is not tried again.
   */
  flush(): void {
    if (!this.#shelf) return
    for (const name of this.#rotated) {
      const shown = this.#keys.get(name)
      if (shown) this.#shelf.dropOtherKeys(shown.peer, shown.spkiFp)
    }
    this.#rotated.clear()
    const pending = this.#pending()
    // Removed from memory first: whatever fails below, no ticket is both here and on the shelf.
    for (const [name, entry] of this.#entries) {
      entry.tickets = entry.tickets.filter((ticket) => !this.#isSingleUse(ticket))
      for (const ticket of entry.tickets) this.#shelved.add(ticket)
      if (entry.tickets.length === 0) this.#entries.delete(name)
    }
    if (pending.length > 0) this.kept += this.#shelf.saveAll(pending, this.now())
  }

  #pending(): PeerTickets[] {
    const pending: PeerTickets[] = []
    for (const { peer, tickets } of this.#entries.values()) {
      const own = tickets.filter((ticket) => !this.#shelved.has(ticket))
      if (own.length > 0) pending.push({ peer, tickets: own })
    }
    return pending
  }

  #retain(peer: HostPort, stays: (ticket: StoredTicket) => boolean): void {
    for (const entry of this.#entries.values()) {
      if (isSamePeer(entry.peer, peer)) entry.tickets = entry.tickets.filter(stays)
    }
  }

  #isSingleUse(ticket: StoredTicket): boolean {
    return ticket.protocol !== 'TLSv1.2' && !this.reuse
  }
}

/** Sets an entry, and drops the oldest one if there are too many. */
function remember<V>(map: Map<string, V>, name: string, value: V): void {
  map.delete(name)
  if (map.size >= MAX_ENTRIES) map.delete(map.keys().next().value!)
  map.set(name, value)
}

const entryKey = (peer: HostPort, binding: string) => `${peerKey(peer)} ${binding}`
