import { errorMonitor } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { equal } from '../common/bytes.ts'
import { type HostPort, peerOf } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import { type Admission, type AdmissionSettings, admit } from './admission.ts'
import type { Call } from './call.ts'
import { readCertificate, spkiFingerprint } from './certificate.ts'
import { guarded, type Observer } from './events.ts'
import { showChain } from './peer-certificate.ts'
import { provenanceOf, rememberProvenance } from './provenance.ts'
import { setSession, unwrapSession } from './session.ts'
import type { SessionPool } from './session-pool.ts'
import { SocketListeners } from './socket-listeners.ts'
import { sessionToOffer, ticketOf } from './ticket.ts'
import { isInForce, type Trust, trustOfFullHandshake, trustOfResumption } from './verified-handshake.ts'

/** What a connection needs of the process around it. */
export interface Surroundings {
  readonly pool: SessionPool
  readonly settings: AdmissionSettings
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  /** Makes room for a listener of ours at each event, and returns what takes it away. */
  readonly makeRoom: (socket: TLSSocket) => () => void
  /** `setImmediate`. */
  readonly soon: (callback: () => void) => unknown
  /** Calls back once tickets from earlier processes can be had, at once if they can be already. */
  readonly whenReady: (callback: () => void) => void
  /** There is something in the pool to be saved, or a connection that will have done its work soon. */
  readonly changed: (connection?: Connection) => void
}

/** Servers give one to four sessions a connection. One that gives thousands must not hold up the program. */
const MOST_SESSIONS = 16

/**
 * One client connection, from `tls.connect` on. It offers a stored session while that can be done, and keeps the
 * sessions of its first handshake once Node has verified it. Its listeners leave the socket when their work is done.
 */
export class Connection {
  readonly #socket: TLSSocket
  readonly #call: Call
  readonly #admission: Admission
  readonly #around: Surroundings
  readonly #peer: HostPort
  readonly #generation: number
  /** UNIX seconds. */
  readonly #startedAt: number
  /** The ticket that was offered, or that the program itself passed and this process knows. */
  #ticket: StoredTicket | undefined
  /** Its session, as OpenSSL has it. */
  #offered: Uint8Array | undefined
  /** Whether the program passes or sets a session of its own. */
  #isProgramsOwn: boolean
  #reachedServer: boolean
  #isSecure = false
  #isResumed = false
  #trust: Trust | undefined
  #sessions = 0
  #isAsked = false
  /** Sessions wait here until the handshake is verified and the program has had its say. */
  #waiting: Uint8Array[] | undefined = []
  #isFirstHandshake = true
  readonly #listeners: SocketListeners

  /** Looks after `socket` from now on, or says why it is left alone. */
  static attend(socket: TLSSocket, call: Call, around: Surroundings): Connection | undefined {
    const admission = admit(call, around.settings)
    if ('leftAlone' in admission) {
      const { host, port } = call.options
      around.observe('skip', {
        host: String(host ?? ''),
        port: Number(port) || 0,
        reason: admission.leftAlone,
      })
      return undefined
    }
    return new Connection(socket, call, admission, around)
  }

