import { equal } from '../common/bytes.ts'
import { type HostPort, isSamePeer, peerKey } from '../host-port.ts'
import { isFresh, type StoredTicket } from '../ticket-entry.ts'

/** Where tickets are between processes: what the pool needs of `TicketStore`. */
export interface Shelf {
  /**
   * The tickets of the newest batch; those for a single use are the caller's from then on.
   * @param address of the server that gave them; undefined: any
   */
  take(peer: HostPort, binding: string, now: number, address?: string): StoredTicket[]
  /** @returns how many were kept */
  saveAll(entries: readonly PeerTickets[], now: number): number
  /** @param storedBefore UNIX seconds @param address of the server that gave them; undefined: any */
  dropTickets(peer: HostPort, storedBefore?: number, address?: string): void
  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void
}

export interface PeerTickets {
  readonly peer: HostPort
  readonly tickets: readonly StoredTicket[]
}

/** Where a ticket is to be offered. */
export interface Destination {
  /** Undefined where it is not known, behind proxies for one. Then any ticket will do. */
  readonly address: string | undefined
  /** Whether tickets that a server at another address gave are of use there. */
  readonly takesOthers: () => boolean
}

const UNKNOWN: Destination = { address: undefined, takesOthers: () => true }

/** The tickets of one peer under one binding. */
interface Entry {
  readonly peer: HostPort
  tickets: StoredTicket[]
}

const MAX_TICKETS = 64
/** Looked into for one connection. */
const MAX_BATCHES = 16
const MAX_ENTRIES = 1024

/**
 * The tickets of one process. A ticket for a single use is in one place only, in this memory or in a file: `flush`
 * moves it. Until there is a shelf, and where there never is one, tickets live and die with the process.
 */
export class SessionPool {
  #shelf: Shelf | undefined
  readonly #entries = new Map<string, Entry>()
  /** Reusable tickets that are on the shelf as well. */
  readonly #shelved = new WeakSet<StoredTicket>()
  /** The public key that each peer's last full handshake has shown. */
  readonly #keys = new Map<string, { readonly peer: HostPort; readonly spkiFp: Uint8Array }>()
  /** Peers of which the shelf may still have tickets of other keys. */
  readonly #rotated = new Set<string>()
  /** Peers invalidated before there was a shelf. */
  readonly #invalidated = new Map<string, HostPort>()
  /** How often each peer was invalidated. */
  /** Peers whose connections brought data, and those of which a resumed one was given up before it did. */
  readonly #read = new Map<string, HostPort>()
  readonly #unread = new Map<string, HostPort>()
  readonly #generations = new Map<string, number>()
  /** Tickets that have been written to the shelf. */
  kept = 0

  /** @param reuse whether tickets of TLS 1.3 are offered more than once */
  constructor(
    private readonly now: () => number,
    private readonly reuse: boolean,
  ) {}

  /** From now on tickets are looked for, and kept, beyond this process. */
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
   * A ticket of exactly this peer and binding that `accept` takes: one that the server at this address gave, else another
   * one; of these the newest first. One of TLS 1.3 is gone then for every process (RFC 8446, C.4), one of TLS 1.2 stays.
   * Those that `accept` refuses are dropped.
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

  /** A ticket of exactly this peer and binding that `accept` takes, the newest first. It stays; the shelf is not asked. */
  find(peer: HostPort, binding: string, accept: (ticket: StoredTicket) => boolean): StoredTicket | undefined {
    const tickets = this.#entries.get(entryKey(peer, binding))?.tickets
    return tickets?.findLast((ticket) => isFresh(ticket, this.now()) && accept(ticket))
  }

