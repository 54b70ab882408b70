import { errorMonitor } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { equal } from '../common/bytes.ts'
import { type HostPort, peerOf } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import { admit, type Trust, ticketFrom } from './admission.ts'
import { type Binding, bindingOf, type Surroundings } from './binding.ts'
import { readCertificate, spkiFingerprint } from './certificate.ts'
import { guarded, type Observer } from './events.ts'
import { inheritedTrust, seenTrust } from './handshake-trust.ts'
import type { ConnectOptions, TlsDefaults } from './node-tls.ts'
import { showPeerCertificate } from './peer-certificate.ts'
import { provenanceOf, rememberProvenance } from './provenance.ts'
import { readSession, type Session, setSession, unwrapSession } from './session.ts'
import type { SessionPool } from './session-pool.ts'

/** What a connection needs of the process around it. */
export interface Surrounding {
  readonly pool: SessionPool
  readonly trust: Surroundings
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  /** Calls back once tickets from earlier processes can be had, at once if they can be already. */
  readonly whenReady: (callback: () => void) => void
  /** There is a ticket in the pool to be saved. */
  readonly changed: () => void
}

/**
 * One client connection, from `tls.connect` on: offers a stored session while that can be done, and harvests
 * the sessions of its first handshake once Node has verified it. A connection whose trust cannot be read is
 * left alone.
 */
export class Connection {
  readonly #binding: Binding
  readonly #peer: HostPort
  readonly #generation: number
  /** The ticket that was offered, or that the program itself passed and this process knows. */
  #offered: StoredTicket | undefined
  #session: Session | undefined
  #ownSession: boolean
  #reachedServer = false
  #secure = false
  #resumed = false
  readonly #startedAt = Date.now()

  /** Looks after `socket` from now on, or says why it is left alone. */
  static attend(
    socket: TLSSocket,
    options: ConnectOptions,
    defaults: TlsDefaults,
    around: Surrounding,
  ): Connection | undefined {
    const binding = bindingOf(options, defaults, around.trust)
    if ('leftAlone' in binding) {
      around.observe('skip', { reason: binding.leftAlone })
      return undefined
    }
    return new Connection(socket, options, binding, around)
  }

