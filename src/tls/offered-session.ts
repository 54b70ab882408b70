import type { TLSSocket } from 'node:tls'
import { equal } from '../common/bytes.ts'
import { elapsed } from '../common/clock.ts'
import type { HostPort } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import type { Admission } from './admission.ts'
import type { Call } from './call.ts'
import type { Observer } from './events.ts'
import type { FailingServers, Offer } from './failing-servers.ts'
import { hideResumption, showChain } from './peer-certificate.ts'
import type { PeerKnowledge } from './peer-knowledge.ts'
import { provenanceOf, rememberProvenance } from './provenance.ts'
import { asNodeHasIt, type Session, setSession } from './session.ts'
import type { SessionPool } from './session-pool.ts'
import { hasMethods } from './socket-methods.ts'
import { type Taken, takeSession } from './take-session.ts'
import { mayBeOffered, sessionToOffer } from './ticket.ts'
import { isInForce } from './verified-handshake.ts'

/** The connection that a session is offered in, and what the session is taken from. */
export interface OfferPlace {
  readonly socket: TLSSocket
  readonly call: Call
  readonly admission: Admission
  readonly peer: HostPort
  readonly pool: SessionPool
  readonly failing: FailingServers
  readonly knowledge: PeerKnowledge
  readonly observe: Observer
  /** UNIX seconds. */
  readonly now: () => number
  readonly serverNameOf: (socket: TLSSocket, wanted: unknown) => unknown
  /** Why the last event could not be logged, although the administrator requires it. */
  readonly whyNotRecorded: () => string | undefined
}

/**
 * The minimum time that a server has to answer an offer: milliseconds. It has at least four times the time that passed
 * from the call to the offer.
 */
const LEAST_PATIENCE = 250

/** The session that one connection offers: a stored one, or the program's own. */
export class OfferedSession {
  readonly #place: OfferPlace
  readonly #generation: number
  /** UNIX seconds. */
  readonly #startedAt: number
  /** Milliseconds of `elapsed`, a clock that cannot be set. */
  readonly #calledAt: number
  /** The ticket taken for this connection, or the known ticket of a session that the program passed. */
  #ticket: StoredTicket | undefined
  /** Its session, in OpenSSL's DER form. */
  #session: Uint8Array | undefined
  /** The same session parsed, if it was taken from the pool. */
  #read: Session | undefined
  /** The address of the connected server. Undefined if it is not known. */
  #address: string | undefined
  #outstanding: Offer | undefined
  #isInForce = false
  /** Node's own `isSessionReused`, bound before we replace it on the socket. */
  readonly isResumed: () => boolean

  constructor(
    place: OfferPlace,
    /** Whether the program uses a session of its own. */
    public isProgramsOwn: boolean,
  ) {
    this.#place = place
    this.#generation = place.pool.generation(place.peer)
    this.#startedAt = place.now()
    this.#calledAt = elapsed()
    this.isResumed = place.call.state.methods.isSessionReused.bind(place.socket)
  }

  get ticket(): StoredTicket | undefined {
    return this.#ticket
  }

  get session(): Uint8Array | undefined {
    return this.#session
  }

