import { connect, createServer, type Socket } from 'node:net'
import { listen } from './ports.ts'
import { type Answer, readAnswer } from './server-hello.ts'

/** A relay in front of a TLS server that reads in the server's answers which connections were resumed. */
export interface Witness {
  readonly port: number
  /** The answers of the server since the last call, one for each connection, in order. */
  answers(): Answer[]
  close(): Promise<void>
}

/** The most that a server sends before its answer is complete: a greeting and a long chain. */
const MOST = 64 * 1024

export async function startWitness(target: number): Promise<Witness> {
  const answers: Answer[] = []
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1')
    client.pipe(upstream).pipe(client)
    let sent = Buffer.alloc(0)
    const read = (bytes: Buffer) => {
      sent = Buffer.concat([sent, bytes])
      const answer = readAnswer(sent)
      if (answer) answers.push(answer)
      if (answer || sent.length > MOST) upstream.off('data', read)
    }
    upstream.on('data', read)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
  })
  const port = await listen(server)
  return {
    port,
    answers: () => answers.splice(0),
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((done) => server.close(() => done()))
    },
  }
}
