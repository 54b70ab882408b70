import { type HostPort, peerKey } from '../host-port.ts'

/** Where offers are noted for other processes: what this needs of `FailureLog`. */
export interface FailureNotes {
  whyLeftAlone(peer: HostPort, now: number): string | undefined
  begin(peer: HostPort, now: number): string | undefined
  end(peer: HostPort, note: string | undefined): void
  served(peer: HostPort, now: number): void
  failed(peer: HostPort, note: string | undefined, reason: string, now: number): void
}

/** One session that was offered in one connection. */
export interface Offer {
  readonly peer: HostPort
  /** Whether the server has had the time to answer, and this process the time to see it. */
  isOverdue: boolean
}

/** What one peer did with the offers of this process. */
interface Answers {
  /** Those that are not answered yet, each with what says whether the server has answered though nobody was told. */
  readonly open: Map<Offer, () => boolean>
  /** Of them, in the notes. One note is enough for all. */
  note: string | undefined
  /** The first that was answered since the last failure. */
  answered: Offer | undefined
  /** Whether it is noted that the server served a connection since the last failure. */
  hasServed: boolean
  /** UNIX seconds. */
  leftAloneUntil: number
}

/** How long a server that failed is left alone where that cannot be noted: seconds. */
const LEFT_ALONE_FOR = 3_600

const MAX_PEERS = 1024

/**
 * How servers take the sessions that are offered to them. Some fail on each: they answer with an alert, reset or close the
 * connection, or fall silent. Such a server is left alone from its first failure on, in this process and in others.
 */
export class FailingServers {
  #notes: FailureNotes | undefined
  readonly #peers = new Map<string, Answers>()
  /** The last peer against which the notes said nothing, and when: a burst of connections asks about one peer. */
  #fine: { readonly key: string; readonly at: number } | undefined

  /** @param now UNIX seconds @param after calls back in so many milliseconds, and holds no process */
  constructor(
    private readonly now: () => number,
    private readonly after: (ms: number, callback: () => void) => void,
  ) {}

  /** From now on other processes know, too. */
  attach(notes: FailureNotes): void {
    this.#notes = notes
    this.#fine = undefined
  }

  /** Why nothing is to be offered to a peer now, in words. */
  whyLeftAlone(peer: HostPort): string | undefined {
    const [key, now] = [peerKey(peer), this.now()]
    const { leftAloneUntil = 0 } = this.#peers.get(key) ?? {}
    if (leftAloneUntil > now) return 'the server failed on an earlier offer of this process'
    if (this.#fine?.key === key && this.#fine.at === now) return undefined
    const reason = this.#notes?.whyLeftAlone(peer, now)
    if (reason === undefined) this.#fine = { key, at: now }
    return reason
  }

  /**
   * @param patience how long a server may take to answer, in milliseconds: if the program gives the connection up before,
   *   that says nothing of the server
   * @param hasAnswer whether the server has answered: the program may remove our listeners
   */
  begin(peer: HostPort, patience: number, hasAnswer: () => boolean): Offer {
    const offer: Offer = { peer, isOverdue: false }
    const answers = this.#answersOf(peer)
    // Those before the first that is open: of a burst each would ask all the others else.
    for (const [other, isOver] of answers.open) {
      if (!isOver()) break
      answers.open.delete(other)
    }
    if (answers.answered === undefined && answers.open.size === 0)
      answers.note = this.#notes?.begin(peer, this.now())
    answers.open.set(offer, hasAnswer)
    // By a timer, so that a program that was busy all the while has looked for the answer.
    if (answers.note !== undefined)
      this.after(patience, () => {
        offer.isOverdue = true
      })
    return offer
  }

  /** The server has resumed the session, or turned it down as it should. */
  answered(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    answers.open.delete(offer)
    answers.answered ??= offer
    answers.leftAloneUntil = 0
    this.#takeBack(offer.peer, answers)
  }

  /** And the connection was of use. */
  served(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    if (answers.hasServed) return
    answers.hasServed = true
    this.#notes?.served(offer.peer, this.now())
  }

  /**
   * The connection failed, before the answer or right after it. Where the server has answered another offer since, that was
   * no fault of the offer; the next time it is.
   * @param reason the code of an error, or a few words
   */
  failed(offer: Offer, reason: string): void {
    this.#fine = undefined
    const answers = this.#answersOf(offer.peer)
    answers.open.delete(offer)
    const isOthers = answers.answered !== undefined && answers.answered !== offer
    answers.answered = undefined
    if (isOthers) return
    answers.hasServed = false
    answers.leftAloneUntil = this.now() + LEFT_ALONE_FOR
    this.#notes?.failed(offer.peer, answers.note, reason, this.now())
    answers.note = undefined
  }

  /** The program has given the connection up, or ends itself. */
  givenUp(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    const hasAnswer = answers.open.get(offer)
    if (!hasAnswer) return
    if (hasAnswer()) this.answered(offer)
    else if (offer.isOverdue) this.failed(offer, 'no answer')
    else {
      answers.open.delete(offer)
      if (answers.open.size === 0) this.#takeBack(offer.peer, answers)
    }
  }

  /** The process ends: nothing will be answered any more. */
  giveUpAll(): void {
    for (const { open } of this.#peers.values()) for (const offer of open.keys()) this.givenUp(offer)
  }

  #takeBack(peer: HostPort, answers: Answers): void {
    this.#notes?.end(peer, answers.note)
    answers.note = undefined
  }

  #answersOf(peer: HostPort): Answers {
    const key = peerKey(peer)
    const known = this.#peers.get(key)
    if (known) return known
    const answers = {
      open: new Map(),
      note: undefined,
      answered: undefined,
      hasServed: false,
      leftAloneUntil: 0,
    }
    if (this.#peers.size >= MAX_PEERS) this.#forgetOne()
    this.#peers.set(key, answers)
    return answers
  }

  /** The eldest of which no answer is due. */
  #forgetOne(): void {
    for (const [key, { open }] of this.#peers) {
      if (open.size > 0) continue
      this.#peers.delete(key)
      return
    }
  }
}
