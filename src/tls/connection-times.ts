import type { TLSSocket } from 'node:tls'
import { elapsed } from '../common/clock.ts'
import { SocketListeners } from './socket-listeners.ts'

/** When a connection got how far: milliseconds of the clock of `elapsed`, which all processes of a machine share. */
export interface ConnectionTimes {
  readonly called: number
  /** The addresses of its host are known. */
  lookedUp?: number
  /** The last address was tried. */
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
 * Notes the times of a connection from now on, up to the end of its handshake. For who asks for a summary.
 *
 * @param makeRoom raises the number of listeners above which Node warns, and returns what takes that back
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
