import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { folderOf, nodeBinary } from '../support/pinned.ts'
import { freePort } from '../support/ports.ts'
import { createFolder, daemon } from './daemon.ts'
import type { Protocol, Server } from './server.ts'

/** Servers that are Node programs. */
export const NODE_SERVERS: readonly Server[] = [
  nodeServer(
    'Node',
    ['https', 'h2'],
    `
      import { createSecureServer } from 'node:http2'
      createSecureServer({ cert, key, allowHTTP1: true }, (_, response) => response.end('hello\\n')).listen(port, '127.0.0.1')`,
  ),
  nodeServer(
    'ws',
    ['websocket'],
    `
      import { createServer } from 'node:https'
      import { WebSocketServer } from 'ws'
      const server = createServer({ cert, key }).listen(port, '127.0.0.1')
      new WebSocketServer({ server }).on('connection', (socket) => socket.send('hello'))`,
  ),
  nodeServer(
    'grpc-js',
    ['grpc'],
    `
      import { Server, ServerCredentials } from '@grpc/grpc-js'
      const same = (bytes) => bytes
      const shape = { path: '/test/echo', requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same }
      const server = new Server()
      server.addService({ echo: shape }, { echo: ({ request }, done) => done(null, request) })
      const credentials = ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }])
      server.bindAsync('127.0.0.1:' + port, credentials, (error) => { if (error) throw error })`,
  ),
  nodeServer(
    'smtp-server',
    ['smtp'],
    `
      import { SMTPServer } from 'smtp-server'
      const onData = (stream, session, done) => stream.resume().on('end', () => done(null, 'taken'))
      new SMTPServer({ cert, key, authOptional: true, onData, logger: false }).listen(port, '127.0.0.1')`,
  ),
  // Debian has no MongoDB. This answers each command with success.
  nodeServer(
    'a stand-in',
    ['mongodb'],
    `
      import { createServer } from 'node:tls'
      import { createRequire } from 'node:module'
      const { BSON } = createRequire(import.meta.url)('mongodb')
      const answer = { ok: 1, isWritablePrimary: true, helloOk: true, maxBsonObjectSize: 16777216, maxMessageSizeBytes: 48000000,
        maxWriteBatchSize: 100000, minWireVersion: 0, maxWireVersion: 21, localTime: new Date(0) }
      createServer({ cert, key }, (socket) => {
        let waiting = Buffer.alloc(0)
        socket.on('error', () => {}).on('data', (bytes) => {
          waiting = Buffer.concat([waiting, bytes])
          while (waiting.length >= 16 && waiting.length >= waiting.readInt32LE(0)) {
            const request = waiting.subarray(0, waiting.readInt32LE(0))
            waiting = waiting.subarray(request.length)
            const [id, opcode] = [request.readInt32LE(4), request.readInt32LE(12)]
            const body = BSON.serialize(answer)
            // OP_QUERY is answered with OP_REPLY, and OP_MSG with OP_MSG.
            const head = opcode === 2004 ? Buffer.alloc(36) : Buffer.alloc(21)
            head.writeInt32LE(head.length + body.length, 0)
            head.writeInt32LE(id, 8)
            head.writeInt32LE(opcode === 2004 ? 1 : 2013, 12)
            if (opcode === 2004) head.writeInt32LE(1, 32)
            socket.write(Buffer.concat([head, body]))
          }
        })
      }).listen(port, '127.0.0.1')`,
  ),
]

/** `source` has `cert`, `key` and `port`, and the packages of the pinned libraries. */
function nodeServer(name: string, speaks: readonly Protocol[], source: string): Server {
  return {
    name,
    speaks,
    async start({ version, identity }) {
      const files = createFolder(identity)
      const port = await freePort()
      const script = join(folderOf('libraries'), `server-${port}.mjs`)
      const given = `const { cert, key, port } = ${JSON.stringify({ ...identity, port })}`
      mkdirSync(folderOf('libraries'), { recursive: true })
      writeFileSync(script, `${given}\n${source}`, { mode: 0o600 })
      const flags = [`--tls-min-${version.slice(3)}`, `--tls-max-${version.slice(3)}`]
      const server = await daemon(files, port, [nodeBinary('24'), ...flags, script])
      rmSync(script)
      return server
    },
  }
}
