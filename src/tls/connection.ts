import { errorMonitor } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { type HostPort, peerOf } from '../host-port.ts'
import type { SessionPool } from '../session-pool.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import { admit, equal, expiry } from './admission.ts'
import { type Binding, bindingOf, type Surroundings } from './binding.ts'
import { isStrongChain, readCertificate, spkiFingerprint } from './certificate.ts'
import type { Observer } from './events.ts'
import type { ConnectOptions, TlsDefaults } from './node-tls.ts'
import { showPeerCertificate } from './peer-certificate.ts'
import { readSession, type Session, setSession, unwrapSession } from './session.ts'

/** What a connection needs of the process around it. */
export interface Surrounding {
  readonly pool: SessionPool
  readonly trust: Surroundings
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  /** Calls back once tickets from earlier processes can be had, at once if they can be already. */
  readonly whenReady: (callback: () => void) => void
  /** There is something new in the pool. */
  readonly changed: () => void
}

/** Where a session came from that this process has seen: by the very buffer of its `'session'` event. */
interface Provenance {
  readonly peer: HostPort
  readonly ticket: StoredTicket
}
const provenances = new WeakMap<object, Provenance>()

/**
 * One client connection, from `tls.connect` on: offers a stored session while that can be done, and harvests
 * the sessions of its first handshake once Node has verified it. A connection whose trust cannot be read is
 * left alone.
 */
