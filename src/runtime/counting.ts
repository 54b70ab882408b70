// Counts what this process does, if the policy of the machine asks for it.
import { addCounts, type Counts, NO_COUNTS, REASON } from '../seal/counts-text.ts'
import type { EventDetail, EventName } from '../tls/events.ts'

export class Counting {
  #counts = NO_COUNTS

  /** Counts one event. */
  count(name: EventName, { reason = '' }: EventDetail): void {
    if (name === 'harvest') this.#add({ harvested: 1 })
    if (name === 'skip') this.#add({ refused: { [inGeneral(reason)]: 1 } })
  }

  /** Counts one handshake and its duration. */
  readonly handshake = (isResumed: boolean, milliseconds: number): void => {
    const ms = Math.max(0, Math.round(milliseconds))
    this.#add(isResumed ? { resumed: 1, resumedMs: ms } : { full: 1, fullMs: ms })
  }

  /** The counts since the last call. Undefined if there are none. */
  take(): Counts | undefined {
    const counts = this.#counts
    this.#counts = NO_COUNTS
    return counts === NO_COUNTS ? undefined : counts
  }

  #add(some: Partial<Counts>): void {
    this.#counts = addCounts(this.#counts, { ...NO_COUNTS, ...some })
  }
}

/** A reason without the part that varies: `not saved: /home/ann: ENOSPC` becomes `not saved`. */
function inGeneral(reason: string): string {
  const words = reason.split(': ')[0]!.slice(0, 96)
  return REASON.test(words) ? words : 'other'
}
