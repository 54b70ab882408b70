import { equal } from '../common/bytes.ts'
import { type HostPort, isSamePeer } from '../host-port.ts'
import { isFresh, type StoredTicket } from '../ticket-entry.ts'

/** Where tickets rest between processes: what the pool needs of `TicketStore`. */
export interface Shelf {
  take(
    peer: HostPort,
    binding: string,
    now: number,
    accept?: (ticket: StoredTicket) => boolean,
  ): StoredTicket | undefined
  putUnlessFull(peer: HostPort, ticket: StoredTicket, now: number): boolean
  prepare(): void
  invalidate(peer: HostPort, storedBefore?: number): void
  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void
}

const TICKETS_A_BINDING = 16
const BINDINGS = 1024

/**
 * The tickets of one process. A ticket of single use is in one place only, this memory or a file: `flush`
 * moves it out. Until a shelf is there, and where there never is one, tickets live and die with the process.
 */
export class SessionPool {
  #shelf: Shelf | undefined
  readonly #tickets = new Map<string, { readonly peer: HostPort; readonly tickets: StoredTicket[] }>()
  /** Keys seen in full handshakes: from the shelf, once there is one, older tickets made under others have to go. */
  readonly #seen = new Map<string, { readonly peer: HostPort; readonly spkiFp: Uint8Array }>()
  /** Peers invalidated before there was a shelf. */
  readonly #distrusted = new Map<string, HostPort>()
  /** How often each peer was invalidated. */
  readonly #generations = new Map<string, number>()
  /** The key that each peer's last full handshake has shown. */
  readonly #keys = new Map<string, Uint8Array>()
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
    for (const peer of this.#distrusted.values()) shelf.invalidate(peer)
    this.#distrusted.clear()
    this.#dropOtherKeys()
  }

  /** While there is nothing else to do: what a later `flush` is going to need. */
  prepare(): void {
    this.#shelf?.prepare()
  }

