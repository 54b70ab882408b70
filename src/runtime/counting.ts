// What this process does, counted where the policy of the machine wants it.
import { addCounts, type Counts, NO_COUNTS, REASON } from '../seal/counts-text.ts'
import type { EventDetail, EventName } from '../tls/events.ts'

export class Counting {
  #counts = NO_COUNTS

  /** One event. */
  count(name: EventName, { reason = '' }: EventDetail): void {
    if (name === 'harvest') this.#add({ harvested: 1 })
    if (name === 'skip') this.#add({ refused: { [inGeneral(reason)]: 1 } })
  }

  /** One handshake, and how long it took. */
  readonly handshake = (isResumed: boolean, milliseconds: number): void => {
    const ms = Math.max(0, Math.round(milliseconds))
    this.#add(isResumed ? { resumed: 1, resumedMs: ms } : { full: 1, fullMs: ms })
  }

  /** What was counted since the last call; undefined: nothing. */
  take(): Counts | undefined {
    const counts = this.#counts
    this.#counts = NO_COUNTS
    return counts === NO_COUNTS ? undefined : counts
  }

  #add(some: Partial<Counts>): void {
    this.#counts = addCounts(this.#counts, { ...NO_COUNTS, ...some })
  }
}

/** A reason without what differs from case to case: `not saved: /home/ann: ENOSPC` is `not saved`. */
function inGeneral(reason: string): string {
  const words = reason.split(': ')[0]!.slice(0, 96)
  return REASON.test(words) ? words : 'other'
}
