import type { TLSSocket } from 'node:tls'
import { elapsed } from '../common/clock.ts'
import { SocketListeners } from './socket-listeners.ts'

/**
 * When a connection reached each stage: milliseconds of the clock of `elapsed`, which all processes of a machine share.
 */
export interface ConnectionTimes {
  readonly called: number
  /** The addresses of its host became known. */
  lookedUp?: number
  /** The last address tried so far was dialled. */
  attempted?: number
  connected?: number
  secure?: number
  firstByte?: number
}

const EVENTS = {
  lookup: 'lookedUp',
  connectionAttempt: 'attempted',
  connect: 'connected',
  secureConnect: 'secure',
} as const

/**
 * Records the times of a connection from now to the end of its handshake. Used only if a summary was requested.
 *
 * @param makeRoom raises the listener limit above which Node warns, and returns a function that undoes this
 */
export function noteTimes(socket: TLSSocket, makeRoom: (socket: TLSSocket) => () => void): ConnectionTimes {
  const times: ConnectionTimes = { called: elapsed() }
  const listeners = new SocketListeners(socket, makeRoom)
  for (const [event, name] of Object.entries(EVENTS)) {
    listeners.on(event, () => {
      times[name] = elapsed()
      if (event === 'secureConnect') listeners.removeAll()
    })
  }
  listeners.on('close', () => listeners.removeAll())
  return times
}
