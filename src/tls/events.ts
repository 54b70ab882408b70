import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'

/**
 * What happened to the sessions of a connection. A field that is not known is missing. An event never contains a ticket, a key
 * or a session.
 */
export interface TicketEvent {
  /**
   * `offer`: a session was offered. `resumed`: the server accepted it. `harvest`: a session was stored. `skip`: no session was
   * offered or stored, and `reason` says why.
   */
  readonly name: 'offer' | 'resumed' | 'harvest' | 'skip'
  /** A DNS name or an IP address. Empty if the call named none. */
  readonly host?: string
  /** 1 to 65535, or 0 if it is not known, as for a socket that was already connected. */
  readonly port?: number
  /** For `offer` and `harvest`: `TLSv1.2` or `TLSv1.3`. */
  readonly protocol?: string | undefined
  /** For `skip`: why no session was offered or stored, as a text for people. It may change. */
  readonly reason?: string
  /** For `resumed`: whether the session was one that ticketkeep offered. If false, the program kept it itself. */
  readonly ours?: boolean
}

/** Published on `node:diagnostics_channel` as `ticketkeep:<name>`. */
export type EventName = TicketEvent['name']

export type EventDetail = Omit<TicketEvent, 'name'>

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
