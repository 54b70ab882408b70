import { isIP, type Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { makeAttended } from './attend.ts'
import { splitOptions, type TicketOptions } from './options.ts'

/** The options of undici's `buildConnector`, which include those of `tls.connect`, and those of {@link TicketOptions}. */
export type TicketConnectorOptions = ConnectionOptions &
  TicketOptions & {
    /** Offer HTTP/2, too. Default: false. */
    readonly allowH2?: boolean
    /** With `0`, no session is kept in memory or on disk. Other numbers have no effect. */
    readonly maxCachedSessions?: number
    /** Milliseconds that a connection may take. 0: no limit. Default: 10,000. */
    readonly timeout?: number
    /** Whether TCP keeps an idle connection alive. Default: true. */
    readonly keepAlive?: boolean
    /** Milliseconds before the first probe on an idle connection. Default: 60,000. */
    readonly keepAliveInitialDelay?: number
    /** The path of a Unix socket, in the place of host and port. */
    readonly socketPath?: string
  }

/**
 * A function that undici calls for each new connection (undici's documentation, `connect` of `Client`).
 *
 * @param target what to connect to. With `httpSocket`, the connection is made over that socket
 * @param callback called once, with the socket or with the error. After `timeout` the code of the error is
 *   `UND_ERR_CONNECT_TIMEOUT`, as with undici's own connector
 * @returns the socket, which is not connected yet
 */
export type TicketConnector = (target: Target, callback: OnConnection) => Socket

/**
 * What undici asks a connector for.
 * @inline
 */
interface Target {
  readonly hostname: string
  readonly host?: string
  readonly protocol: string
  readonly port?: string | number
  readonly servername?: string | null
  readonly localAddress?: string | null
  /** A connected socket to make a TLS connection over. */
  readonly httpSocket?: Socket
}

/** @inline */
type OnConnection = (...args: [error: null, socket: Socket] | [error: Error, socket: null]) => void

/** As undici's own. */
const TIMEOUT = 10_000
const KEEP_ALIVE_DELAY = 60_000
const HIGH_WATER_MARK = 16_384

/**
 * A connector for undici that resumes sessions of earlier processes. It takes the options of undici's own `buildConnector`.
 *
 * @param options those of `buildConnector` (undici's documentation), of `tls.connect`, and of {@link TicketOptions}
 * @returns a function for the option `connect` of a dispatcher
 * @throws {TicketkeepError} `ERR_INVALID_SETTING` if an option of {@link TicketOptions} has an invalid value
 * @example setGlobalDispatcher(new Agent({ connect: ticketConnector() })) // for undici's fetch
 */
export function ticketConnector(options: TicketConnectorOptions = {}): TicketConnector {
  const { given, own } = splitOptions(options)
  const { allowH2 = false, timeout, keepAlive, keepAliveInitialDelay, socketPath, ...others } = given

  return (target, callback) => {
    const isTls = target.protocol === 'https:'
    const { hostname: host, httpSocket, localAddress } = target
    const port = Number(target.port || (isTls ? 443 : 80))
    const where = {
      ...others,
      ...(socketPath !== undefined && { path: socketPath }),
      ...(localAddress && { localAddress }),
      host,
      port,
    }
    const socket: Socket = isTls
      ? makeAttended(
          {
            highWaterMark: HIGH_WATER_MARK,
            ...where,
            servername: target.servername || others.servername || nameOf(target),
            ALPNProtocols: allowH2 ? ['http/1.1', 'h2'] : ['http/1.1'],
            ...(httpSocket && { socket: httpSocket }),
          } as ConnectionOptions,
          own,
          (all) => process.getBuiltinModule('node:tls').connect(all),
        )
      : process.getBuiltinModule('node:net').connect(where)
    if (keepAlive ?? true) socket.setKeepAlive(true, keepAliveInitialDelay ?? KEEP_ALIVE_DELAY)
    reportOnce(socket.setNoDelay(true), isTls ? 'secureConnect' : 'connect', timeout ?? TIMEOUT, callback)
    return socket
  }
}

/** The name of a URL's host, without its port; none for an address. */
function nameOf({ host, hostname }: Target): string {
  const name = (host ?? hostname).replace(/:\d+$/, '')
  return isIP(name.replace(/^\[|\]$/g, '')) ? '' : name
}

/** Calls back once, with the socket or with what went wrong. */
function reportOnce(socket: Socket, event: string, timeout: number, callback: OnConnection): void {
  let isDone = false
  const done = (error: Error | null) => {
    clearTimeout(timer)
    if (isDone) return
    isDone = true
    if (error) callback(error, null)
    else callback(null, socket)
  }
  const timer =
    timeout > 0 ? setTimeout(() => socket.destroy(new ConnectTimeoutError(timeout)), timeout) : undefined
  socket.once(event, () => done(null)).on('error', done)
}

/** By the code of undici's own. */
class ConnectTimeoutError extends Error {
  override readonly name = 'ConnectTimeoutError'
  readonly code = 'UND_ERR_CONNECT_TIMEOUT'

  constructor(timeout: number) {
    super(`Connect Timeout Error (timeout: ${timeout}ms)`)
  }
}
