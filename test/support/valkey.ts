import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { findCommand } from './missing.ts'
import type { Authority } from './pki.ts'
import { freePort, listen, sleep, waitForPort } from './ports.ts'

export type ServerName = 'redis-server' | 'valkey-server'

/** The password of the default user, unless a test sets another. */
export const POOL_PASSWORD = 'hunter2-hunter2'

export interface Valkey {
  readonly port: number
  readonly pid: number
  /** Sends one command as the default user, and returns its reply as JSON values. */
  send(...command: (string | number)[]): Promise<Reply>
  stop(): Promise<void>
}

export type Reply = string | number | null | Error | Reply[]

export interface ValkeyOptions {
  readonly authority: Authority
  /** Default: redis-server. */
  readonly server?: ServerName
  /** Lines of its configuration. */
  readonly config?: readonly string[]
  readonly port?: number
  /** The address to listen on (default 127.0.0.1), and words before a command, which then runs in the namespace of that address. */
  readonly address?: string
  readonly prefix?: readonly string[]
}

/** A real server on loopback, with TLS only and a password, which keeps everything in memory. */
export async function startValkey(options: ValkeyOptions): Promise<Valkey> {
  const { authority, server = 'redis-server', config = [], address = '127.0.0.1', prefix = [] } = options
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-valkey-'))
  const port = options.port ?? (await freePort())
  const { cert, key } = await authority.issue({ names: ['localhost', address] })
  // A node of a cluster is also a client of the others.
  const client = await authority.issue({ client: true })
  const files = {
    ...{ 'cert.pem': cert, 'key.pem': key, 'ca.pem': authority.cert },
    ...{ 'client.pem': client.cert, 'client-key.pem': client.key },
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  const lines = [
    ...['port 0', `tls-port ${port}`, `bind ${address}`, 'tls-auth-clients no', 'save ""'],
    ...['tls-cert-file cert.pem', 'tls-key-file key.pem', 'tls-ca-cert-file ca.pem'],
    ...['tls-client-cert-file client.pem', 'tls-client-key-file client-key.pem'],
    ...[`requirepass ${POOL_PASSWORD}`, `dir ${folder}`, 'daemonize no', ...config],
  ]
  writeFileSync(join(folder, 'server.conf'), `${lines.join('\n')}\n`)
  const [command = '', ...args] = [...prefix, findCommand(server)!, 'server.conf']
  const child = spawn(command, args, { cwd: folder, stdio: 'ignore' })
  const ended = new Promise((done) => child.once('exit', done).once('error', done))
  const stop = async () => {
    kill(child)
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  if (!(await Promise.race([waitForPort(port, 5000, address), ended.then(() => false)]))) {
    await stop()
    throw new Error(`${server} did not start`)
  }
  return { port, pid: child.pid!, stop, send: (...command) => sendTo(address, port, authority.cert, command) }
}

function kill(child: ChildProcess): void {
  child.kill('SIGCONT')
  child.kill('SIGKILL')
}

/** Three nodes that share the slots, without replicas. The content of a node is lost with it, and the others go on. */
export async function startCluster(authority: Authority, server?: ServerName): Promise<Valkey[]> {
  const config = [
    ...['cluster-enabled yes', 'tls-cluster yes', 'tls-replication yes', `masterauth ${POOL_PASSWORD}`],
    ...['cluster-require-full-coverage no', 'cluster-node-timeout 2000'],
  ]
  const start = async () => {
    // Its cluster bus listens 10,000 ports higher.
    let port = await freePort()
    while (port > 55_000) port = await freePort()
    return startValkey({ authority, config, port, ...(server && { server }) })
  }
  const nodes = [await start(), await start(), await start()]
  const bounds = [0, 5462, 10_923, 16_384]
  for (const [i, node] of nodes.entries()) {
    await node.send('CLUSTER', 'ADDSLOTSRANGE', bounds[i]!, bounds[i + 1]! - 1)
    if (i > 0) await node.send('CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port)
  }
  const knowsAll = async (node: Valkey) => {
    const slots = (await node.send('CLUSTER', 'SLOTS')) as Reply[]
    return slots.length === 3 && String(await node.send('CLUSTER', 'INFO')).includes('cluster_state:ok')
  }
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(50)) {
    const known = await Promise.all(nodes.map(knowsAll))
    if (known.every(Boolean)) return nodes
  }
  for (const node of nodes) await node.stop()
  throw new Error('the nodes have not become a cluster')
}

async function sendTo(
  host: string,
  port: number,
  ca: string,
  command: readonly (string | number)[],
): Promise<Reply> {
  const socket = connect({ host, port, ca })
  const words = (...all: (string | number)[]) =>
    `*${all.length}\r\n${all.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`).join('')}`
  socket.write(words('AUTH', POOL_PASSWORD) + words(...command))
  try {
    const [, reply] = await replies(socket, 2)
    return reply!
  } finally {
    socket.destroy()
  }
}

/** Reads a number of RESP2 replies. */
async function replies(socket: TLSSocket, count: number): Promise<Reply[]> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk])
    const found: Reply[] = []
    let at: number | undefined = 0
    while (at !== undefined && found.length < count) {
      const read: { value: Reply; end: number } | undefined = readReply(bytes, at)
      if (read) found.push(read.value)
      at = read?.end
    }
    if (found.length === count) return found
  }
  throw new Error('the server closed the connection')
}

function readReply(bytes: Buffer, at: number): { value: Reply; end: number } | undefined {
  const line = bytes.indexOf('\r\n', at)
  if (line < 0) return undefined
  const [kind, text] = [String.fromCharCode(bytes[at]!), bytes.toString('utf8', at + 1, line)]
  const end = line + 2
  if (kind === '+') return { value: text, end }
  if (kind === '-') return { value: new Error(text), end }
  if (kind === ':') return { value: Number(text), end }
  if (kind === '$') {
    const length = Number(text)
    if (length < 0) return { value: null, end }
    if (bytes.length < end + length + 2) return undefined
    return { value: bytes.toString('utf8', end, end + length), end: end + length + 2 }
  }
  const values: Reply[] = []
  let next = end
  for (let i = 0; i < Number(text); i++) {
    const read = readReply(bytes, next)
    if (!read) return undefined
    values.push(read.value)
    next = read.end
  }
  return { value: values, end: next }
}

export interface LyingPool {
  readonly port: number
  /** How often somebody connected. */
  connections(): number
  close(): Promise<void>
}

/** A fake pool on loopback, without TLS, which treats each connection as the test says. */
export async function startLyingPool(answer: (socket: Socket) => void): Promise<LyingPool> {
  const open = new Set<Socket>()
  let connections = 0
  const server = createServer((socket) => {
    connections++
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    answer(socket)
  })
  const port = await listen(server)
  return {
    port,
    connections: () => connections,
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((done) => server.close(() => done()))
    },
  }
}