  put(peer: HostPort, ticket: StoredTicket): void {
    const name = entryKey(peer, ticket.binding ?? '')
    const entry = this.#entries.get(name) ?? { peer, tickets: [] }
    remember(this.#entries, name, entry)
    // One of each address.
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
   * Whether a ticket that was taken in this generation, or one that came of it, may still be kept: not if the peer was
   * invalidated meanwhile, or has shown another key.
   */
  mayReturn(peer: HostPort, ticket: StoredTicket, generation: number): boolean {
    const shown = this.#keys.get(peerKey(peer))
    return generation === this.generation(peer) && (!shown || equal(shown.spkiFp, ticket.spkiFp))
  }

  /** Puts back a ticket that was taken in this generation and has not been used. */
  giveBack(peer: HostPort, ticket: StoredTicket, generation: number): void {
    if (this.#isSingleUse(ticket) && this.mayReturn(peer, ticket, generation)) this.put(peer, ticket)
  }

  /** Drops one ticket that the program has used by its own means. */
  spend(peer: HostPort, ticket: StoredTicket): void {
    if (!this.#isSingleUse(ticket)) return
    const entry = this.#entries.get(entryKey(peer, ticket.binding ?? ''))
    const isOther = (one: StoredTicket) => !equal(one.ticket, ticket.ticket)
    if (entry && !entry.tickets.every(isOther)) entry.tickets = entry.tickets.filter(isOther)
    else this.#spendOnShelf(peer, ticket.binding ?? '', isOther)
  }

  /** It may have been saved meanwhile: then the batch that it is in comes back without it. */
  #spendOnShelf(peer: HostPort, binding: string, isOther: (one: StoredTicket) => boolean): void {
    for (let taken = this.#shelf?.take(peer, binding, this.now()); taken?.length; ) {
      for (const one of taken.filter(isOther)) this.put(peer, one)
      if (!taken.every(isOther)) return
      taken = this.#shelf?.take(peer, binding, this.now())
    }
  }

  /**
   * A connection brought data, or a resumed one was given up before. A program may refuse the certificate that a resumed
   * connection shows without an error that we could see: a pin closes it, or ends the process.
   */
  used(peer: HostPort, hasRead: boolean): void {
    remember(hasRead ? this.#read : this.#unread, peerKey(peer), peer)
  }

  /**
   * Called as the process ends: a server whose resumed connections were all given up unread gets a full handshake next, in
   * which it shows the certificate that it has by then.
   */
  dropUnread(): void {
    for (const [name, peer] of this.#unread) if (!this.#read.has(name)) this.invalidate(peer)
  }

  /** Every ticket of a peer is gone, here and on the shelf. */
  invalidate(peer: HostPort): void {
    for (const [name, entry] of this.#entries) if (isSamePeer(entry.peer, peer)) this.#entries.delete(name)
    if (this.#shelf) this.#shelf.dropTickets(peer)
    else this.#invalidated.set(peerKey(peer), peer)
    remember(this.#generations, peerKey(peer), this.generation(peer) + 1)
  }

  /**
   * The server has turned down one of the peer's tickets: those that are as old would fare no better. It was restarted,
   * say, and has new ticket keys.
   * @param since UNIX seconds: tickets that came later stay
   * @param address of the server that gave them; undefined: any
   */
  turnedDown(peer: HostPort, since: number, address?: string): void {
    const isOther = (ticket: StoredTicket) => address !== undefined && ticket.address !== address
    this.#retain(peer, (ticket) => ticket.storedAtUnixSecs >= since || isOther(ticket))
    this.#shelf?.dropTickets(peer, since, address)
  }

  /** A full handshake has shown this key: tickets of the peer that were made under another one go. */
  sawKey(peer: HostPort, spkiFp: Uint8Array): void {
    this.#retain(peer, (ticket) => equal(ticket.spkiFp, spkiFp))
    const last = this.#keys.get(peerKey(peer))
    if (!last || !equal(last.spkiFp, spkiFp)) this.#rotated.add(peerKey(peer))
    remember(this.#keys, peerKey(peer), { peer, spkiFp })
  }

  /**
   * Moves tickets for a single use to the shelf, if there is one, and copies the reusable ones. What it does not take is
   * not tried again.
   */
  flush(): void {
    if (!this.#shelf) return
    for (const name of this.#rotated) {
      const shown = this.#keys.get(name)
      if (shown) this.#shelf.dropOtherKeys(shown.peer, shown.spkiFp)
    }
    this.#rotated.clear()
    const pending = this.#pending()
    // Out of this memory first: whatever goes wrong below, no ticket is here and on the shelf as well.
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

/** Sets, and forgets the eldest of too many. */
function remember<V>(map: Map<string, V>, name: string, value: V): void {
  map.delete(name)
  if (map.size >= MAX_ENTRIES) map.delete(map.keys().next().value!)
  map.set(name, value)
}

const entryKey = (peer: HostPort, binding: string) => `${peerKey(peer)} ${binding}`
