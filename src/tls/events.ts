import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'

/** What happens to sessions, published on `node:diagnostics_channel` as `ticketkeep:<name>`. */
export type EventName = 'offer' | 'resumed' | 'harvest' | 'skip'

/** Never a ticket, a key or a session. */
export interface EventDetail {
  readonly host?: string
  readonly port?: number
  readonly protocol?: string | undefined
  /** Why nothing was offered or kept. */
  readonly reason?: string
  /** Of `resumed`: whether from a session that we offered. */
  readonly ours?: boolean
}

export type Observer = (name: EventName, detail: EventDetail) => void

const log = process.env.NODE_DEBUG ? debuglog('ticketkeep') : undefined

/** Tells subscribers, and standard error under `NODE_DEBUG=ticketkeep`. */
export const observe: Observer = (name, detail) => {
  const topic = `ticketkeep:${name}`
  if (hasSubscribers(topic)) channel(topic).publish(detail)
  log?.('%s %j', name, detail)
}

/** Whatever goes wrong with us is no matter of the program's: it is told to who asks, and not thrown. */
export const guarded =
  <A extends unknown[]>(observe: Observer, work: (...args: A) => void): ((...args: A) => void) =>
  (...args) => {
    try {
      work(...args)
    } catch (error) {
      observe('skip', { reason: `internal: ${(error as Error)?.message}` })
    }
  }