  /** Whether `flush` would have anything to do. */
  get dirty(): boolean {
    return [...this.#tickets.values()].some(({ tickets }) => tickets.length > 0)
  }

  /**
   * A ticket of exactly this peer and binding, newest first. One of TLS 1.3 is gone then for every process
   * (RFC 8446, C.4), one of TLS 1.2 stays. Those in memory
   * that `accept` refuses are dropped, those on the shelf stay there until they are too old.
   */
  take(peer: HostPort, binding: string, accept: (ticket: StoredTicket) => boolean): StoredTicket | undefined {
    const tickets = this.#tickets.get(key(peer, binding))?.tickets
    for (let i = (tickets?.length ?? 0) - 1; i >= 0; i--) {
      const ticket = tickets![i]!
      const good = isFresh(ticket, this.now()) && accept(ticket)
      if (!good || this.#singleUse(ticket)) tickets!.splice(i, 1)
      if (good) return ticket
    }
    return this.#shelf?.take(peer, binding, this.now(), accept)
  }

  /** Changes whenever the peer is invalidated. */
  generation(peer: HostPort): number {
    return this.#generations.get(key(peer, '')) ?? 0
  }

  /**
   * Whether a ticket that was taken in this generation, or one that came of it, may still be put back: not if
   * the peer was invalidated meanwhile, or has shown another key.
   */
  mayReturn(peer: HostPort, ticket: StoredTicket, generation: number): boolean {
    const shown = this.#keys.get(key(peer, ''))
    return generation === this.generation(peer) && (!shown || equal(shown, ticket.spkiFp))
  }

  /** Puts back a ticket that was taken in this generation and has not been used. */
  giveBack(peer: HostPort, ticket: StoredTicket, generation: number): void {
    if (this.#singleUse(ticket) && this.mayReturn(peer, ticket, generation)) this.put(peer, ticket)
  }

  put(peer: HostPort, ticket: StoredTicket): void {
    const name = key(peer, ticket.binding ?? '')
    const entry = this.#tickets.get(name) ?? { peer, tickets: [] }
    remember(this.#tickets, name, entry)
    if (!this.#singleUse(ticket)) entry.tickets.length = 0
    entry.tickets.push(ticket)
    if (entry.tickets.length > TICKETS_A_BINDING) entry.tickets.shift()
  }

  /** Drops one ticket that the program has used by its own means. */
  spend(peer: HostPort, ticket: StoredTicket): void {
    if (!this.#singleUse(ticket)) return
    const same = (other: StoredTicket) => equal(other.ticket, ticket.ticket)
    const tickets = this.#tickets.get(key(peer, ticket.binding ?? ''))?.tickets
    const at = tickets?.findIndex(same) ?? -1
    if (at >= 0) tickets!.splice(at, 1)
    else this.#shelf?.take(peer, ticket.binding ?? '', this.now(), same)
  }

  /** Every ticket of a peer is gone, here and on the shelf. */
  invalidate(peer: HostPort): void {
    for (const [name, entry] of this.#tickets) if (isSamePeer(entry.peer, peer)) this.#tickets.delete(name)
    if (this.#shelf) this.#shelf.invalidate(peer)
    else this.#distrusted.set(key(peer, ''), peer)
    remember(this.#generations, key(peer, ''), this.generation(peer) + 1)
  }

  /**
   * The server has turned down one of the peer's tickets: those that are as old will fare no better. (It was
   * restarted, say, and has new ticket keys.)
   * @param since UNIX milliseconds: tickets that came later stay
   */
  turnedDown(peer: HostPort, since: number): void {
    for (const { peer: other, tickets } of this.#tickets.values()) {
      if (!isSamePeer(other, peer)) continue
      const stay = tickets.filter((ticket) => ticket.storedAtUnixSecs >= Math.floor(since / 1000))
      tickets.splice(0, tickets.length, ...stay)
    }
    this.#shelf?.invalidate(peer, since)
  }

  /**
   * A full handshake has shown this key: tickets of the peer made under another one go, here and on the shelf.
   * There it takes milliseconds, which the program spends waiting for its first answer. So not at the end.
   */
  sawKey(peer: HostPort, spkiFp: Uint8Array): void {
    for (const { peer: other, tickets } of this.#tickets.values()) {
      if (!isSamePeer(other, peer)) continue
      const stay = tickets.filter((ticket) => equal(ticket.spkiFp, spkiFp))
      tickets.splice(0, tickets.length, ...stay)
    }
    const name = key(peer, '')
    const last = this.#keys.get(name)
    // In a burst of connections the first one has looked.
    if (!last || !equal(last, spkiFp)) this.#seen.set(name, { peer, spkiFp })
    remember(this.#keys, name, spkiFp)
    this.#dropOtherKeys()
  }

  /** Moves what is in memory to the shelf, if there is one. What it does not take is not tried again. */
  flush(): void {
    const shelf = this.#shelf
    if (!shelf) return
    const now = this.now()
    for (const { peer, tickets } of this.#tickets.values()) {
      for (const ticket of tickets.splice(0)) if (shelf.putUnlessFull(peer, ticket, now)) this.kept++
    }
    this.#tickets.clear()
  }

  #dropOtherKeys(): void {
    if (!this.#shelf) return
    for (const { peer, spkiFp } of this.#seen.values()) this.#shelf.dropOtherKeys(peer, spkiFp)
    this.#seen.clear()
  }

  #singleUse(ticket: StoredTicket): boolean {
    return ticket.protocol !== 'TLSv1.2' && !this.reuse
  }
}

/** Sets, and forgets the eldest of too many. */
function remember<V>(map: Map<string, V>, name: string, value: V): void {
  map.delete(name)
  if (map.size >= BINDINGS) map.delete(map.keys().next().value!)
  map.set(name, value)
}

const key = (peer: HostPort, binding: string) => `${peer.host} ${peer.port} ${binding}`
