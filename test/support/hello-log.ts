import { connect, createServer, type Socket } from 'node:net'
import { listen } from './ports.ts'

export interface HelloLog {
  readonly port: number
  /** The port of this machine to which connections go from now on. */
  target: number
  /** The ClientHellos of each connection since the last call, as records. There are two if the server asked for another group. */
  take(): Buffer[][]
  close(): Promise<void>
}

/** A port in front of a TLS server that records the ClientHellos. */
export async function startHelloLog(target: number): Promise<HelloLog> {
  const open = new Set<Socket>()
  let hellos: Buffer[][] = []
  const server = createServer((client) => {
    const mine: Buffer[] = []
    hellos.push(mine)
    let sent: Buffer = Buffer.alloc(0)
    client.on('data', (bytes) => {
      sent = Buffer.concat([sent, bytes])
      for (; sent.length >= 6 && sent.length >= 5 + sent.readUInt16BE(3); sent = rest(sent))
        if (isClientHello(sent)) mine.push(Buffer.from(sent.subarray(0, 5 + sent.readUInt16BE(3))))
    })
    const upstream = connect(log.target, '127.0.0.1')
    client.pipe(upstream).pipe(client)
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(one)
      one.on('error', () => other.destroy()).on('close', () => open.delete(one))
    }
  })
  const log = {
    port: await listen(server),
    target,
    take() {
      const taken = hellos
      hellos = []
      return taken
    },
    close() {
      for (const socket of open) socket.destroy()
      return new Promise<void>((done) => server.close(() => done()))
    },
  }
  return log
}

const rest = (records: Buffer) => records.subarray(5 + records.readUInt16BE(3))
const isClientHello = (record: Buffer) => record[0] === 22 && record[5] === 1
