import type { TLSSocket } from 'node:tls'
import type { Options } from './call.ts'

/**
 * Calls back once the first packet of a connection is on its way: to load code costs the connection no time then. It is told
 * the address that the packet goes to, where that was seen.
 *
 * @param makeRoom raises the number of listeners above which Node warns, and returns what takes that back
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
    } catch {} // out of a listener of the program's
    work(address)
  }
  const onAttempt = (address: string) => process.nextTick(once, address)
  const room = makeRoom(socket)
  socket.on('connectionAttempt', onAttempt)
  // The event has been missed where a function of the program's knew the address at once. It is another socket's where
  // that one is still to be connected.
  if (typeof options.lookup === 'function' || options.socket) process.nextTick(once)
}
