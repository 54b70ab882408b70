import { errorMonitor } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { elapsed } from '../common/clock.ts'
import { type HostPort, peerOf } from '../host-port.ts'
import { type Admission, type AdmissionSettings, admit } from './admission.ts'
import type { Call } from './call.ts'
import { guarded, type Observer } from './events.ts'
import type { FailingServers } from './failing-servers.ts'
import { Harvest } from './harvest.ts'
import { groupOf, groupsOfNode } from './key-exchange-groups.ts'
import { OfferedSession } from './offered-session.ts'
import type { PeerKnowledge } from './peer-knowledge.ts'
import { asNodeHasIt } from './session.ts'
import type { SessionPool } from './session-pool.ts'
import { SocketListeners } from './socket-listeners.ts'
import { hasMethods } from './socket-methods.ts'
import { type Taken, takeSession } from './take-session.ts'
import { type Trust, trustOfFullHandshake, trustOfResumption } from './verified-handshake.ts'

/** What a connection uses that belongs to the whole process. */
export interface Surroundings {
  readonly pool: SessionPool
  readonly failing: FailingServers
  readonly knowledge: PeerKnowledge
  readonly settings: AdmissionSettings
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  /** Raises the listener limit above which Node warns, and returns a function that undoes this. */
  readonly makeRoom: (socket: TLSSocket) => () => void
  /** The server name that the ClientHello will contain. Undefined if it is not known. */
  readonly serverNameOf: (socket: TLSSocket, wanted: unknown) => unknown
  /** `process.nextTick`. */
  readonly nextTick: (callback: () => void) => void
  /** `setImmediate`. */
  readonly soon: (callback: () => void) => unknown
  /** Calls back when tickets from earlier processes are available: immediately if they already are. */
  readonly whenReady: (callback: () => void) => void
  /** Why the last event could not be logged, although the administrator requires it. */
  readonly whyNotRecorded: () => string | undefined
  /** Reports a handshake and its duration for the administrator's statistics. */
  readonly handshake?: ((isResumed: boolean, milliseconds: number) => void) | undefined
  /** Called when the pool has something to save. `isLast`: this connection is unlikely to bring more. */
  readonly changed: (isLast?: boolean) => void
  /** Called when a connection is verified: it has brought its tickets, or will soon. */
  readonly verified: (connection: Connection) => void
}

/** A server that closes a connection later than this after the handshake has not rejected the session: milliseconds. */
const PROMPT = 1_000

/**
 * One attended client connection, from the call of `tls.connect`. It offers a stored session while that is still
 * possible, and keeps the sessions of the first handshake after Node has verified it. It removes its listeners from the
 * socket when it is done.
 */
export class Connection {
  readonly socket: TLSSocket
  readonly #call: Call
  readonly #admission: Admission
  readonly #around: Surroundings
  readonly #peer: HostPort
  readonly #offered: OfferedSession
  readonly #harvest: Harvest
  readonly #listeners: SocketListeners
  #reachedServer: boolean
  /** Whether tickets from earlier processes are available. */
  #isReady = false
  /** Whether a ticket has been looked for. */
  #isPrepared = false
  /** The address that the socket connects to. Undefined if it is not known, for example behind a proxy. */
  #address: string | undefined
  /** When the socket connected, if that was seen: milliseconds of `elapsed`, like the next field. */
  #connectedAt: number | undefined
  /** When the handshake completed: milliseconds of `elapsed`, a clock that cannot be set. */
  #secureAt: number | undefined
  #isFirstHandshake = true
  #isResumed = false
  /** Whether Node rejected the server's certificate. */
  #isRefused = false
  #isAsked = false

  /**
   * Attends `socket` from now on, or reports why it is left alone.
   * @param address the address that the socket connects to, if it is already known
   */
  static attend(
    socket: TLSSocket,
    call: Call,
    around: Surroundings,
    address?: string,
  ): Connection | undefined {
    const admission = admitted(call, around)
    return admission && new Connection(socket, call, admission, around, { address })
  }

