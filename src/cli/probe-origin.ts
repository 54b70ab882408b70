import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls'
import type { HostPort } from '../host-port.ts'
import { readSession, unwrapSession } from '../tls/session.ts'

/** PEM. */
export interface ClientCertificate {
  readonly cert: Buffer
  readonly key: Buffer
}

/** The cost of a handshake, as medians: milliseconds from the first byte sent, and CPU time of this process. */
export interface Cost {
  readonly handshakeMs: number
  readonly cpuMs: number
  readonly bytesReceived: number
}

export interface Measured {
  readonly address: string
  readonly protocol: string
  readonly rounds: number
  readonly resumedRounds: number
  readonly ticketsPerConnection: number
  readonly lifetimeHintSecs: number | null
  /** Whether ticketkeep keeps sessions of this kind. */
  readonly keepable: boolean
  readonly roundTripMs: number
  readonly full: Cost
  /** Null if no attempt was resumed. */
  readonly resumed: Cost | null
  readonly roundTripsSaved: 0 | 1 | null
}

const TIMEOUT = 10_000
/**
 * How long to wait for the first ticket: milliseconds. TLS 1.3 servers send tickets at any time after the handshake.
 */
const WAIT_FOR_TICKETS = 1000

interface Connection extends Cost {
  readonly address: string
  readonly protocol: string
  readonly roundTripMs: number
  readonly isResumed: boolean
  readonly sessions: readonly Buffer[]
}

/**
 * Connects alternately without and with a ticket, `rounds` times each, after one warm-up connection.
 * @param onRound called before each round with its number, from 1
 */
export async function measureOrigin(
  origin: HostPort,
  rounds: number,
  certificate: ClientCertificate | undefined,
  onRound: (round: number) => void,
): Promise<Measured> {
  await connect(origin, certificate)
  const full: Connection[] = []
  const attempts: Connection[] = []
  for (let round = 0; round < rounds; round++) {
    onRound(round + 1)
    const fresh = await connect(origin, certificate)
    full.push(fresh)
    const session = fresh.sessions.at(-1)
    if (session) attempts.push(await connect(origin, certificate, session))
  }
  const resumed = attempts.filter((attempt) => attempt.isResumed)
  const first = full[0]!
  const session = first.sessions[0] && readSession(unwrapSession(first.sessions[0]))
  return {
    address: first.address,
    protocol: first.protocol,
    rounds,
    resumedRounds: resumed.length,
    ticketsPerConnection: median(full.map(({ sessions }) => sessions.length)),
    lifetimeHintSecs: session?.lifetimeHint || null,
    keepable: session?.extendedMasterSecret === true,
    roundTripMs: median([...full, ...attempts].map(({ roundTripMs }) => roundTripMs)),
    full: cost(full),
    resumed: resumed.length ? cost(resumed) : null,
    roundTripsSaved: resumed.length ? (first.protocol === 'TLSv1.3' ? 0 : 1) : null,
  }
}

async function connect(
  origin: HostPort,
  certificate: ClientCertificate | undefined,
  session?: Buffer,
): Promise<Connection> {
  const started = performance.now()
  const tcp = await opened(
    connectTcp({ ...origin, noDelay: true, timeout: TIMEOUT }),
    'connect',
    'connection',
  )
  const roundTripMs = performance.now() - started
  const before = process.cpuUsage()
  const begun = performance.now()
  const socket = connectTls({
    socket: tcp,
    servername: isIP(origin.host) ? '' : origin.host,
    host: origin.host,
    ALPNProtocols: ['h2', 'http/1.1'],
    // Verify even if NODE_TLS_REJECT_UNAUTHORIZED disables it: ticketkeep keeps nothing from a server that is not
    // verified.
    rejectUnauthorized: true,
    // A custom check makes our own preload, which may be loaded in this process, leave the connection alone.
    checkServerIdentity: (_, certificate) => checkServerIdentity(origin.host, certificate),
    ...certificate,
    ...(session && { session }),
  })
  const sessions: Buffer[] = []
  socket.on('session', (bytes) => {
    // Skips TLS 1.2 sessions without a ticket, which depend on the session cache of one server.
    if (readSession(unwrapSession(bytes))) sessions.push(bytes)
  })
  // In TLS 1.3 the client completes the handshake before the server has checked the client's messages.
  let refused: NodeJS.ErrnoException | undefined
  socket.on('error', (error) => (refused = error))
  await opened(socket, 'secureConnect', 'handshake')
  const handshakeMs = performance.now() - begun
  const { user, system } = process.cpuUsage(before)
  const seen = {
    address: `${tcp.remoteAddress}`,
    protocol: socket.getProtocol() ?? 'unknown',
    roundTripMs,
    handshakeMs,
    cpuMs: (user + system) / 1000,
    bytesReceived: tcp.bytesRead,
    isResumed: socket.isSessionReused(),
    sessions,
  }
  if (!session) await tickets(socket, sessions, roundTripMs)
  await closed(socket, roundTripMs)
  if (/ALERT/.test(refused?.code ?? '') && !session && sessions.length === 0) throw refused
  return seen
}

function opened<T extends Socket | TLSSocket>(socket: T, event: string, what: string): Promise<T> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => {
      socket.destroy()
      fail(Object.assign(new Error(`no ${what} within ${TIMEOUT / 1000} s`), { code: 'ETIMEDOUT' }))
    }, TIMEOUT)
    const settle = (then: () => void) => () => {
      clearTimeout(timer)
      then()
    }
    socket.once(
      event,
      settle(() => done(socket)),
    )
    socket.once('error', (error) => settle(() => fail(error))())
    socket.once(
      'end',
      settle(() => fail(new Error(`the server closed the connection before the ${what} was complete`))),
    )
  })
}

/** Waits for the first ticket, and then for further ones that may follow. */
async function tickets(socket: TLSSocket, sessions: readonly Buffer[], roundTripMs: number): Promise<void> {
  if (sessions.length === 0) {
    await new Promise<void>((done) => {
      const timer = setTimeout(done, Math.max(WAIT_FOR_TICKETS, 4 * roundTripMs))
      for (const event of ['session', 'end', 'error', 'close']) {
        socket.once(event, () => {
          clearTimeout(timer)
          done()
        })
      }
    })
  }
  await new Promise((done) => setTimeout(done, Math.max(10, roundTripMs / 2)))
}

/** Closes cleanly: to the server, a socket that is destroyed immediately can look like a failed handshake. */
async function closed(socket: TLSSocket, roundTripMs: number): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), 100 + 2 * roundTripMs)
  socket.resume().end()
  if (!socket.closed) await new Promise((done) => socket.once('close', done))
  clearTimeout(timer)
}

function cost(connections: readonly Cost[]): Cost {
  const of = (key: keyof Cost) => median(connections.map((connection) => connection[key]))
  return { handshakeMs: of('handshakeMs'), cpuMs: of('cpuMs'), bytesReceived: of('bytesReceived') }
}

/** Rounded to a thousandth of a millisecond, the useful precision of the clock. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 1000) / 1000
}
