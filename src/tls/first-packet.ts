import type { TLSSocket } from 'node:tls'
import type { Options } from './call.ts'

/**
 * Calls back when the first packet of a connection has been sent, so that loading code does not delay the connection.
 * Passes the address that the packet went to, if that was seen.
 *
 * @param makeRoom raises the listener limit above which Node warns, and returns a function that undoes this
 */
export function whenPacketIsOut(
  socket: TLSSocket,
  options: Options,
  makeRoom: (socket: TLSSocket) => () => void,
  work: (address?: string) => void,
): void {
  let isDone = false
  const once = (address?: string) => {
    if (isDone) return
    isDone = true
    try {
      socket.removeListener('connectionAttempt', onAttempt)
      room()
    } catch {} // thrown by a `removeListener` listener of the program
    work(address)
  }
  const onAttempt = (address: string) => process.nextTick(once, address)
  const room = makeRoom(socket)
  socket.on('connectionAttempt', onAttempt)
  // The event was missed if the program's own `lookup` answered immediately. If `options.socket` is still connecting,
  // that socket emits the event, not this one.
  if (typeof options.lookup === 'function' || options.socket) process.nextTick(once)
}
