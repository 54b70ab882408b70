import { type HostPort, peerKey } from '../host-port.ts'

/** Records offers for other processes: the part of `FailureLog` that is used here. */
export interface FailureNotes {
  whyLeftAlone(peer: HostPort, now: number): string | undefined
  begin(peer: HostPort, now: number): string | undefined
  end(peer: HostPort, note: string | undefined): void
  served(peer: HostPort, now: number): void
  failed(peer: HostPort, note: string | undefined, reason: string, now: number): void
}

/** One session offered in one connection. */
export interface Offer {
  readonly peer: HostPort
  /** Whether the server has had time to answer, and this process time to notice. */
  isOverdue: boolean
}

/** How one peer has answered the offers of this process. */
interface Answers {
  /**
   * Offers without an answer, each with a function that says whether the server has answered without our being told.
   */
  readonly open: Map<Offer, () => boolean>
  /** The note for the open offers. They share one. */
  note: string | undefined
  /** The first offer that was answered since the last failure. */
  answered: Offer | undefined
  /** Whether it is recorded that the server has served a connection since the last failure. */
  hasServed: boolean
  /** UNIX seconds. */
  leftAloneUntil: number
}

/** How long this process leaves a failed server alone, even if the failure cannot be recorded: seconds. */
const LEFT_ALONE_FOR = 3_600

const MAX_PEERS = 1024

/**
 * Tracks how servers respond to offered sessions. Some servers fail every resumption: they send an alert, reset or
 * close the connection, or stop responding. Such a server is left alone from its first failure on, by this process and
 * by others.
 */
export class FailingServers {
  #notes: FailureNotes | undefined
  readonly #peers = new Map<string, Answers>()
  /** The last peer that the notes had nothing against, and when. A burst of connections asks about the same peer. */
  #fine: { readonly key: string; readonly at: number } | undefined

  /**
   * @param now UNIX seconds
   * @param after calls back after so many milliseconds, without keeping the process alive
   */
  constructor(
    private readonly now: () => number,
    private readonly after: (ms: number, callback: () => void) => void,
  ) {}

  /** From now on, outcomes are shared with other processes. */
  attach(notes: FailureNotes): void {
    this.#notes = notes
    this.#fine = undefined
  }

  /** Why no session is offered to a peer now, as a phrase for people. Undefined if one may be offered. */
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
   * @param patience how long the server may take to answer, in milliseconds: if the program closes the connection
   *   earlier, that says nothing about the server
   * @param hasAnswer whether the server has answered; needed because the program may remove our listeners
   */
  begin(peer: HostPort, patience: number, hasAnswer: () => boolean): Offer {
    const offer: Offer = { peer, isOverdue: false }
    const answers = this.#answersOf(peer)
    // Checks only up to the first offer that is still open. In a burst, each offer would otherwise check all the
    // others.
    for (const [other, isOver] of answers.open) {
      if (!isOver()) break
      answers.open.delete(other)
    }
    if (answers.answered === undefined && answers.open.size === 0)
      answers.note = this.#notes?.begin(peer, this.now())
    answers.open.set(offer, hasAnswer)
    // A timer, so that a program that was busy all this time processes the answer first.
    if (answers.note !== undefined)
      this.after(patience, () => {
        offer.isOverdue = true
      })
    return offer
  }

  /** The server resumed the session, or declined it correctly with a full handshake. */
  answered(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    answers.open.delete(offer)
    answers.answered ??= offer
    answers.leftAloneUntil = 0
    this.#takeBack(offer.peer, answers)
  }

  /** The server also went on to serve the connection. */
  served(offer: Offer): void {
    const answers = this.#answersOf(offer.peer)
    if (answers.hasServed) return
    answers.hasServed = true
    this.#notes?.served(offer.peer, this.now())
  }

  /**
   * The connection failed before the answer or just after it. If the server has answered another offer since the last
   * failure, this failure is not blamed on the offer. The next one is.
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

  /** The program closed the connection, or is exiting. */
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

  /** The process is exiting: no more answers will be seen. */
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

  /** Forgets the oldest peer without an open offer. */
  #forgetOne(): void {
    for (const [key, { open }] of this.#peers) {
      if (open.size > 0) continue
      this.#peers.delete(key)
      return
    }
  }
}
