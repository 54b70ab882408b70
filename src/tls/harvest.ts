import type { TLSSocket } from 'node:tls'
import type { HostPort } from '../host-port.ts'
import { readCertificate, spkiFingerprint } from './certificate.ts'
import type { Observer } from './events.ts'
import type { OfferedSession } from './offered-session.ts'
import { rememberProvenance } from './provenance.ts'
import { unwrapSession } from './session.ts'
import type { SessionPool } from './session-pool.ts'
import { ticketOf } from './ticket.ts'
import type { Trust } from './verified-handshake.ts'

/** Servers send one to four sessions per connection. A server that sends thousands must not slow the program down. */
const MAX_SESSIONS = 16

/** The usual number over TLS 1.3. After a resumption it is one (OpenSSL, `SSL_CTX_set_num_tickets`). */
const SESSIONS_OF_FULL_HANDSHAKE = 2

/** The connection that the sessions come from, and where they are kept. */
export interface HarvestPlace {
  readonly socket: TLSSocket
  readonly peer: HostPort
  readonly offered: OfferedSession
  readonly pool: SessionPool
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  /** `process.nextTick`. */
  readonly nextTick: (callback: () => void) => void
  /** The pool holds something to save. `isLast`: this connection will probably bring no more. */
  readonly changed: (isLast?: boolean) => void
  /** Why the last event could not be logged, although the administrator requires it. */
  readonly whyNotRecorded: () => string | undefined
}

/**
 * The sessions that one connection receives. They wait until its handshake is verified and the program has had the chance
 * to close the socket. Then they go into the pool.
 */
export class Harvest {
  readonly #place: HarvestPlace
  #trust: Trust | undefined
  #isResumed = false
  #count = 0
  /** The session that we passed to the program because the server sent none. */
  #given: Uint8Array | undefined
  #waiting: Uint8Array[] | undefined = []
  #address: string | undefined

  constructor(place: HarvestPlace) {
    this.#place = place
  }

  /**
   * Sessions that arrive from now on are those of a verified handshake.
   * @param address the server's address; undefined if it is not known
   */
  begin(trust: Trust, isResumed: boolean, address: string | undefined): void {
    this.#trust = trust
    this.#isResumed = isResumed
    this.#address = address
  }

  /** Nothing more is kept. */
  end(): void {
    this.#trust = undefined
  }

  /** @returns whether more may come */
  receive(session: Uint8Array): boolean {
    if (!this.#trust || session === this.#given) return true
    if (++this.#count > MAX_SESSIONS) return false
    if (this.#waiting) this.#waiting.push(session)
    else this.#keep(session)
    return true
  }

  /**
   * The program has had its turn, and the socket is still in use.
   * @param trust that of the handshake, also if the server has ended the connection meanwhile
   */
  commit({ certificate }: Trust): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    if (!this.#isResumed) this.#noteKey(certificate)
    for (const session of waiting) this.#keep(session)
    if (this.#isResumed && waiting.length === 0) this.#giveSession()
  }

  #noteKey(der: Uint8Array): void {
    const { peer, offered, pool } = this.#place
    const spkiFp = spkiFingerprint(readCertificate(der)!)
    offered.turnedDown(spkiFp)
    pool.sawKey(peer, spkiFp)
  }

  /**
   * Many servers send no new session when they resume one (all with TLS 1.2, Node's own with TLS 1.3). A program that
   * keeps sessions itself, in an agent or a pool, would then have none for its next connections.
   */
  #giveSession(): void {
    const { socket, offered, nextTick } = this.#place
    const isAwaited = socket.listenerCount('session') > 1 // one of them is ours
    const session = isAwaited ? offered.forProgram() : undefined
    if (!session) return
    this.#given = session
    // On the next tick, so that an exception from the program's listeners reaches the program and not our guard.
    nextTick(() => socket.emit('session', session))
  }

  #keep(bytes: Uint8Array): void {
    const { peer, offered, pool, observe, now, changed, whyNotRecorded } = this.#place
    const trust = this.#trust
    if (!trust) return
    const session = new Uint8Array(unwrapSession(bytes))
    const ticket = ticketOf(session, trust, now(), this.#address)
    if (typeof ticket === 'string') {
      observe('skip', { ...peer, reason: `not kept: ${ticket}` })
      return
    }
    if (this.#isResumed && !offered.mayReturn(ticket)) return
    observe('harvest', { ...peer, protocol: ticket.protocol })
    if (whyNotRecorded() !== undefined) return
    rememberProvenance({ peer, ticket, session })
    pool.put(peer, ticket)
    const isSingle = this.#isResumed || ticket.protocol === 'TLSv1.2'
    changed(isSingle || this.#count >= SESSIONS_OF_FULL_HANDSHAKE)
  }
}
