import { type HostPort, peerKey } from '../host-port.ts'
import { type FirstGroup, GROUPS } from './key-exchange-groups.ts'

/** Records facts for other processes: the part of `PeerFacts` that is used here. */
export interface FactNotes {
  find(peer: HostPort, facts: readonly string[], now: number, maxAge?: number): string | undefined
  note(peer: HostPort, facts: readonly string[], fact: string | undefined, now: number): void
}

/**
 * The group that a server asked for. `of Node`: use Node's default, because a connection failed that offered another.
 */
type Choice = 'of Node' | FirstGroup
const CHOICES: readonly Choice[] = ['of Node', ...GROUPS]
const GROUP_FACTS = CHOICES.map((group) => `group ${group}`)

/** Whether a server at one address accepts the tickets that a server at another address issued. */
const SHARED = 'tickets shared'
const NOT_SHARED = 'tickets not shared'
const SHARING_FACTS = [SHARED, NOT_SHARED]

/** How long the fact about sharing is valid: seconds. A restarted server looks as if it shared no tickets. */
const SHARING_LASTS = 86_400

const MAX_PEERS = 1024

/** What one peer's handshakes have shown in this process. A null group means that nothing needs to change. */
interface Shown {
  group?: Choice | null
  sharing?: typeof SHARED | typeof NOT_SHARED
}

/** What verified handshakes have shown about servers. It makes later handshakes shorter and decides no trust. */
export class PeerKnowledge {
  #notes: FactNotes | undefined
  readonly #peers = new Map<string, { readonly peer: HostPort; readonly shown: Shown }>()

  /** @param now UNIX seconds */
  constructor(private readonly now: () => number) {}

  /** From now on, facts are shared with other processes. */
  attach(notes: FactNotes): void {
    this.#notes = notes
    for (const { peer, shown } of this.#peers.values()) {
      if (shown.group !== undefined) this.#noteGroup(peer, shown.group)
      if (shown.sharing !== undefined) this.#noteSharing(peer, shown.sharing)
    }
  }

  /** The group that the server asks for, if Node sends no key share for it by default. */
  group(peer: HostPort): FirstGroup | undefined {
    const choice = this.#choice(peer)
    return choice === 'of Node' || choice === null ? undefined : choice
  }

  /**
   * A handshake completed with this group. Undefined: with a group that Node offers by default, or one that is not
   * listed.
   */
  sawGroup(peer: HostPort, group: FirstGroup | undefined): void {
    const shown = this.#shownOf(peer)
    // Nearly all servers are like this. A recorded group is looked up only when it would be used.
    if (group === undefined && !shown.group) return
    const choice = this.#choice(peer)
    if (choice === 'of Node' || choice === (group ?? null)) return
    shown.group = group ?? null
    this.#noteGroup(peer, shown.group)
  }

  /** A connection with a key share for the server's group failed. It is not tried again while this is remembered. */
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

  /**
   * Whether a server may accept tickets that another server of the same name issued. True until one was declined, and
   * again after one was accepted.
   */
  mayShareTickets(peer: HostPort): boolean {
    return this.#sharing(peer) !== NOT_SHARED
  }

  /** A ticket from one address was offered at another. */
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