  /**
   * Handles a session that the program passes itself. If this process knows the session, its ticket is spent and its
   * trust is known.
   */
  recognise(session: unknown): void {
    const known = provenanceOf(session)
    if (!known) return
    const { pool, admission } = this.#place
    pool.spend(known.peer, known.ticket)
    if (known.ticket.binding !== admission.binding) return
    this.#ticket = known.ticket
    this.#session = known.session
    showChainOf(known.ticket, this.#place.socket, this.#isThisInForce(known.session))
  }

  /**
   * Takes a ticket from the pool. A ticket taken earlier, for another address, goes back.
   * @param address the server's address; undefined if it is not known
   * @returns why there is no ticket
   */
  take(address: string | undefined): string | undefined {
    const { pool, peer, call, admission } = this.#place
    if (this.#ticket) pool.giveBack(peer, this.#ticket, this.#generation)
    const found = takeSession(peer, call, admission, this.#place, address)
    const taken = typeof found === 'string' ? undefined : found
    this.#ticket = taken?.ticket
    this.#read = taken?.session
    this.#session = taken?.session.der
    return typeof found === 'string' ? found : undefined
  }

  /** @param address the server's address; undefined if it is not known */
  reached(address: string | undefined): void {
    this.#address = address
  }

  /** Records a session that was taken before the socket was made and passed as an option of that call. */
  handedOver({ ticket, session }: Taken): void {
    this.#ticket = ticket
    this.#read = session
    this.#session = session.der
    this.#begin(ticket, session.der)
  }

  /**
   * Hands the session to the socket just before the handshake. Every check is repeated, because much can change after
   * the call: a slow lookup, a tunnel, a laptop that slept. After the handshake has started, setting a session would
   * break the connection.
   */
  offer(): void {
    const { socket, call, serverNameOf } = this.#place
    const wanted = call.options.servername || false
    this.#offer(
      serverNameOf(socket, wanted) === wanted ? undefined : 'the server name was changed since the call',
    )
  }

  /**
   * Like `offer`, from within `tls.connect`, over a socket that is already connected. Node sets the server name only
   * after this returns, so it is not checked.
   */
  offerInCall(): void {
    this.#offer(undefined)
  }

  #offer(whyNot: string | undefined): void {
    const { socket, observe, peer, admission, whyNotRecorded } = this.#place
    const [ticket, session] = [this.#ticket, this.#session]
    if (!ticket || !session || this.isProgramsOwn || this.#outstanding || socket.destroyed) return
    const reason = this.#whyNotOffered(ticket) ?? whyNot
    if (reason !== undefined) {
      this.#ticket = undefined
      this.#session = undefined
      observe('skip', { ...peer, reason })
      return
    }
    this.#begin(ticket, session)
    const unrecorded = whyNotRecorded()
    if (unrecorded !== undefined) {
      this.giveBack()
      observe('skip', { ...peer, reason: unrecorded })
      return
    }
    setSession(socket, session, admission.name)
  }

  #begin(ticket: StoredTicket, session: Uint8Array): void {
    const { socket, call, failing, observe, peer } = this.#place
    const isThisInForce = this.#isThisInForce(session)
    showChainOf(ticket, socket, isThisInForce)
    hideResumption(socket, isThisInForce, call.state.methods)
    const patience = Math.max(LEAST_PATIENCE, 4 * (elapsed() - this.#calledAt))
    this.#outstanding = failing.begin(peer, patience, hasAnswer(new WeakRef(socket)))
    observe('offer', { ...peer, protocol: ticket.protocol })
  }

  #whyNotOffered(ticket: StoredTicket): string | undefined {
    const { socket, call, admission, pool, peer, now } = this.#place
    const { methods } = call.state
    if (!hasMethods(socket, methods)) return 'a method of the socket was replaced since the call'
    if (methods.getSession.call(socket)) {
      this.isProgramsOwn = true
      pool.giveBack(peer, ticket, this.#generation)
      return 'the program has set a session'
    }
    if (!call.isUnchanged()) return 'the options were changed since the call'
    if (call.context?.isIntact() === false) return 'the secureContext was changed since the call'
    if (!this.mayReturn(ticket)) return 'the tickets were invalidated since the call'
    if (!this.#read || !mayBeOffered(this.#read, ticket, admission, now()))
      return 'the session has expired since the call'
    return undefined
  }

  /**
   * Returns a function that says whether this session is the one that was resumed. The program may have set another.
   */
  #isThisInForce(session: Uint8Array): () => boolean {
    const { socket, call } = this.#place
    const { getSession } = call.state.methods
    // Called several times as the handshake ends. Once true, it stays true.
    let isProven = false
    return () => {
      isProven = this.isResumed() && (isProven || this.#isInForce || isInForce(socket, session, getSession))
      return isProven
    }
  }

  /** Whether a ticket from before this connection, or one derived from it, may still be kept. */
  mayReturn(ticket: StoredTicket): boolean {
    const { pool, peer } = this.#place
    return pool.mayReturn(peer, ticket, this.#generation)
  }

  /** The handshake completed, with or without resumption. */
  answered(): void {
    if (this.#outstanding) this.#place.failing.answered(this.#outstanding)
  }

  /** The server has sent data, or has kept the connection open for a while. */
  served(): void {
    if (this.#outstanding) this.#place.failing.served(this.#outstanding)
  }

  /** The offered session was resumed, and is the session in force. */
  resumed(): void {
    this.#isInForce = true
    if (this.#isOfOther()) this.#place.knowledge.sawTicketOfOther(this.#place.peer, true)
  }

  /** Whether the ticket was issued by a server at another address than the connected one. */
  #isOfOther(): boolean {
    const { address } = this.#ticket ?? {}
    return address !== undefined && this.#address !== undefined && address !== this.#address
  }

  /**
   * A session for the program to store, as it would get from a full handshake. It comes from the pool and has the same
   * certificate chain as the session in force. The program may have checked that chain, and does not check it again
   * when it resumes.
   */
  forProgram(): Buffer | undefined {
    const { pool, peer, admission, now } = this.#place
    const used = this.#ticket
    if (this.isProgramsOwn || !used?.certificate) return undefined
    let session: Uint8Array | undefined
    const ticket = pool.find(peer, admission.binding, (one) => {
      const { certificate, issuers } = one
      const isOfSameChain = certificate && equal(certificate, used.certificate!) && issuers === used.issuers
      session = isOfSameChain ? sessionToOffer(one, admission, now())?.der : undefined
      return session !== undefined
    })
    if (!ticket || !session) return undefined
    rememberProvenance({ peer, ticket, session })
    return asNodeHasIt(session, admission.name)
  }

  /** The server declined the resumption, and showed this key in a full handshake. */
  turnedDown(spkiFp: Uint8Array): void {
    const { pool, peer, knowledge } = this.#place
    if (this.#ticket && !equal(this.#ticket.spkiFp, spkiFp)) pool.invalidate(peer)
    // This says nothing about the tickets that the connected server itself issued, or about whether the other tickets
    // work at the address they came from.
    else if (this.#isOfOther()) knowledge.sawTicketOfOther(peer, false)
    else if (this.#ticket) {
      // Times are whole seconds, so the tickets of the same batch may carry the second in which this connection began.
      // They must be dropped too.
      const since = Math.max(this.#startedAt, this.#ticket.storedAtUnixSecs + 1)
      pool.turnedDown(peer, since, this.#address)
    }
  }

  /** Node has checked the server's certificate and rejected it. */
  refused(): void {
    this.answered()
    this.#outstanding = undefined
  }

  /**
   * The connection failed. All tickets of the peer are dropped, so a server that cannot resume fails only one
   * connection: the next ones are full handshakes.
   * @param reason undefined if the program closed the connection
   */
  failed(reason: string | undefined): void {
    if (!this.#ticket) return
    const { pool, failing, peer } = this.#place
    pool.invalidate(peer)
    if (this.#outstanding && reason === undefined) failing.givenUp(this.#outstanding)
    else if (this.#outstanding) failing.failed(this.#outstanding, reason!)
    this.#ticket = undefined
  }

  /** Nothing was sent, so the ticket is still unused and goes back. @returns whether there was one */
  giveBack(): boolean {
    const { pool, failing, peer } = this.#place
    if (!this.#ticket || this.isProgramsOwn) return false
    if (this.#outstanding) failing.givenUp(this.#outstanding)
    // What the server does from now on is no answer to an offer.
    this.#outstanding = undefined
    pool.giveBack(peer, this.#ticket, this.#generation)
    this.#ticket = undefined
    return true
  }
}

/** A garbage-collected socket counts as answered: it was used, or its end was seen. */
const hasAnswer = (socket: WeakRef<TLSSocket>) => () => {
  const { authorized = true, bytesRead = 0 } = socket.deref() ?? {}
  return authorized || bytesRead > 0
}

const showChainOf = ({ certificate, issuers }: StoredTicket, socket: TLSSocket, isResumed: () => boolean) =>
  showChain(socket, certificate!, issuers ?? (() => []), isResumed)
