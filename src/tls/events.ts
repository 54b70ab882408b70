import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'

/** Events about sessions, published on `node:diagnostics_channel` as `ticketkeep:<name>`. */
export type EventName = 'offer' | 'resumed' | 'harvest' | 'skip'

/** Never contains a ticket, a key or a session. */
export interface EventDetail {
  readonly host?: string
  readonly port?: number
  readonly protocol?: string | undefined
  /** Why no session was offered or kept. */
  readonly reason?: string
  /** For `resumed`: whether the session was one that we offered. */
  readonly ours?: boolean
}

export type Observer = (name: EventName, detail: EventDetail) => void

const log = process.env.NODE_DEBUG ? debuglog('ticketkeep') : undefined

/** Publishes an event to subscribers, and logs it to standard error under `NODE_DEBUG=ticketkeep`. */
export const observe: Observer = (name, detail) => {
  const topic = `ticketkeep:${name}`
  if (hasSubscribers(topic)) channel(topic).publish(detail)
  log?.('%s %j', name, detail)
}

/** Wraps `work` so that an exception in our code never reaches the program. It is reported as an event instead. */
export const guarded =
  <A extends unknown[]>(observe: Observer, work: (...args: A) => void): ((...args: A) => void) =>
  (...args) => {
    try {
      work(...args)
    } catch (error) {
      observe('skip', { reason: `internal: ${(error as Error)?.message}` })
    }
  }