  /**
   * Like `attend`, for a socket that `make` creates over one that is already connected. Its handshake starts before
   * `make` returns, so the session must be one of the options of that call.
   */
  static attendNew<T>(call: Call, around: Surroundings, make: (session?: Buffer) => T) {
    const { observe } = around
    let admission: Admission | undefined
    let early: Early | undefined
    guarded(observe, () => {
      admission = admitted(call, around)
      if (admission && !call.options.session) early = takeEarly(call, admission, around)
    })()
    let made: T
    const session = early?.taken && asNodeHasIt(early.taken.session.der, admission!.name)
    try {
      made = make(session)
    } catch (error) {
      if (early?.taken) around.pool.put(peerOfCall(call, admission!), early.taken.ticket)
      throw error
    } finally {
      // Node has read it, but keeps it among the options of the socket, where it would be printed and logged.
      session?.fill(0)
    }
    let connection: Connection | undefined
    guarded(observe, () => {
      if (admission) connection = new Connection(made as TLSSocket, call, admission, around, { early })
    })()
    return { made, connection }
  }

  private constructor(
    socket: TLSSocket,
    call: Call,
    admission: Admission,
    around: Surroundings,
    { address, early }: { readonly address?: string | undefined; readonly early?: Early | undefined } = {},
  ) {
    this.socket = socket
    this.#call = call
    this.#admission = admission
    this.#around = around
    this.#peer = peerOfCall(call, admission)
    this.#offered = new OfferedSession(
      { socket, call, admission, peer: this.#peer, ...around },
      Boolean(call.options.session),
    )
    this.#harvest = new Harvest({ socket, peer: this.#peer, offered: this.#offered, ...around })
    this.#reachedServer = !socket.connecting
    this.#address = address
    this.#listeners = new SocketListeners(socket, around.makeRoom)
    this.#listen()
    if (this.#offered.isProgramsOwn) {
      this.#offered.recognise(call.options.session)
      return
    }
    if (early) {
      if (early.taken) this.#offered.handedOver(early.taken)
      else this.#skip(early.reason)
      if (early.isServerLeftAlone) this.#release()
      return
    }
    // A socket that is already connected starts its handshake as soon as this call returns.
    let isBeforeHandshake = this.#isOverSocket && !socket.connecting
    around.whenReady(
      guarded(around.observe, () => {
        this.#isReady = true
        if (isBeforeHandshake) {
          this.#prepare()
          this.#offered.offerInCall()
        } else if (!socket.connecting) {
          if (!socket.destroyed && !this.#offered.isProgramsOwn) this.#skip(TOO_LATE)
        } else if (this.#isOverSocket || this.#address !== undefined) {
          // Otherwise wait: the first address to be tried will be known soon.
          this.#prepare()
        }
      }),
    )
    isBeforeHandshake = false
  }

  /**
   * Whether the connection runs over a socket that the program made. Only the program knows whose address such a socket
   * has.
   */
  get #isOverSocket(): boolean {
    return this.#call.options.socket !== undefined
  }

