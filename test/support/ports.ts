import { connect, createServer, type Server } from 'node:net'

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listen(server)
  await new Promise((done) => server.close(done))
  return port
}

/** Listens on a loopback port chosen by the system, and returns it. */
export function listen(server: Server, host = '127.0.0.1'): Promise<number> {
  return new Promise((done, fail) => {
    server.once('error', fail)
    server.listen(0, host, () => {
      server.off('error', fail)
      done((server.address() as { port: number }).port)
    })
  })
}

/** Waits until somebody answers on a port. Returns false where nobody does in time. */
export async function waitForPort(port: number, timeoutMs = 5000, host = '127.0.0.1'): Promise<boolean> {
  for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(20)) {
    const answered = await new Promise<boolean>((done) => {
      const socket = connect(port, host, () => done(true))
      socket.on('error', () => done(false)).on('connect', () => socket.destroy())
    })
    if (answered) return true
  }
  return false
}

export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

/** Waits until `value` returns something, and returns that. After `timeoutMs` it returns the last value. */
export async function waitFor<T>(value: () => T | undefined, timeoutMs = 5000): Promise<T | undefined> {
  for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(5)) {
    const found = value()
    if (found !== undefined) return found
  }
  return value()
}
