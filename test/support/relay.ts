import { connect, createServer, type Socket } from 'node:net'
import { listen } from './ports.ts'

export interface Relay {
  readonly port: number
  close(): Promise<void>
}

/**
 * A TCP relay on loopback that imposes a round-trip time in milliseconds. It delays the bytes of each side by half of that, and the
 * first bytes of a client by another round trip for the TCP handshake.
 */
export async function startRelay(target: number, rttMs: number): Promise<Relay> {
  const open = new Set<Socket>()
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: target, host: '127.0.0.1', noDelay: true })
    carry(client, upstream, rttMs / 2, performance.now() + rttMs)
    carry(upstream, client, rttMs / 2, 0)
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
    }
  })
  const port = await listen(server)
  return {
    port,
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((done) => server.close(() => done()))
    },
  }
}

/** Delays what `from` sends by `delayMs`, in order, and until `notBefore` (of `performance.now()`) at least. */
function carry(from: Socket, to: Socket, delayMs: number, notBefore: number) {
  const later = (deliver: () => void) =>
    setTimeout(
      () => to.destroyed || deliver(),
      Math.max(performance.now(), notBefore) + delayMs - performance.now(),
    )
  from.on('data', (bytes) => later(() => to.write(bytes)))
  from.on('end', () => later(() => to.end()))
  from.on('error', () => to.destroy())
  from.on('close', () => later(() => to.destroy()))
}
