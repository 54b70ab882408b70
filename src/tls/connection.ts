import { errorMonitor } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { elapsed } from '../common/clock.ts'
import { type HostPort, peerOf } from '../host-port.ts'
import { type Admission, type AdmissionSettings, admit } from './admission.ts'
import type { Call } from './call.ts'
import { readCertificate, spkiFingerprint } from './certificate.ts'
import { guarded, type Observer } from './events.ts'
import type { FailingServers } from './failing-servers.ts'
import { groupOf, groupsOfNode } from './key-exchange-groups.ts'
import { OfferedSession, type Taken, takeSession } from './offered-session.ts'
import type { PeerKnowledge } from './peer-knowledge.ts'
import { rememberProvenance } from './provenance.ts'
import { asNodeHasIt, unwrapSession } from './session.ts'
import type { SessionPool } from './session-pool.ts'
import { SocketListeners } from './socket-listeners.ts'
import { hasMethods } from './socket-methods.ts'
import { ticketOf } from './ticket.ts'
import { type Trust, trustOfFullHandshake, trustOfResumption } from './verified-handshake.ts'

/** What a connection needs of the process around it. */
export interface Surroundings {
  readonly pool: SessionPool
  readonly failing: FailingServers
  readonly knowledge: PeerKnowledge
  readonly settings: AdmissionSettings
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  /** Makes room for a listener of ours at each event, and returns what takes it away. */
  readonly makeRoom: (socket: TLSSocket) => () => void
  /** The name that the ClientHello will ask for; undefined where that is not known. */
  readonly serverNameOf: (socket: TLSSocket, wanted: unknown) => unknown
  /** `process.nextTick`. */
  readonly nextTick: (callback: () => void) => void
  /** `setImmediate`. */
  readonly soon: (callback: () => void) => unknown
  /** Calls back once tickets from earlier processes can be had, at once if they can be already. */
  readonly whenReady: (callback: () => void) => void
  /** For the administrator's figures: a handshake, and how long it took. */
  readonly handshake?: ((isResumed: boolean, milliseconds: number) => void) | undefined
  /** There is something in the pool to be saved; `isLast`: and this connection will hardly bring more. */
  readonly changed: (isLast?: boolean) => void
  /** A connection has brought its tickets, or will soon. */
  readonly verified: (connection: Connection) => void
}

/** Servers give one to four sessions a connection. One that gives thousands must not hold up the program. */
const MAX_SESSIONS = 16

/** Over TLS 1.3, as a rule; one after a resumption (OpenSSL, `SSL_CTX_set_num_tickets`). */
const SESSIONS_OF_FULL_HANDSHAKE = 2

/** A server that ends a connection later than this after the handshake had no quarrel with it: milliseconds. */
const PROMPT = 1_000

/**
 * One client connection, from `tls.connect` on. It offers a stored session while that can be done, and keeps the
 * sessions of its first handshake once Node has verified it. Its listeners leave the socket when their work is done.
 */
export class Connection {
  readonly socket: TLSSocket
  readonly #call: Call
  readonly #admission: Admission
  readonly #around: Surroundings
  readonly #peer: HostPort
  readonly #offered: OfferedSession
  readonly #listeners: SocketListeners
  #reachedServer: boolean
  /** Whether tickets from earlier processes can be had. */
  #isReady = false
  /** Whether a ticket was looked for. */
  #isPrepared = false
  /** The address that is being reached; undefined where it is not known, behind proxies for one. */
  #address: string | undefined
  /** When it began, where that was seen, by the same clock as the next. */
  #connectedAt: number | undefined
  /** When the handshake was done: milliseconds, by a clock that nobody sets. */
  #secureAt: number | undefined
  #isFirstHandshake = true
  #isResumed = false
  /** Whether Node has refused the server. */
  #isRefused = false
  #trust: Trust | undefined
  #sessions = 0
  /** What we have given to the program in the place of a session from the server. */
  #given: Uint8Array | undefined
  /** Sessions wait here until the handshake is verified and the program has had its say. */
  #waiting: Uint8Array[] | undefined = []
  #isAsked = false

