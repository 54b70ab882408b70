import { createServer, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { createSecureContext, TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { listen } from '../support/ports.ts'
import { inSandbox, run } from './trust/kit.ts'

// A client of SQL Server sends the handshake within packets of its own, and stops at `secureConnect` (MS-TDS, 2.2.6.5). In a
// resumed handshake of TLS 1.2 its last message comes after that, without a packet around it.

const PACKET = 0x12
const HEADER = 3

let ca: Authority
let server: Server
let port: number
beforeAll(async () => {
  ca = await createAuthority()
  const { cert, key } = await ca.issue({ names: ['a.test'] })
  const secureContext = createSecureContext({ cert, key, maxVersion: 'TLSv1.2' })
  server = createServer((socket) => serve(socket, secureContext))
  port = await listen(server)
})
afterAll(() => new Promise((done) => server.close(done)))

/** Takes the handshake in packets only, and ends a connection that sends anything else. */
function serve(raw: Socket, secureContext: ReturnType<typeof createSecureContext>): void {
  let isWrapped = true
  let received = Buffer.alloc(0)
  const stream = new Duplex({
    read() {},
    write(bytes, _encoding, done) {
      raw.write(isWrapped ? packetOf(bytes) : bytes, () => done())
    },
    final(done) {
      raw.end(() => done())
    },
  })
  const takePackets = () => {
    while (isWrapped && received.length >= HEADER) {
      if (received[0] !== PACKET) return void raw.destroy()
      const end = HEADER + received.readUInt16BE(1)
      if (received.length < end) return
      const contents = received.subarray(HEADER, end)
      received = received.subarray(end)
      stream.push(contents)
    }
    if (!isWrapped && received.length > 0) {
      stream.push(received)
      received = Buffer.alloc(0)
    }
  }
  raw.on('data', (bytes) => {
    received = Buffer.concat([received, bytes])
    takePackets()
  })
  raw.on('error', () => {}).on('close', () => stream.destroy())
  const tls = new TLSSocket(stream, { isServer: true, secureContext })
  tls.on('error', () => raw.destroy())
  tls.on('secure', () => {
    // What the handshake has still to send goes out in packets.
    setImmediate(() => {
      isWrapped = false
      takePackets()
    })
  })
  tls.on('data', (bytes) => tls.end(bytes))
}

function packetOf(bytes: Buffer): Buffer {
  const header = Buffer.alloc(HEADER)
  header[0] = PACKET
  header.writeUInt16BE(bytes.length, 1)
  return Buffer.concat([header, bytes])
}

/** Two connections. Each sends a word and reads it back. */
const CLIENT = `
  const net = require('node:net')
  const { Duplex } = require('node:stream')
  const once = () => new Promise((done) => {
    const raw = net.connect(input.port, '127.0.0.1')
    let isWrapped = true
    let received = Buffer.alloc(0)
    const packetOf = (bytes) => Buffer.concat([Buffer.from([${PACKET}, bytes.length >> 8, bytes.length & 255]), bytes])
    const stream = new Duplex({
      read() {},
      write: (bytes, _, next) => raw.write(isWrapped ? packetOf(bytes) : bytes, () => next()),
      final: (next) => raw.end(() => next()),
    })
    const take = () => {
      while (isWrapped && received.length >= ${HEADER} && received.length >= ${HEADER} + received.readUInt16BE(1)) {
        const end = ${HEADER} + received.readUInt16BE(1)
        const contents = received.subarray(${HEADER}, end)
        received = received.subarray(end)
        stream.push(contents)
      }
      if (!isWrapped && received.length > 0) { stream.push(received); received = Buffer.alloc(0) }
    }
    raw.on('data', (bytes) => { received = Buffer.concat([received, bytes]); take() })
    raw.on('error', () => {}).on('end', () => stream.push(null)).on('close', () => stream.destroy())
    const socket = tls.connect({ socket: stream, servername: 'a.test', ca: input.ca }, () => {
      isWrapped = false
      take()
      socket.write('word')
    })
    let text = ''
    socket.on('data', (bytes) => { text += bytes })
    socket.on('error', ({ code }) => { text += code })
    socket.on('close', () => done(text))
  })
  // The first TLS connection of a process is attended like the others.
  const texts = [await once(), await once()]
  report({ texts, events })`

interface Report {
  readonly texts: readonly string[]
  readonly events: readonly string[]
}

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    it('offers no session of TLS 1.2 over a stream of the program, which may wrap the handshake', () =>
      inSandbox(async (sandbox) => {
        const input = { port, ca: ca.cert }
        const { texts, events } = await run<Report>(sandbox, CLIENT, input, { node: nodeBinary(line) })
        expect(texts).toEqual(['word', 'word'])
        expect(events).toContain('skip: over a stream of the program, no session of TLS 1.2 is offered')
      }))
  })
}
