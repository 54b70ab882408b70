import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { debuglog } from 'node:util'

/**
 * What happened to the sessions of a connection. A field that is not known is not there. There is never a ticket, a key or a
 * session in it.
 */
export interface TicketEvent {
  /**
   * `offer`: a session was offered. `resumed`: the server took it. `harvest`: a session was kept. `skip`: nothing was offered, or
   * nothing kept, and `reason` says why.
   */
  readonly name: 'offer' | 'resumed' | 'harvest' | 'skip'
  /** A DNS name or an IP address. Empty where the call named none. */
  readonly host?: string
  /** 1 to 65535, or 0 where it is not known: over a socket that is connected already. */
  readonly port?: number
  /** Of `offer` and `harvest`: `TLSv1.2` or `TLSv1.3`. */
  readonly protocol?: string | undefined
  /** Of `skip`: why nothing was offered or kept, in words. They may change. */
  readonly reason?: string
  /** Of `resumed`: whether it was a session that ticketkeep offered. False: the program kept it itself. */
  readonly ours?: boolean
}

/** Published on `node:diagnostics_channel` as `ticketkeep:<name>`. */
export type EventName = TicketEvent['name']

export type EventDetail = Omit<TicketEvent, 'name'>

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