  /**
   * Looks after `socket` from now on, or says why it is left alone.
   * @param address the one that is being reached, where that is known already
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
   * The same for a socket that `make` is to make over one that is connected already. Its handshake starts before `make`
   * returns, so the session is an option of that call.
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
    try {
      made = make(early?.taken && asNodeHasIt(early.taken.session.der, admission!.name))
    } catch (error) {
      if (early?.taken) around.pool.put(peerOfCall(call, admission!), early.taken.ticket)
      throw error
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
    // A socket that is connected already starts its handshake as soon as this call returns.
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
          // Otherwise the address that is tried first is known soon.
          this.#prepare()
        }
      }),
    )
    isBeforeHandshake = false
  }

  /** Over a socket that the program has made: what its address is the address of, only the program knows. */
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

  /** Whether its handshake is still to be done. */
  get isConnecting(): boolean {
    return this.#secureAt === undefined && !this.socket.destroyed
  }

  /**
   * Releases the socket if the server has had the time to send its sessions: it has sent data, which comes after them, or
   * this is asked the second time.
   * @returns whether it did
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

  /** The program has closed the socket, or ends while it is open. */
  ended(): void {
    const hasRead = this.socket.bytesRead > 0
    if (hasRead || this.#isResumed) this.#around.pool.used(this.#peer, hasRead)
  }

  /** Happy Eyeballs tries one address after the other. */
  #onAttempt(address: string): void {
    // The first packet is on its way then.
    this.#around.nextTick(
      guarded(this.#around.observe, () => {
        if (!this.socket.connecting || address === this.#address) return
        this.#address = address
        if (this.#isReady) this.#prepare()
      }),
    )
  }

  /** Looks for a ticket while the server is being reached. */
  #prepare(): void {
    this.#isPrepared = true
    if (this.socket.destroyed || this.#offered.isProgramsOwn) return
    const reason = this.#around.failing.whyLeftAlone(this.#peer)
    const whyNone = reason ?? this.#offered.take(this.#address)
    if (whyNone !== undefined) this.#skip(whyNone)
    if (reason !== undefined) this.#release()
  }