  private constructor(socket: TLSSocket, call: Call, admission: Admission, around: Surroundings) {
    this.#socket = socket
    this.#call = call
    this.#admission = admission
    this.#around = around
    this.#peer = peerOf(String(call.options.host || admission.name), portOf(call.options.port))
    this.#generation = around.pool.generation(this.#peer)
    this.#isProgramsOwn = Boolean(call.options.session)
    this.#reachedServer = !socket.connecting
    this.#startedAt = around.now()
    this.#listeners = new SocketListeners(socket, around.makeRoom)
    this.#listen()
    if (this.#isProgramsOwn) {
      this.#recognise(call.options.session)
      return
    }
    // A socket that is connected already starts its handshake as soon as this call returns.
    let isBeforeHandshake = call.options.socket !== undefined && !socket.connecting
    around.whenReady(guarded(around.observe, () => this.#prepare(isBeforeHandshake)))
    isBeforeHandshake = false
  }

  #listen(): void {
    const guard = (listener: (...args: never[]) => void) => guarded(this.#around.observe, listener.bind(this))
    const listeners = this.#listeners
    listeners.on('session', guard(this.#onSession))
    listeners.onFirst('connect', guard(this.#onConnect))
    listeners.onFirst('secureConnect', guard(this.#onSecureConnect))
    listeners.on(errorMonitor, guard(this.#onFailure))
    listeners.on('end', guard(this.#onEnd))
    listeners.on('close', guard(this.#onClose))
  }

  /**
   * Releases the socket if the server has had the time to send its sessions: it has sent data, which comes after them, or
   * this is asked the second time.
   * @returns whether it did
   */
  settle(): boolean {
    const isSettled = this.#socket.bytesRead > 0 || this.#isAsked
    this.#isAsked = true
    if (isSettled) this.#listeners.removeAll()
    return isSettled
  }

  /** Looks for a ticket while the server is being reached. */
  #prepare(isBeforeHandshake: boolean): void {
    const socket = this.#socket
    if (socket.destroyed || this.#isProgramsOwn) return
    if (!isBeforeHandshake && !socket.connecting) {
      this.#skip('the key came too late for this connection')
      return
    }
    const { pool, now } = this.#around
    this.#ticket = pool.take(this.#peer, this.#admission.binding, (ticket) => {
      this.#offered = sessionToOffer(ticket, this.#admission, now())?.der
      return this.#offered !== undefined
    })
    if (!this.#ticket) this.#skip('no ticket')
    else if (isBeforeHandshake) this.#offer()
  }

  /**
   * Hands the session over, right before the handshake: much may have changed since the call (a slow look-up, a tunnel, a
   * laptop that slept). Later it would break the connection.
   */
  #offer(): void {
    const ticket = this.#ticket
    const offered = this.#offered
    if (!ticket || !offered || this.#isProgramsOwn || this.#socket.destroyed) return
    const reason = this.#whyNotOffered(ticket)
    if (reason !== undefined) {
      this.#ticket = undefined
      this.#offered = undefined
      this.#skip(reason)
      return
    }
    this.#showChain(ticket, offered)
    setSession(this.#socket, offered, this.#admission.name)
    this.#around.observe('offer', { ...this.#peer, protocol: ticket.protocol })
  }

  #whyNotOffered(ticket: StoredTicket): string | undefined {
    const { pool, now } = this.#around
    if (this.#socket.getSession()) {
      this.#isProgramsOwn = true
      pool.giveBack(this.#peer, ticket, this.#generation)
      return 'the program has set a session'
    }
    if (this.#call.context?.isIntact() === false) return 'the secureContext was changed since the call'
    if (!pool.mayReturn(this.#peer, ticket, this.#generation))
      return 'the tickets were invalidated since the call'
    if (!sessionToOffer(ticket, this.#admission, now())) return 'the session has expired since the call'
    return undefined
  }

  #showChain({ certificate, issuers }: StoredTicket, offered: Uint8Array): void {
    const socket = this.#socket
    const isResumed = () => socket.isSessionReused() && (this.#isResumed || isInForce(socket, offered))
    showChain(socket, () => [certificate!, ...(issuers?.() ?? [])], isResumed)
  }

  /** The program passes a session of its own. One that we know is used up by that, and its trust is known. */
  #recognise(session: unknown): void {
    const known = provenanceOf(session)
    if (!known) return
    this.#around.pool.spend(known.peer, known.ticket)
    if (known.ticket.binding !== this.#admission.binding) return
    this.#ticket = known.ticket
    this.#offered = known.session
    this.#showChain(known.ticket, known.session)
  }

  /** Called before Node starts the handshake, since our listener is the first. */
  #onConnect(): void {
    this.#reachedServer = true
    this.#askForSessions()
    this.#offer()
  }

  /** Happy Eyeballs gives the socket a new handle for each address, and Node asks the first one alone for sessions. */
  #askForSessions(): void {
    const nothing = () => {}
    this.#socket.on('session', nothing)
    this.#socket.off('session', nothing)
  }

  #onSecureConnect(): void {
    this.#isSecure = true
    for (const event of ['connect', 'secureConnect']) this.#listeners.off(event)
    const socket = this.#socket
    const { observe, now } = this.#around
    const isResumed = socket.isSessionReused()
    // A renegotiation of TLS 1.2 emits 'session' before its certificate is checked. The session of the first handshake
    // comes in this turn, those of TLS 1.3 may come at any time.
    process.nextTick(() => {
      this.#isFirstHandshake = false
    })
    if (isResumed) observe('resumed', { ...this.#peer, ours: !this.#isProgramsOwn })
    if (!socket.authorized) return
    const trust = isResumed
      ? trustOfResumption(socket, this.#ticket, this.#offered)
      : trustOfFullHandshake(socket, this.#call, this.#admission, now())
    if (typeof trust === 'string') {
      this.#skip(`not kept: ${trust}`)
      return
    }
    this.#isResumed = isResumed
    this.#trust = trust
    // A turn later, since the program may destroy the socket in `secureConnect`: it pins.
    this.#around.soon(guarded(observe, () => this.#onVerified(trust)))
  }

  #onVerified(trust: Trust): void {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    if (this.#socket.destroyed && !this.#socket.readableEnded) {
      this.#trust = undefined
      return
    }
    if (!this.#isResumed) this.#noteKey(trust.certificate)
    for (const session of waiting) this.#keep(session)
    this.#around.changed(this)
  }

  #noteKey(der: Uint8Array): void {
    const spkiFp = spkiFingerprint(readCertificate(der)!)
    const { pool } = this.#around
    if (this.#ticket && !equal(this.#ticket.spkiFp, spkiFp)) pool.invalidate(this.#peer)
    else if (this.#ticket) pool.turnedDown(this.#peer, this.#startedAt)
    pool.sawKey(this.#peer, spkiFp)
    this.#around.changed()
  }

  #onSession(session: Uint8Array): void {
    if (!this.#isSecure || !this.#trust) return
    if (this.#socket.getProtocol() !== 'TLSv1.3' && !this.#isFirstHandshake) return
    if (++this.#sessions > MOST_SESSIONS) this.#listeners.off('session')
    else if (this.#waiting) this.#waiting.push(session)
    else this.#keep(session)
  }

  #keep(bytes: Uint8Array): void {
    const { observe, pool, now, changed } = this.#around
    const trust = this.#trust
    if (!trust) return
    const session = new Uint8Array(unwrapSession(bytes))
    const ticket = ticketOf(session, trust, now())
    if (typeof ticket === 'string') {
      this.#skip(`not kept: ${ticket}`)
      return
    }
    if (this.#isResumed && !pool.mayReturn(this.#peer, ticket, this.#generation)) return
    rememberProvenance({ peer: this.#peer, ticket, session })
    pool.put(this.#peer, ticket)
    observe('harvest', { ...this.#peer, protocol: ticket.protocol })
    changed(this)
  }

  #skip(reason: string): void {
    this.#around.observe('skip', { ...this.#peer, reason })
  }

  /** A server that breaks on a resumption breaks one connection, once: the retry is a full handshake. */
  #blame(): void {
    if (!this.#ticket || !this.#reachedServer) return
    this.#around.pool.invalidate(this.#peer)
    this.#ticket = undefined
    this.#trust = undefined
  }

  /**
   * A server's refusal of a resumption may come after the client's end of the handshake (TLS 1.3): as long as it has
   * sent nothing it has not agreed to it.
   */
  #onFailure(): void {
    if (!this.#isSecure || (this.#isResumed && this.#socket.bytesRead === 0)) this.#blame()
  }

  #onEnd(): void {
    if (!this.#socket.writableEnded) this.#onFailure()
  }

  #onClose(): void {
    const { pool, changed } = this.#around
    // Given up by the program, maybe because the server hung.
    if (this.#reachedServer && !this.#isSecure) this.#blame()
    // A ticket that never left is as good as new. By what was written, too: the program may have removed our listeners.
    else if (this.#ticket && !this.#isSecure && !this.#isProgramsOwn && this.#socket.bytesWritten === 0) {
      pool.giveBack(this.#peer, this.#ticket, this.#generation)
      changed()
    }
    this.#listeners.removeAll()
  }
}

/** 0 where the port cannot be read: a socket handed over by a proxy agent. */
function portOf(value: unknown): number {
  const port = Number(value ?? 0)
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : 0
}
