import { type HostPort, peerKey } from '../host-port.ts'
import { type FirstGroup, GROUPS } from './key-exchange-groups.ts'

/** Where facts are noted for other processes: what this needs of `PeerFacts`. */
export interface FactNotes {
  find(peer: HostPort, facts: readonly string[], now: number, maxAge?: number): string | undefined
  note(peer: HostPort, facts: readonly string[], fact: string | undefined, now: number): void
}

/** The group that a server asked for. `of Node`: a connection failed that offered another one than Node does. */
type Choice = 'of Node' | FirstGroup
const CHOICES: readonly Choice[] = ['of Node', ...GROUPS]
const GROUP_FACTS = CHOICES.map((group) => `group ${group}`)

/** Whether a server at one address honours the tickets that another one gave. */
const SHARED = 'tickets shared'
const NOT_SHARED = 'tickets not shared'
const SHARING_FACTS = [SHARED, NOT_SHARED]

/** How long it counts that tickets are shared or not: seconds. A server that was restarted looks as if it shared none. */
const SHARING_LASTS = 86_400

const MAX_PEERS = 1024

/** What one peer's handshakes have shown in this process; null: nothing that matters. */
interface Shown {
  group?: Choice | null
  sharing?: typeof SHARED | typeof NOT_SHARED
}

/** What was learned of servers in handshakes that were seen verified. It makes the next ones shorter, and decides no trust. */
export class PeerKnowledge {
  #notes: FactNotes | undefined
  readonly #peers = new Map<string, { readonly peer: HostPort; readonly shown: Shown }>()

  /** @param now UNIX seconds */
  constructor(private readonly now: () => number) {}

  /** From now on other processes know, too. */
  attach(notes: FactNotes): void {
    this.#notes = notes
    for (const { peer, shown } of this.#peers.values()) {
      if (shown.group !== undefined) this.#noteGroup(peer, shown.group)
      if (shown.sharing !== undefined) this.#noteSharing(peer, shown.sharing)
    }
  }

  /** The group that the server asks for, where it is not one that Node offers at once. */
  group(peer: HostPort): FirstGroup | undefined {
    const choice = this.#choice(peer)
    return choice === 'of Node' || choice === null ? undefined : choice
  }

  /** A handshake was done with this group; undefined: with one that Node offers at once, or none that is listed. */
  sawGroup(peer: HostPort, group: FirstGroup | undefined): void {
    const shown = this.#shownOf(peer)
    // That is so of nearly all servers. What is noted matters where it is used.
    if (group === undefined && !shown.group) return
    const choice = this.#choice(peer)
    if (choice === 'of Node' || choice === (group ?? null)) return
    shown.group = group ?? null
    this.#noteGroup(peer, shown.group)
  }

  /** A connection that offered the server's group at once has failed: it is not done again while that is known. */
  groupFailed(peer: HostPort): void {
    this.#shownOf(peer).group = 'of Node'
    this.#noteGroup(peer, 'of Node')
  }

  #choice(peer: HostPort): Choice | null {
    const shown = this.#shownOf(peer)
    if (shown.group === undefined && this.#notes) {
      const fact = this.#notes.find(peer, GROUP_FACTS, this.now())
      shown.group = CHOICES[GROUP_FACTS.indexOf(fact ?? '')] ?? null
    }
    return shown.group ?? null
  }

  /** Whether a server may honour what another of its name gave: until one has not, or once one has. */
  mayShareTickets(peer: HostPort): boolean {
    return this.#sharing(peer) !== NOT_SHARED
  }

  /** A ticket of one address was offered at another. */
  sawTicketOfOther(peer: HostPort, isHonoured: boolean): void {
    const sharing = isHonoured ? SHARED : NOT_SHARED
    if (this.#sharing(peer) === sharing) return
    this.#shownOf(peer).sharing = sharing
    this.#noteSharing(peer, sharing)
  }

  #sharing(peer: HostPort): string | undefined {
    if (!this.#notes) return this.#shownOf(peer).sharing
    return this.#notes.find(peer, SHARING_FACTS, this.now(), SHARING_LASTS)
  }

  #noteGroup(peer: HostPort, group: Choice | null): void {
    this.#notes?.note(peer, GROUP_FACTS, group ? `group ${group}` : undefined, this.now())
  }

  #noteSharing(peer: HostPort, sharing: string): void {
    this.#notes?.note(peer, SHARING_FACTS, sharing, this.now())
  }

  #shownOf(peer: HostPort): Shown {
    const key = peerKey(peer)
    const known = this.#peers.get(key)
    if (known) return known.shown
    if (this.#peers.size >= MAX_PEERS) this.#peers.delete(this.#peers.keys().next().value!)
    const shown: Shown = {}
    this.#peers.set(key, { peer, shown })
    return shown
  }
}
