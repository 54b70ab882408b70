import { request } from 'node:https'
import { checkServerIdentity, type TLSSocket } from 'node:tls'
import type { HostPort } from '../host-port.ts'
import type { ClientCertificate } from './probe-origin.ts'

/** What a server answers to the same request, with the same client certificate. */
export interface Answers {
  /** HTTP status over a connection with a full handshake. */
  readonly full: number
  /** Over a resumed one; the code of the error where it broke, and null where nothing was resumed. */
  readonly resumed: number | string | null
}

/** Milliseconds. */
const TIMEOUT = 10_000

/** Asks `attempts` times at most, until a connection was resumed. */
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
  /** The last one that the server gave. */
  readonly session: Buffer | undefined
}

/** One GET on a connection of its own. */
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
      // As in `probe-origin.ts`: our own preload leaves the connection alone.
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