  private constructor(
    private readonly socket: TLSSocket,
    private readonly options: ConnectOptions,
    binding: Binding,
    private readonly around: Surrounding,
  ) {
    this.#binding = binding
    this.#peer = peerOf(String(options.host || binding.name), portOf(options))
    this.#generation = around.pool.generation(this.#peer)
    this.#ownSession = Boolean(options.session)
    this.#reachedServer = !socket.connecting
    this.#listen()
    if (this.#ownSession) {
      this.#recognise(options.session)
      return
    }
    // A socket that is connected already starts its handshake as soon as this call returns.
    let beforeStart = options.socket !== undefined && !socket.connecting
    around.whenReady(this.#guard(() => this.#offer(beforeStart)))
    beforeStart = false
  }

  #listen(): void {
    const { socket } = this
    const on = (event: string | symbol, listener: (...args: never[]) => void) =>
      socket.on(event as never, this.#guard(listener) as never)
    on('session', this.#onSession)
    on('connectionAttempt', () => process.nextTick(this.#guard(this.#nextAttempt)))
    // First of all, as the next: where a listener before it throws, none after it is called.
    socket.prependListener('connect', () => {
      this.#reachedServer = true
    })
    on('connect', () => {
      // The server has the word now. With a session of TLS 1.2 resumed it gives no other.
      const bringsTickets = this.#offered?.protocol !== 'TLSv1.2'
      if (bringsTickets) setImmediate(this.#guard(() => this.around.pool.prepare())).unref()
    })
    // First of all: the program's own listener may look at the certificate, and up to Node 24 one that asks for
    // the X509Certificate takes it out of the chain.
    socket.prependListener('secureConnect', this.#guard(this.#onSecureConnect))
    on(errorMonitor, this.#onFailure)
    on('end', () => socket.writableEnded || this.#onFailure())
    on('close', this.#onClose)
  }

  #guard<A extends unknown[]>(work: (...args: A) => void): (...args: A) => void {
    return guarded(this.around.observe, work.bind(this))
  }

  #offer(beforeStart: boolean): void {
    const { socket, around } = this
    if (socket.destroyed || this.#ownSession) return
    if (!beforeStart && !socket.connecting) {
      around.observe('skip', { ...this.#peer, reason: 'too late' })
      return
    }
    if (socket.getSession()) {
      this.#ownSession = true
      around.observe('skip', { ...this.#peer, reason: 'session of the program’s own' })
      return
    }
    const { name, strong, weak } = this.#binding
    const accept = (ticket: StoredTicket) => (this.#session = admit(ticket, name, around.now())) !== undefined
    const ticket =
      around.pool.take(this.#peer, strong, accept) ?? (weak && around.pool.take(this.#peer, weak, accept))
    if (!ticket) {
      around.observe('skip', { ...this.#peer, reason: 'no ticket' })
      return
    }
    this.#offered = ticket
    if (this.#session) showPeerCertificate(socket, this.#session.peerCertificate)
    setSession(socket, ticket.ticket, name)
    around.observe('offer', { ...this.#peer, protocol: ticket.protocol })
  }

  /**
   * Happy Eyeballs gives the socket a new handle at each address. Nodes with the wrapped form lose the
   * session then, and all of them the call for `'session'` events, unless both are set anew.
   */
  #nextAttempt(): void {
    const { socket } = this
    if (!socket.connecting || socket.destroyed) return
    if (socket.listenerCount('session') > 0) {
      const nothing = () => {}
      socket.on('session', nothing)
      socket.off('session', nothing)
    }
    if (!this.#offered || this.#ownSession) return
    const current = socket.getSession()
    if (!current) setSession(socket, this.#offered.ticket, this.#binding.name)
    else if (!equal(unwrapSession(current), this.#offered.ticket)) {
      this.#ownSession = true
      this.#offered = undefined
    }
  }

  /** The program passes a session of its own. One that we know is used up by that, and its trust is known. */
  #recognise(session: unknown): void {
    const known = provenanceOf(session)
    if (!known) return
    this.around.pool.spend(known.peer, known.ticket)
    const { binding } = known.ticket
    if (binding === this.#binding.strong || binding === this.#binding.weak) {
      this.#offered = known.ticket
      this.#session = readSession(known.ticket.ticket)
      if (this.#session) showPeerCertificate(this.socket, this.#session.peerCertificate)
    }
  }

  /** Sessions wait here until the handshake is verified and the program has had its say. */
  #waiting: Uint8Array[] | undefined = []
  #open = false
  #firstHandshake = true
  #trust: Trust | undefined

  #onSecureConnect(): void {
    const { socket, around } = this
    if (this.#secure) return
    this.#secure = true
    const resumed = socket.isSessionReused()
    this.#resumed = resumed
    if (resumed) around.observe('resumed', { ...this.#peer, ours: !this.#ownSession })
    // A renegotiation of TLS 1.2 emits 'session' before its certificate is checked; the session of the first
    // handshake comes in this turn, those of TLS 1.3 may come at any time.
    process.nextTick(() => {
      this.#firstHandshake = false
    })
    if (socket.authorized) {
      this.#trust = resumed
        ? inheritedTrust(this.#offered, this.#session)
        : seenTrust(socket, this.options, this.#binding, around.now())
    }
    setImmediate(
      this.#guard(() => {
        const { binding, certificate } = this.#trust ?? {}
        const destroyed = socket.destroyed && !socket.readableEnded
        if (destroyed || !binding || !certificate) this.#trust = undefined
        else if (!resumed) this.#checkRotation(certificate)
        this.#open = true
        const waiting = this.#waiting ?? []
        this.#waiting = undefined
        for (const session of waiting) this.#keep(session)
      }),
    )
  }

  #checkRotation(der: Uint8Array): void {
    const certificate = readCertificate(der)
    if (!certificate) return
    const fingerprint = spkiFingerprint(certificate)
    const { pool } = this.around
    if (this.#offered && !equal(this.#offered.spkiFp, fingerprint)) pool.invalidate(this.#peer)
    else if (this.#offered) pool.turnedDown(this.#peer, this.#startedAt)
    pool.sawKey(this.#peer, fingerprint)
  }

  #onSession(session: Uint8Array): void {
    if (!this.#secure) return
    if (this.socket.getProtocol() !== 'TLSv1.3' && !this.#firstHandshake) return
    if (this.#open) this.#keep(session)
    else this.#waiting?.push(session)
  }

  #keep(bytes: Uint8Array): void {
    const { around } = this
    const trust = this.#trust
    if (!trust) return
    const ticket = ticketFrom(unwrapSession(bytes), trust, around.now())
    if (!ticket) {
      const reason = 'session not kept: unreadable or not of this handshake'
      around.observe('skip', { ...this.#peer, reason })
      return
    }
    if (this.#resumed && !around.pool.mayReturn(this.#peer, ticket, this.#generation)) return
    rememberProvenance({ peer: this.#peer, ticket })
    around.pool.put(this.#peer, ticket)
    around.observe('harvest', { ...this.#peer, protocol: ticket.protocol })
    around.changed()
  }

  /** A server that breaks on a resumption breaks one connection, once: the retry is a full handshake. */
  #blame(): void {
    if (!this.#offered || !this.#reachedServer) return
    this.around.pool.invalidate(this.#peer)
    this.#offered = undefined
    this.#trust = undefined
  }

  /**
   * A server's refusal of a resumption may come after the client's end of the handshake (TLS 1.3): as long as
   * it has sent nothing it has not agreed to it.
   */
  #onFailure(): void {
    const { socket } = this
    if (!this.#secure || (this.#resumed && socket.bytesRead === 0)) this.#blame()
  }

  #onClose(): void {
    const { pool } = this.around
    const ticket = this.#offered
    // Given up by the program, maybe because the server hung.
    if (this.#reachedServer && !this.#secure) this.#blame()
    // A ticket that never left is as good as new.
    else if (ticket && !this.#reachedServer && !this.#secure && !this.#ownSession) {
      pool.giveBack(this.#peer, ticket, this.#generation)
      this.around.changed()
    }
    this.#offered = undefined
  }
}

/** 0 where the port cannot be read: a socket handed over by a proxy agent. */
function portOf(options: ConnectOptions): number {
  const port = Number(options.port ?? 0)
  return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : 0
}
