// What the policy of the machine wants to be known of this process: its decisions, and figures. The library starts an
// attendant for each folder of tickets, and all of them share these records.
import type { PolicyRules } from '../policy.ts'
import { type Observer, observe as publish } from '../tls/events.ts'
import { audit, whyNoAudit } from './audit-file.ts'
import { Counting } from './counting.ts'

const recorders: Observer[] = []

/** Undefined: nothing is to be counted. */
export let counting: Counting | undefined

let isAudited = false

/**
 * From now on all that `recorded` is told is written down and counted, as these rules want it.
 *
 * @param now milliseconds since 1970
 * @returns why decisions cannot be written down, in words: then nothing may be decided
 */
export function keepRecords({ audit: rule, metrics }: PolicyRules, now: () => number): string | undefined {
  if (rule && !isAudited) {
    const problem = whyNoAudit(rule)
    if (problem !== undefined) return `the policy wants an audit, and ${problem}`
    isAudited = true
    recorders.push((decision, detail) => audit(rule, decision, detail, now()))
  }
  if (metrics && !counting) {
    const own = (counting = new Counting())
    recorders.push((name, detail) => own.count(name, detail))
  }
  return undefined
}

/** Tells the records, and then `observer`. */
export const recorded =
  (observer: Observer): Observer =>
  (name, detail) => {
    for (const record of recorders) {
      try {
        record(name, detail)
      } catch {}
    }
    observer(name, detail)
  }

/** Of what happens beside connections. */
export const observe = recorded(publish)
