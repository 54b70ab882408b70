// The records of this process that the policy of the machine asks for: an audit log of its decisions, and statistics.
// The library starts an attendant for each ticket directory, and all of them share these records.
import type { PolicyRules } from '../policy.ts'
import { type Observer, observe as publish } from '../tls/events.ts'
import { audit, whyNoAudit } from './audit-file.ts'
import { Counting } from './counting.ts'

const REQUIRED = 'the policy requires an audit log, and'

const recorders: Observer[] = []

/** Undefined if nothing is counted. */
export let counting: Counting | undefined

let isAudited = false

let problem: string | undefined

/** Why decisions can no longer be logged, although the policy requires it. Then no connection may be attended. */
export const whyNotRecorded = (): string | undefined => problem

/**
 * From now on, all events passed to `recorded` are logged and counted as these rules require.
 *
 * @param now milliseconds since 1970
 * @returns why decisions cannot be logged, as a phrase for people: then no connection may be attended
 */
export function keepRecords({ audit: rule, metrics }: PolicyRules, now: () => number): string | undefined {
  if (rule && !isAudited) {
    const reason = whyNoAudit(rule)
    if (reason !== undefined) return `${REQUIRED} ${reason}`
    isAudited = true
    recorders.push((decision, detail) => {
      try {
        audit(rule, decision, detail, now())
      } catch (error) {
        problem = `${REQUIRED} ${(error as Error)?.message}`
      }
    })
  }
  if (metrics && !counting) {
    const own = (counting = new Counting())
    recorders.push((name, detail) => own.count(name, detail))
  }
  return undefined
}

/** Passes an event to the records, then to `observer`. */
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

/** For events that do not belong to a connection. */
export const observe = recorded(publish)