  /** Called before Node starts the handshake, since our listener is the first. */
  #onConnect(): void {
    this.#reachedServer = true
    this.#connectedAt = elapsed()
    this.#askForSessions()
    this.#listeners.off('connectionAttempt')
    const address = this.#isOverSocket ? undefined : this.socket.remoteAddress
    // The program's own `lookup` was so quick that the attempt was not seen, or has spelled the address in another way.
    if (this.#isReady && (!this.#isPrepared || address !== this.#address)) {
      this.#address = address
      this.#prepare()
    }
    this.#address = address
    this.#offered.reached(address)
    this.#offered.offer()
  }

  /** Happy Eyeballs gives the socket a new handle for each address, and Node asks the first one alone for sessions. */
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
    // A renegotiation of TLS 1.2 emits 'session' before its certificate is checked. The session of the first handshake
    // comes in this turn, those of TLS 1.3 may come at any time.
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
    this.#trust = trust
    // A turn later, since the program may destroy the socket in `secureConnect`: it pins.
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
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    if (this.socket.destroyed && !this.socket.readableEnded) {
      this.#trust = undefined
      return
    }
    if (!this.#isResumed) this.#noteKey(trust.certificate)
    // Of groups that the program has chosen the server may have taken one that it would not ask for.
    if (groupsOfNode(this.#call)) this.#around.knowledge.sawGroup(this.#peer, groupOf(this.socket))
    for (const session of waiting) this.#keep(session)
    if (this.#isResumed && waiting.length === 0) this.#giveSession()
    this.#around.verified(this)
  }

  /**
   * Many servers send no session as they resume one (all with TLS 1.2, Node's own with TLS 1.3). A program that keeps
   * sessions of its own, an agent or a pool, would have none for its next connections.
   */
  #giveSession(): void {
    const { socket } = this
    const isAwaited = socket.listenerCount('session') > 1 // ours is one
    const session = isAwaited ? this.#offered.forProgram() : undefined
    if (!session) return
    this.#given = session
    // What the program's listeners throw is the program's.
    this.#around.nextTick(() => socket.emit('session', session))
  }

  #noteKey(der: Uint8Array): void {
    const spkiFp = spkiFingerprint(readCertificate(der)!)
    this.#offered.turnedDown(spkiFp)
    this.#around.pool.sawKey(this.#peer, spkiFp)
  }

  #onSession(session: Uint8Array): void {
    if (this.#secureAt === undefined || !this.#trust || session === this.#given) return
    if (this.socket.getProtocol() !== 'TLSv1.3' && !this.#isFirstHandshake) return
    if (++this.#sessions > MAX_SESSIONS) this.#listeners.off('session')
    else if (this.#waiting) this.#waiting.push(session)
    else this.#keep(session)
  }

  #keep(bytes: Uint8Array): void {
    const { observe, pool, now, changed } = this.#around
    const trust = this.#trust
    if (!trust) return
    const session = new Uint8Array(unwrapSession(bytes))
    const ticket = ticketOf(session, trust, now(), this.#address)
    if (typeof ticket === 'string') {
      this.#skip(`not kept: ${ticket}`)
      return
    }
    if (this.#isResumed && !this.#offered.mayReturn(ticket)) return
    rememberProvenance({ peer: this.#peer, ticket, session })
    pool.put(this.#peer, ticket)
    observe('harvest', { ...this.#peer, protocol: ticket.protocol })
    const isSingle = this.#isResumed || ticket.protocol === 'TLSv1.2'
    changed(isSingle || this.#sessions >= SESSIONS_OF_FULL_HANDSHAKE)
  }

  /** Nothing of ours is left on the socket. */
  #release(): void {
    this.#call.beforeHandshake?.cancel()
    this.#listeners.removeAll()
  }

  #skip(reason: string): void {
    this.#around.observe('skip', { ...this.#peer, reason })
  }

  /**
   * A server's refusal of a resumption may come after the client's end of the handshake (TLS 1.3): as long as it has
   * sent nothing it has not agreed to it.
   */
  #onFailure(reason: string | undefined): void {
    const isRefusal = this.#isResumed && this.socket.bytesRead === 0 && elapsed() - this.#secureAt! < PROMPT
    if (!this.#reachedServer || (this.#secureAt !== undefined && !isRefusal)) return
    if (this.#call.isGroupChosen && this.#secureAt === undefined && !this.#isRefused)
      this.#around.knowledge.groupFailed(this.#peer)
    this.#offered.failed(reason)
    this.#trust = undefined
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
    // The program may have given it up, because the server hung.
    if (this.#secureAt === undefined && this.#reachedServer) this.#onFailure(undefined)
    // By what was written, too: the program may have removed our listeners.
    else if (this.#secureAt === undefined && this.socket.bytesWritten === 0 && this.#offered.giveBack())
      this.#around.changed()
    this.#release()
  }
}

/** What was found for a connection before its socket was made. */
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

/** The trust of a connection that is attended; undefined where it is left alone, which is told with the reason. */
function admitted(call: Call, { settings, observe }: Surroundings): Admission | undefined {
  const admission = admit(call, settings)
  if (!('leftAlone' in admission)) return admission
  const { host, port } = call.options
  observe('skip', { host: String(host ?? ''), port: Number(port) || 0, reason: admission.leftAlone })
  return undefined
}

/** Under which its tickets are kept. */
export const peerOfCall = ({ options }: Pick<Call, 'options'>, { name }: Pick<Admission, 'name'>): HostPort =>
  peerOf(String(options.host || name), portOf(options.port))

/** What a server or the network did to a connection; undefined for an error that the program made, a time limit of its own. */
function failureOf(error: NodeJS.ErrnoException): string | undefined {
  const { code, syscall } = error
  if (typeof code !== 'string' || !/^\w{1,64}$/.test(code)) return undefined
  const isNodes = syscall !== undefined || 'host' in error || code.startsWith('ERR_SSL_')
  return isNodes ? code : undefined
}

/** 0 where the port cannot be read: a socket handed over by a proxy agent. */
function portOf(value: unknown): number {
  const port = Number(value ?? 0)
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : 0
}