export class Connection {
  readonly #binding: Binding
  readonly #peer: HostPort
  /** The ticket that was offered, or that the program itself passed and this process knows. */
  #offered: StoredTicket | undefined
  #session: Session | undefined
  #ownSession: boolean
  #reachedServer = false
  #secure = false
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
    options: ConnectOptions,
    binding: Binding,
    private readonly around: Surrounding,
  ) {
    this.#binding = binding
    this.#peer = peerOf(String(options.host || binding.name), portOf(options))
    this.#ownSession = Boolean(options.session)
    this.#reachedServer = !socket.connecting
    this.#listen()
    if (this.#ownSession) this.#recognise(options.session)
    else around.whenReady(() => this.#offer(options.socket !== undefined && !socket.connecting))
  }

  #listen(): void {
    const { socket } = this
    const on = (event: string | symbol, listener: (...args: never[]) => void) =>
      socket.on(event as never, this.#guard(listener) as never)
    on('session', this.#onSession)
    on('connectionAttempt', () => process.nextTick(this.#guard(() => this.#nextAttempt())))
    on('connect', () => {
      this.#reachedServer = true
    })
    // First of all: the program's own listener may look at the certificate.
    socket.prependListener('secureConnect', this.#guard(this.#onSecureConnect))
    on(errorMonitor, () => this.#onError())
    on('close', () => this.#onClose())
  }

  /** Whatever goes wrong with us is no matter of the program's. */
  #guard<A extends unknown[]>(work: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      try {
        work.apply(this, args)
      } catch (error) {
        this.around.observe('skip', { reason: `internal: ${(error as Error)?.message}` })
      }
    }
  }

  #offer(beforeStart: boolean): void {
    const { socket, around } = this
    if (socket.destroyed || this.#ownSession) return
    if (!beforeStart && !socket.connecting) {
      around.observe('skip', { ...this.#peer, reason: 'too late' })
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
    if (this.#offered && !this.#ownSession) {
      setSession(socket, this.#offered.ticket, this.#binding.name)
    }
  }

  /** The program passes a session of its own. One that we know is used up by that, and its trust is known. */
  #recognise(session: unknown): void {
    const known = typeof session === 'object' && session !== null ? provenances.get(session) : undefined
    if (!known) return
    this.around.pool.spend(known.peer, known.ticket)
    const { binding } = known.ticket
    if (binding === this.#binding.strong || binding === this.#binding.weak) {
      this.#offered = known.ticket
      this.#session = readSession(known.ticket.ticket)
    }
  }

  /** Sessions wait here until the handshake is verified and the program has had its say. */
  #waiting: Uint8Array[] | undefined = []
  #open = false
  #firstHandshake = true
  #trust:
    | { readonly certificate: Uint8Array; readonly binding: string; readonly verifiedAt: number }
    | undefined

  #onSecureConnect(): void {
    const { socket, around } = this
    if (this.#secure) return
    this.#secure = true
    const resumed = socket.isSessionReused()
    if (resumed) around.observe('resumed', { ...this.#peer, ours: !this.#ownSession })
    // A renegotiation of TLS 1.2 emits 'session' before its certificate is checked; the session of the first
    // handshake comes in this turn, those of TLS 1.3 may come at any time.
    process.nextTick(() => {
      this.#firstHandshake = false
    })
    this.#trust = socket.authorized ? (resumed ? this.#inherited() : this.#seen()) : undefined
    if (resumed && this.#session && this.#trust) showPeerCertificate(socket, this.#session.peerCertificate)
    setImmediate(
      this.#guard(() => {
        const { binding, certificate } = this.#trust ?? {}
        if (socket.destroyed || !binding || !certificate) this.#trust = undefined
        else if (!resumed) this.#checkRotation(certificate)
        this.#open = true
        const waiting = this.#waiting ?? []
        this.#waiting = undefined
        for (const session of waiting) this.#keep(session)
      }),
    )
  }

  /** The trust of a resumed connection is that of the session it was resumed from, if we know that. */
  #inherited() {
    const { binding, verifiedAtUnixSecs: verifiedAt } = this.#offered ?? {}
    if (binding === undefined || verifiedAt === undefined || !this.#session) return undefined
    return { certificate: this.#session.peerCertificate, binding, verifiedAt }
  }

  #seen() {
    const chain = chainOf(this.socket)
    const [certificate] = chain
    if (!certificate) return undefined
    const { strong, weak } = this.#binding
    const binding = weak === undefined || isStrongChain(chain) ? strong : weak
    return { certificate, binding, verifiedAt: this.around.now() }
  }

  #checkRotation(der: Uint8Array): void {
    const certificate = readCertificate(der)
    if (!certificate) return
    const fingerprint = spkiFingerprint(certificate)
    const { pool } = this.around
    if (this.#offered && !equal(this.#offered.spkiFp, fingerprint)) pool.invalidate(this.#peer)
    else if (this.#offered) pool.turnedDown(this.#peer, this.#startedAt)
    pool.sawKey(this.#peer, fingerprint)
    this.around.changed()
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
    const ticket = Uint8Array.from(unwrapSession(bytes))
    const session = readSession(ticket)
    const certificate = session && readCertificate(session.peerCertificate)
    if (
      !session?.extendedMasterSecret ||
      !certificate ||
      !equal(session.peerCertificate, trust.certificate)
    ) {
      around.observe('skip', {
        ...this.#peer,
        reason: 'session not kept: unreadable or not of this handshake',
      })
      return
    }
    const stored: StoredTicket = {
      ticket,
      spkiFp: spkiFingerprint(certificate),
      storedAtUnixSecs: around.now(),
      expiresAtUnixSecs: expiry(session, certificate, trust.verifiedAt),
      protocol: session.protocol,
      binding: trust.binding,
      verifiedAtUnixSecs: trust.verifiedAt,
    }
    provenances.set(bytes, { peer: this.#peer, ticket: stored })
    around.pool.put(this.#peer, stored)
    around.observe('harvest', { ...this.#peer, protocol: session.protocol })
    around.changed()
  }

  /** A server that breaks on a resumption breaks one connection, once: the retry is a full handshake. */
  #onError(): void {
    if (this.#offered && this.#reachedServer && !this.#secure) {
      this.around.pool.invalidate(this.#peer)
      this.#offered = undefined
    }
  }

  /** A ticket that never left is as good as new. */
  #onClose(): void {
    if (this.#offered && !this.#reachedServer && !this.#ownSession) {
      this.around.pool.put(this.#peer, this.#offered)
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

/**
 * The verified chain, from the server's certificate to the trusted one. By `getPeerCertificate`, as Node has
 * just done itself: up to Node 24 `getPeerX509Certificate` takes the certificate out of the connection's own
 * chain, and the program would find none.
 */
function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let certificate = socket.getPeerCertificate(true)
  while (certificate?.raw) {
    chain.push(certificate.raw)
    const { issuerCertificate } = certificate
    if (!issuerCertificate || issuerCertificate === certificate || chain.length > 16) break
    certificate = issuerCertificate
  }
  return chain
}
