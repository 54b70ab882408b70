import { randomBytes } from 'node:crypto'
import { createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { offersSession } from './client-hello.ts'
import type { TlsVersion } from './nginx.ts'
import { listen } from './ports.ts'

export interface TlsServerOptions extends TlsOptions {
  /** `raw`: says `hello` and ends. `https` and `http2` answer requests with it. Default `https`. */
  readonly kind?: 'raw' | 'https' | 'http2'
  /** The only version spoken. */
  readonly version?: TlsVersion
  /**
   * Breaks what resumes: `hello` resets the connection when a session is offered, `handshake` does once the
   * session is resumed.
   */
  readonly breaks?: 'hello' | 'handshake'
  /** What to do with a connection that offers a session, instead of a handshake. */
  readonly onOffer?: (socket: Socket) => void
  /** TLS 1.2 only: asks the client for a second handshake as soon as the first is done. */
  readonly renegotiates?: boolean
  /** The address to listen on. Default 127.0.0.1. */
  readonly address?: string
  readonly onHandshake?: (handshake: Handshake) => void
}

/** One handshake, as the server saw it. */
export interface Handshake {
  readonly reused: boolean
  readonly protocol: string | null
  /** The name that the client asked for (SNI). */
  readonly servername: string | false
  readonly authorized: boolean
}

export interface TlsServer {
  readonly port: number
  /** Every answered request, oldest first. Empty if `kind` is `raw`. */
  readonly requests: { readonly url: string; readonly reused: boolean }[]
  /** Every finished handshake, oldest first. */
  readonly handshakes: Handshake[]
  /** How many connections offered a session. Counted only if `breaks` is `hello`, or with `onOffer`. */
  readonly offers: number
  /** Makes the server refuse earlier tickets from now on. */
  rotateTicketKeys(): void
  /** Sets another certificate and keeps the ticket keys. */
  setIdentity(identity: { cert: string; key: string }): void
  close(): Promise<void>
}

/** A Node TLS server in this process. */
export async function startTlsServer(options: TlsServerOptions): Promise<TlsServer> {
  const { kind = 'https', version, breaks, renegotiates, address, onHandshake, ...rest } = options
  const onOffer =
    rest.onOffer ?? (breaks === 'hello' ? (socket: Socket) => socket.resetAndDestroy() : undefined)
  let ticketKeys = rest.ticketKeys ?? randomBytes(48)
  const bounds: TlsOptions = version ? { minVersion: version, maxVersion: version } : {}
  const tlsOptions: TlsOptions = { ...rest, ...bounds, ticketKeys }
  const requests: { url: string; reused: boolean }[] = []
  const server = create(kind, tlsOptions, (request, response) => {
    requests.push({ url: request.url ?? '', reused: (request.socket as TLSSocket).isSessionReused() })
    response.end('hello\n')
  })

  const handshakes: Handshake[] = []
  const open = new Set<Socket>()
  server.on('secureConnection', (socket: TLSSocket & { servername?: string | false }) => {
    const reused = socket.isSessionReused()
    const { authorized, servername = false } = socket
    const handshake = { reused, protocol: socket.getProtocol(), servername, authorized }
    handshakes.push(handshake)
    onHandshake?.(handshake)
    socket.on('error', () => {})
    if (breaks === 'handshake' && reused) socket.destroy()
    if (renegotiates) socket.renegotiate({}, () => {})
    if (kind === 'raw') socket.end('hello\n')
  })
  server.on('tlsClientError', () => {})

  let offers = 0
  const counted = (socket: Socket) => {
    offers++
    onOffer?.(socket)
  }
  const door = onOffer ? guard(server, counted) : server
  for (const one of new Set([door, server])) {
    one.on('connection', (socket: Socket) => {
      open.add(socket)
      socket.on('close', () => open.delete(socket)).on('error', () => {})
    })
  }
  const port = await listen(door, address)
  return {
    port,
    requests,
    handshakes,
    get offers() {
      return offers
    },
    rotateTicketKeys() {
      ticketKeys = randomBytes(48)
      server.setTicketKeys(ticketKeys)
    },
    setIdentity({ cert, key }) {
      server.setSecureContext({ ...tlsOptions, ticketKeys, cert, key })
    },
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((done) => door.close(() => done()))
    },
  }
}

type Answer = (
  request: { url?: string | undefined; socket: Socket },
  response: { end(body: string): void },
) => void

function create(kind: 'raw' | 'https' | 'http2', options: TlsOptions, answer: Answer) {
  if (kind === 'raw') return createServer(options)
  return kind === 'https' ? createHttpsServer(options, answer) : createSecureServer(options, answer)
}

/** Reads each ClientHello before the TLS server does, and keeps connections that offer a session away from it. */
function guard(server: Server, onOffer: (socket: Socket) => void): Server {
  return createTcpServer((socket) => {
    socket.once('data', (hello) => {
      if (offersSession(hello)) {
        onOffer(socket)
        return
      }
      socket.pause()
      socket.unshift(hello)
      server.emit('connection', socket)
    })
  })
}
