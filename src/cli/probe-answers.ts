import { request } from 'node:https'
import { checkServerIdentity, type TLSSocket } from 'node:tls'
import type { HostPort } from '../host-port.ts'
import type { ClientCertificate } from './probe-origin.ts'

/** A server's answers to the same request with the same client certificate. */
export interface Answers {
  /** The HTTP status over a connection with a full handshake. */
  readonly full: number
  /** The HTTP status over a resumed connection, or the error code if it failed. Null if nothing was resumed. */
  readonly resumed: number | string | null
}

/** Milliseconds. */
const TIMEOUT = 10_000

/** Asks at most `attempts` times, until a connection is resumed. */
export async function compareAnswers(
  origin: HostPort,
  path: string,
  certificate: ClientCertificate,
  attempts: number,
): Promise<Answers> {
  const ask = (session?: Buffer) => answer(origin, path, certificate, session)
  let { status: full, session } = await ask()
  for (let attempt = 0; session && attempt < attempts; attempt++) {
    const second = await ask(session).catch((error: NodeJS.ErrnoException) => error)
    if (second instanceof Error) return { full, resumed: second.code ?? second.message }
    if (second.isResumed) return { full, resumed: second.status }
    full = second.status
    session = second.session
  }
  return { full, resumed: null }
}

interface Answer {
  readonly status: number
  readonly isResumed: boolean
  /** The last session that the server sent. */
  readonly session: Buffer | undefined
}

/** Sends one GET on a new connection. */
function answer(
  origin: HostPort,
  path: string,
  certificate: ClientCertificate,
  session: Buffer | undefined,
): Promise<Answer> {
  return new Promise((done, fail) => {
    let isResumed = false
    let last: Buffer | undefined
    const asked = request({
      ...origin,
      ...certificate,
      path,
      ...(session && { session }),
      agent: false,
      timeout: TIMEOUT,
      rejectUnauthorized: true,
      // As in `probe-origin.ts`, this makes our own preload leave the connection alone.
      checkServerIdentity: (_, shown) => checkServerIdentity(origin.host, shown),
    })
    asked.on('socket', (socket) => {
      socket.on('session', (bytes: Buffer) => (last = bytes))
      socket.on('secureConnect', () => (isResumed = (socket as TLSSocket).isSessionReused()))
    })
    asked.on('timeout', () => asked.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })))
    asked.on('error', fail)
    asked.on('response', (response) => {
      response.destroy()
      done({ status: response.statusCode ?? 0, isResumed, session: last })
    })
    asked.end()
  })
}