  #listen(): void {
    const guard = (listener: (...args: never[]) => void) => guarded(this.#around.observe, listener.bind(this))
    const listeners = this.#listeners
    listeners.on('session', guard(this.#onSession))
    if (!this.#isOverSocket) listeners.on('connectionAttempt', guard(this.#onAttempt))
    this.#call.beforeHandshake?.call(guard(this.#onConnect))
    listeners.onFirst('secureConnect', guard(this.#onSecureConnect))
    listeners.on(errorMonitor, guard(this.#onError))
    listeners.on('end', guard(this.#onEnd))
    listeners.on('close', guard(this.#onClose))
  }

  /** Whether its handshake has not completed yet. */
  get isConnecting(): boolean {
    return this.#secureAt === undefined && !this.socket.destroyed
  }

  /**
   * Releases the socket if the server has had time to send its sessions: it has sent data, which follows the sessions,
   * or this is the second call.
   * @returns whether the socket was released
   */
  settle(): boolean {
    const isSettled = this.socket.bytesRead > 0 || this.#isAsked
    this.#isAsked = true
    if (isSettled) {
      if (this.socket.bytesRead > 0) this.#around.pool.used(this.#peer, true)
      this.#offered.served()
      this.#release()
    }
    return isSettled
  }

  /** Called when the program closes the socket, or exits while it is open. */
  ended(): void {
    const hasRead = this.socket.bytesRead > 0
    if (hasRead || this.#isResumed) this.#around.pool.used(this.#peer, hasRead)
  }

  /** Happy Eyeballs (RFC 8305) tries one address after the other. */
  #onAttempt(address: string): void {
    // By the next tick, the first packet has been sent.
    this.#around.nextTick(
      guarded(this.#around.observe, () => {
        if (!this.socket.connecting || address === this.#address) return
        this.#address = address
        if (this.#isReady) this.#prepare()
      }),
    )
  }

  /** Looks for a ticket while the socket is connecting. */
  #prepare(): void {
    this.#isPrepared = true
    if (this.socket.destroyed || this.#offered.isProgramsOwn) return
    const reason = this.#around.failing.whyLeftAlone(this.#peer)
    const whyNone = reason ?? this.#offered.take(this.#address)
    if (whyNone !== undefined) this.#skip(whyNone)
    if (reason !== undefined) this.#release()
  }

  /** Called just before Node starts the handshake (`BeforeHandshake`). */
  #onConnect(): void {
    this.#reachedServer = true
    this.#connectedAt = elapsed()
    this.#askForSessions()
    this.#listeners.off('connectionAttempt')
    const address = this.#isOverSocket ? undefined : this.socket.remoteAddress
    // The attempt was not seen because the program's own `lookup` answered immediately, or the address was spelled
    // differently.
    if (this.#isReady && (!this.#isPrepared || address !== this.#address)) {
      this.#address = address
      this.#prepare()
    }
    this.#address = address
    this.#offered.reached(address)
    this.#offered.offer()
  }

  /**
   * Happy Eyeballs gives the socket a new handle for each address, but Node enables session events only on the first
   * one. Adding a listener enables them on the current handle.
   */
  #askForSessions(): void {
    const nothing = () => {}
    this.socket.on('session', nothing)
    this.socket.off('session', nothing)
  }

  #onSecureConnect(): void {
    this.#secureAt = elapsed()
    const offered = this.#offered
    offered.answered()
    this.#listeners.off('secureConnect')
    const socket = this.socket
    const { observe, nextTick } = this.#around
    const isResumed = offered.isResumed()
    // A TLS 1.2 renegotiation emits 'session' before its certificate is checked. The TLS 1.2 session of the first
    // handshake arrives in this turn. Sessions of TLS 1.3 may arrive at any time.
    nextTick(() => {
      this.#isFirstHandshake = false
    })
    const isOurs = !(isResumed && offered.isProgramsOwn)
    if (this.#connectedAt !== undefined && isOurs)
      this.#around.handshake?.(isResumed, this.#secureAt - this.#connectedAt)
    if (isResumed) observe('resumed', { ...this.#peer, ours: !offered.isProgramsOwn })
    if (!socket.authorized) return
    const trust = this.#trustOf(isResumed)
    if (typeof trust === 'string') {
      this.#skip(`not kept: ${trust}`)
      return
    }
    this.#isResumed = isResumed
    if (isResumed) offered.resumed()
    this.#harvest.begin(trust, isResumed, this.#address)
    // One turn later, because a program that pins certificates may destroy the socket in `secureConnect`.
    this.#around.soon(guarded(observe, () => this.#onVerified(trust)))
  }

  #trustOf(isResumed: boolean): Trust | string {
    const { methods } = this.#call.state
    if (!this.#call.isUnchanged()) return 'the options were changed during the handshake'
    if (!hasMethods(this.socket, methods)) return 'a method of the socket was replaced during the handshake'
    const wanted = this.#call.options.servername || false
    if (this.#around.serverNameOf(this.socket, wanted) !== wanted)
      return 'the server name was changed during the handshake'
    const { ticket, session } = this.#offered
    return isResumed
      ? trustOfResumption(this.socket, ticket, session, methods.getSession)
      : trustOfFullHandshake(this.socket, this.#call, this.#admission, this.#around.now())
  }

  #onVerified(trust: Trust): void {
    if (this.socket.destroyed && !this.socket.readableEnded) {
      this.#harvest.end()
      return
    }
    // If the program chose the groups, the server's choice does not show which group it would otherwise ask for.
    if (groupsOfNode(this.#call)) this.#around.knowledge.sawGroup(this.#peer, groupOf(this.socket))
    this.#harvest.commit(trust)
    this.#around.verified(this)
  }

  #onSession(session: Uint8Array): void {
    if (this.#secureAt === undefined) return
    if (this.socket.getProtocol() !== 'TLSv1.3' && !this.#isFirstHandshake) return
    if (!this.#harvest.receive(session)) this.#listeners.off('session')
  }

  /** Removes all our listeners from the socket. */
  #release(): void {
    this.#call.beforeHandshake?.cancel()
    this.#listeners.removeAll()
  }

  #skip(reason: string): void {
    this.#around.observe('skip', { ...this.#peer, reason })
  }

  /**
   * In TLS 1.3 a server may reject a resumption after the client has completed the handshake. Until the server has sent
   * data, it has not accepted the resumption.
   */
  #onFailure(reason: string | undefined): void {
    const isRefusal = this.#isResumed && this.socket.bytesRead === 0 && elapsed() - this.#secureAt! < PROMPT
    if (!this.#reachedServer || (this.#secureAt !== undefined && !isRefusal)) return
    if (this.#call.isGroupChosen && this.#secureAt === undefined && !this.#isRefused)
      this.#around.knowledge.groupFailed(this.#peer)
    this.#offered.failed(reason)
    this.#harvest.end()
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.socket.authorizationError) {
      this.#isRefused = true
      this.#offered.refused()
    }
    this.#onFailure(failureOf(error))
  }

  #onEnd(): void {
    if (!this.socket.writableEnded) this.#onFailure('connection closed')
  }

  #onClose(): void {
    this.ended()
    // The program may have closed the connection because the server did not respond.
    if (this.#secureAt === undefined && this.#reachedServer) this.#onFailure(undefined)
    // `bytesWritten` is checked as well, because the program may have removed our listeners.
    else if (this.#secureAt === undefined && this.socket.bytesWritten === 0 && this.#offered.giveBack())
      this.#around.changed()
    this.#release()
  }
}

/** The result of looking for a ticket before the socket is made. */
type Early =
  | { readonly taken: Taken; readonly isServerLeftAlone?: undefined }
  | { readonly taken?: undefined; readonly reason: string; readonly isServerLeftAlone: boolean }

function takeEarly(call: Call, admission: Admission, around: Surroundings): Early {
  const nothing = (reason: string, isServerLeftAlone = false) => ({ reason, isServerLeftAlone })
  let early: Early | undefined
  around.whenReady(() => {
    if (early) return
    const peer = peerOfCall(call, admission)
    const reason = around.failing.whyLeftAlone(peer)
    const taken = reason ?? takeSession(peer, call, admission, around)
    early = typeof taken === 'string' ? nothing(taken, reason !== undefined) : { taken }
  })
  return (early ??= nothing(TOO_LATE))
}

const TOO_LATE = 'the key came too late for this connection'

/** The trust of a connection that is attended. Undefined if it is left alone, which is reported with the reason. */
function admitted(call: Call, { settings, observe }: Surroundings): Admission | undefined {
  const admission = admit(call, settings)
  if (!('leftAlone' in admission)) return admission
  const { host, port } = call.options
  observe('skip', { host: String(host ?? ''), port: Number(port) || 0, reason: admission.leftAlone })
  return undefined
}

/** The peer that its tickets are stored under. */
export const peerOfCall = ({ options }: Pick<Call, 'options'>, { name }: Pick<Admission, 'name'>): HostPort =>
  peerOf(String(options.host || name), portOf(options.port))

/**
 * The code of an error that the server or the network caused. Undefined for an error that the program made, such as its
 * own timeout.
 */
function failureOf(error: NodeJS.ErrnoException): string | undefined {
  const { code, syscall } = error
  if (typeof code !== 'string' || !/^\w{1,64}$/.test(code)) return undefined
  const isNodes = syscall !== undefined || 'host' in error || code.startsWith('ERR_SSL_')
  return isNodes ? code : undefined
}

/** 0 if the port is not known, as for a socket passed on by a proxy agent. */
function portOf(value: unknown): number {
  const port = Number(value ?? 0)
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : 0
}
