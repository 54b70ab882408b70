import { elapsed } from '../common/clock.ts'
import type { HostPort } from '../host-port.ts'

/** Where offers are noted for other processes: what this needs of `OfferLog`. */
export interface OfferNotes {
  whyLeftAlone(peer: HostPort, now: number): string | undefined
  begin(peer: HostPort, now: number): string | undefined
  end(peer: HostPort, note: string | undefined): void
  answered(peer: HostPort, note: string | undefined): void
  failed(peer: HostPort, note: string | undefined, reason: string, now: number): void
}

/** One session that was offered in one connection. */
export interface Offer {
  readonly peer: HostPort
  /** Milliseconds, by a clock that nobody sets. */
  readonly since: number
  /** Whether the server has answered, though nobody was told: the program may remove our listeners. */
  hasAnswer: () => boolean
}

/** What one peer did with the offers of this process. */
interface Answers {
  /** Those that are not answered yet. */
  readonly open: Set<Offer>
  /** Of them, in the notes. One note is enough for all. */
  note: string | undefined
  /** The first that was answered. */
  answered: Offer | undefined
  /** UNIX seconds. */
  leftAloneUntil: number
}

/** A connection that the program gives up sooner says nothing of the server: milliseconds. */
const TIME_TO_ANSWER = 250

/** How long a server that failed is left alone where that cannot be noted: seconds. */
const LEFT_ALONE_FOR = 3_600

const MOST_PEERS = 1024

/**
 * How servers take the sessions that are offered to them. Some fail on each: they answer with an alert, reset or close the
 * connection, or fall silent. Such a server is left alone from its first failure on, in this process and in others.
 */
export class Offers {
  #notes: OfferNotes | undefined
  readonly #peers = new Map<string, Answers>()

  /** @param now UNIX seconds */
  constructor(private readonly now: () => number) {}

  /** From now on other processes know, too. */
  attach(notes: OfferNotes): void {
    this.#notes = notes
  }

  /** Why nothing is to be offered to a peer now, in words. */
  whyLeftAlone(peer: HostPort): string | undefined {
    const { leftAloneUntil = 0 } = this.#peers.get(keyOf(peer)) ?? {}
    if (leftAloneUntil > this.now()) return 'the server failed on an earlier offer of this process'
    return this.#notes?.whyLeftAlone(peer, this.now())
  }

  begin(peer: HostPort, hasAnswer: () => boolean): Offer {
    const offer = { peer, since: elapsed(), hasAnswer }
    const answers = this.#answersOf(peer)
    if (answers.answered === undefined && answers.open.size === 0)
      answers.note = this.#notes?.begin(peer, this.now())
    answers.open.add(offer)
    return offer
  }

  /** The server has resumed the session, or turned it down as it should. */
  answered(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    answers.open.delete(offer)
    if (answers.answered !== undefined) return
    answers.answered = offer
    offer.hasAnswer = yes // it is kept for the life of the process, and must not keep the socket
    answers.leftAloneUntil = 0
    this.#notes?.answered(offer.peer, answers.note)
    answers.note = undefined
  }

  /**
   * The connection failed, before the answer or right after it. Where the server has answered another offer of this process,
   * that was no fault of the offer.
   * @param reason the code of an error, or a few words
   */
  failed(offer: Offer, reason: string): void {
    const answers = this.#answersOf(offer.peer)
    answers.open.delete(offer)
    if (answers.answered !== undefined && answers.answered !== offer) return
    answers.answered = undefined
    answers.leftAloneUntil = this.now() + LEFT_ALONE_FOR
    this.#notes?.failed(offer.peer, answers.note, reason, this.now())
    answers.note = undefined
  }

  /** The program has given the connection up, or ends itself. */
  givenUp(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    if (!answers.open.has(offer)) return
    if (offer.hasAnswer()) {
      this.answered(offer)
      return
    }
    if (elapsed() - offer.since >= TIME_TO_ANSWER) {
      this.failed(offer, 'no answer')
      return
    }
    answers.open.delete(offer)
    if (answers.open.size > 0) return
    this.#notes?.end(offer.peer, answers.note)
    answers.note = undefined
  }

  /** The process ends: nothing will be answered any more. */
  giveUpAll(): void {
    for (const { open } of this.#peers.values()) for (const offer of open) this.givenUp(offer)
  }

  #answersOf(peer: HostPort): Answers {
    const key = keyOf(peer)
    const known = this.#peers.get(key)
    if (known) return known
    const answers = { open: new Set<Offer>(), note: undefined, answered: undefined, leftAloneUntil: 0 }
    if (this.#peers.size >= MOST_PEERS) this.#peers.delete(this.#peers.keys().next().value!)
    this.#peers.set(key, answers)
    return answers
  }
}

const yes = () => true

const keyOf = ({ host, port }: HostPort) => `${host} ${port}`
