// Looks after connections that a program makes by the functions of this folder. It does what the preload does, by public
// means of Node: the call is ours, so what it was given is known without looking into Node. Two private parts are looked at
// all the same, and can only make a connection be left alone: Node's own copy of the options, since a program may have put a
// function of its own in the place of `tls.connect`, and the name that will be asked for.
import type { EventEmitter } from 'node:events'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import type { Attendant } from '../runtime/attendant.ts'
import { connectOptionsOf, serverNameOf } from '../runtime/node-internals.ts'
import { isDisabled, readSettings, summaryFileOf } from '../settings.ts'
import { hasFacts } from '../store/peer-facts.ts'
import { storeDirectory } from '../store/private-directory.ts'
import { SlowStore } from '../store/slow-store.ts'
import { BeforeHandshake } from '../tls/before-handshake.ts'
import {
  areTheSame,
  type Call,
  noteOptions,
  type Options,
  readTlsState,
  sayTheSame,
  type TlsState,
} from '../tls/call.ts'
import { type ConnectionTimes, noteTimes } from '../tls/connection-times.ts'
import { guarded, type Observer, observe } from '../tls/events.ts'
import { whenPacketIsOut } from '../tls/first-packet.ts'
import { isNodesOwn, type NodeFunction } from '../tls/node-functions.ts'
import {
  DISGUISED,
  looksAsStarted,
  type ProcessStart,
  readProcessStartLater,
  releaseInWords,
} from '../tls/process-start.ts'
import type { TicketOptions } from './options.ts'

/** What the preload has set where it looks after this process: then it looks after these connections, too. */
const PRELOAD = Symbol.for('ticketkeep.preload')

// As they are when this module is loaded: tests put others in their place.
const { setTimeout, clearTimeout, setImmediate } = globalThis
const { nextTick } = process
const release = releaseInWords()
const words = { execArgv: process.execArgv.slice(), argv: process.argv.slice() }

/** The default of `tls.connect` (Node's documentation). */
const MIN_DH_SIZE = 1024

/**
 * Makes a connection by `make`, and looks after it. Whatever fails on our side, `make` is called once, and what it returns or
 * throws is returned or thrown.
 *
 * @param given the options of `tls.connect`: plain data, of which only we have this copy
 * @param agent what makes the connection, if it is an agent of `https`
 */
export function makeAttended<T>(
  given: ConnectionOptions,
  own: TicketOptions,
  make: (options: ConnectionOptions) => T,
  agent?: MakingAgent,
): T {
  if (PRELOAD in process || isDisabled()) return make(given)
  const tls = process.getBuiltinModule('node:tls')
  const connection = attempt(() => NewConnection.seen(given, own, agent))
  if (!connection) return make(given)
  attempt(() => connection.chooseGroups())
  if (given.socket && !(given.socket as TLSSocket).connecting) return connection.makeOver(make)
  const socket = make(connection.given)
  if (socket instanceof tls.TLSSocket) attempt(() => connection.attend(socket))
  return socket
}

/** An agent of `https` that makes a connection by a method of Node's. */
interface MakingAgent {
  /** What it says of its sessions. */
  readonly maxCachedSessions: unknown
  /** Whose `createConnection` it calls. */
  readonly prototype: object
}

/**
 * Whether nothing of the program's runs between us and Node's own code, which makes the secure context: what is changed for
 * the time of the call, and back again, could not be seen afterwards.
 */
function isMadeByNode(agent: MakingAgent | undefined): boolean {
  const tls = process.getBuiltinModule('node:tls')
  const isOwn = (owner: object, name: NodeFunction) =>
    isNodesOwn(name, Object.getOwnPropertyDescriptor(owner, name)?.value, realm().textOf)
  return (
    isOwn(tls, 'connect') &&
    isOwn(tls, 'createSecureContext') &&
    (agent === undefined || isOwn(agent.prototype, 'createConnection'))
  )
}

const NOT_MADE_BY_NODE =
  'it is not known what Node is given: a function that makes connections is not its own'

/** Why nothing is known of the connections that are made now, in words. */
function whyNotSeen(own: TicketOptions, agent: MakingAgent | undefined): string | undefined {
  const disguised = whyDisguised(own)
  if (disguised !== undefined || isMadeByNode(agent)) return disguised
  const { bun, deno } = process.versions
  return bun || deno ? 'Bun and Deno have a TLS of their own' : NOT_MADE_BY_NODE
}

/** Asked until settings are read: an attendant asks for itself. */
const whyDisguised = (own: TicketOptions): string | undefined =>
  isStarted(own) || looksAsStarted(release, process.getBuiltinModule('node:fs')) ? undefined : DISGUISED

const observerOf =
  ({ onEvent }: TicketOptions): Observer =>
  (name, detail) => {
    observe(name, detail)
    try {
      onEvent?.({ name, ...detail })
    } catch (error) {
      // The program's, but not of the work that it interrupts: as `node:diagnostics_channel` does with its subscribers.
      nextTick(() => {
        throw error
      })
    }
  }

function sayLeftAlone({ host, port }: ConnectionOptions, own: TicketOptions, reason: string): void {
  observerOf(own)('skip', { host: String(host ?? ''), port: Number(port) || 0, reason })
}

/** What `tls.connect` puts in where an option is absent. */
function withDefaults(given: ConnectionOptions): ConnectionOptions {
  const { checkServerIdentity, DEFAULT_CIPHERS: ciphers } = process.getBuiltinModule('node:tls')
  const rejectUnauthorized = process.env.NODE_TLS_REJECT_UNAUTHORIZED !== '0'
  return { rejectUnauthorized, checkServerIdentity, ciphers, minDHSize: MIN_DH_SIZE, ...given }
}

/** A connection that is being made. */
class NewConnection {
  readonly #given: ConnectionOptions
  /** Of the key exchange, in the place of Node's default. */
  #groups: { readonly ecdhCurve: string } | undefined
  /** What Node makes of them. */
  readonly #expected: Options
  readonly #options: Options
  readonly #agent: MakingAgent | undefined
  readonly #own: TicketOptions
  #socket: TLSSocket | undefined
  #beforeHandshake: BeforeHandshake | undefined
  #times: ConnectionTimes | undefined
  /** Read before the call where a function of the program's runs within it. */
  #state: TlsState | undefined

  /** One that is to be made by Node's own code; undefined where that is not known, and the connection is left alone. */
  static seen(
    given: ConnectionOptions,
    own: TicketOptions,
    agent: MakingAgent | undefined,
  ): NewConnection | undefined {
    const reason = whyNotSeen(own, agent)
    if (reason === undefined) return new NewConnection(given, own, agent)
    sayLeftAlone(given, own, reason)
    return undefined
  }

  constructor(given: ConnectionOptions, own: TicketOptions, agent?: MakingAgent) {
    this.#given = given
    this.#expected = withDefaults(given) as unknown as Options
    this.#options = noteOptions(this.#expected)
    this.#own = own
    this.#agent = agent
    if (typeof given.lookup === 'function') this.#readState()
  }

  /** What Node is to be given. */
  get given(): ConnectionOptions {
    return { ...this.#given, ...this.#groups }
  }

  /**
   * The group that the server is known to ask for is offered at once. Nothing is loaded for that where nothing is known of
   * any server.
   */
  chooseGroups(): void {
    if (!isStarted(this.#own) && !knowsServers(this.#own)) return
    const ecdhCurve = attendantOf(this.#own).groupsFor(this.#options, () => this.call())
    if (ecdhCurve !== undefined) this.#groups = { ecdhCurve }
  }

  attend(socket: TLSSocket): void {
    const nodes = connectOptionsOf(socket)
    if (!nodes || !areTheSame(nodes, { ...this.#expected, ...this.#groups })) {
      sayLeftAlone(this.#given, this.#own, NOT_MADE_BY_NODE)
      return
    }
    this.#socket = socket
    this.#beforeHandshake = new BeforeHandshake(socket, makeRoom)
    if (summaryFileOf()) this.#times = noteTimes(socket, makeRoom)
    this.#readState()
    whenPacketIsOut(socket, this.#options, makeRoom, (address) =>
      attempt(() => {
        const reason = whyDisguised(this.#own)
        if (reason === undefined) {
          attendantOf(this.#own).attend(socket, this.call(), address, this.#observe)
          return
        }
        this.#beforeHandshake?.cancel()
        sayLeftAlone(this.#given, this.#own, reason)
      }),
    )
  }

  /** Over a socket that is connected already: its handshake starts within the call. */
  makeOver<T>(make: (options: ConnectionOptions) => T): T {
    const found = attempt(() => ({ attendant: attendantOf(this.#own), call: this.call() }))
    if (!found) return make(this.given)
    const makeWith = (session?: Buffer) => {
      const made = make(session ? { ...this.given, session } : this.given)
      this.#socket = made as TLSSocket
      return made
    }
    return found.attendant.attendNew(found.call, makeWith, this.#observe)
  }

  get #observe(): Observer {
    return observerOf(this.#own)
  }

  #readState(): void {
    const { ca, secureContext } = this.#options
    const rootsWithExtra = processStart().env.NODE_EXTRA_CA_CERTS ? () => undefined : undefined
    this.#state ??= readTlsState(
      process.getBuiltinModule('node:tls'),
      realm().textOf,
      !ca && !secureContext,
      rootsWithExtra,
    )
  }

  call(): Call {
    this.#readState()
    const options = this.#options
    const isOwnCheck = isNodesOwn('checkServerIdentity', options.checkServerIdentity, realm().textOf)
    // Node's agent of `https` puts a session of its own into the options, which the socket then has.
    const session = options.session ?? this.#socket?.getSession()
    return {
      options: { ...options, session },
      state: this.#state!,
      // Of a context that the program passes it is not known what it was made from.
      context: undefined,
      isGroupChosen: this.#groups !== undefined,
      beforeHandshake: this.#beforeHandshake,
      identityCheck: isOwnCheck ? (options.checkServerIdentity as Call['identityCheck']) : undefined,
      isUnchanged: () => {
        const now = this.#socket && connectOptionsOf(this.#socket)
        return now === undefined || sayTheSame(now, options)
      },
      agent: this.#agent,
      keepsSessions: () => this.#socket && this.#socket.listenerCount('session') > 0,
      times: this.#times,
    }
  }
}

/**
 * What `admit` is asked of a `tls.connect` with these options, made now.
 * @throws where the flags of the process are not known, or `tls.connect` is not Node's own
 */
export function callWith(given: ConnectionOptions): { call: Call; start: ProcessStart } {
  const reason = whyNotSeen({}, undefined)
  if (reason !== undefined) throw new Error(reason)
  const connection = new NewConnection(given, {})
  return { call: connection.call(), start: processStart() }
}

/** Loaded when the first packet of the first connection is on its way. The build makes a file of its own of each. */
export const loadAttendant = (): typeof import('../runtime/attendant.ts') =>
  require('../runtime/attendant.ts')
const loadKeys = (): typeof import('../keys/chain.ts') => require('../keys/chain.ts')

const attendants = new Map<string, Attendant>()

const placeOf = ({ keySource, directory }: TicketOptions) => `${keySource ?? ''} ${directory ?? ''}`
const isStarted = (own: TicketOptions) => attendants.has(placeOf(own))

/** Whether earlier processes have learned anything of servers. */
function knowsServers(own: TicketOptions): boolean {
  try {
    const directory = storeDirectory(own.directory ?? readSettings().directory)
    return directory !== undefined && !new SlowStore(directory).isLeftAlone && hasFacts(directory)
  } catch {
    return false // the attendant will say what is wrong with the settings
  }
}

/** One for each place where tickets are kept. */
function attendantOf(own: TicketOptions): Attendant {
  const { keySource, directory } = own
  const place = placeOf(own)
  let attendant = attendants.get(place)
  if (!attendant) {
    const env = {
      ...process.env,
      ...(keySource !== undefined && { TICKETKEEP_KEY_SOURCE: keySource }),
      ...(directory !== undefined && { TICKETKEEP_DIR: directory }),
    }
    attendant = loadAttendant().start(
      {
        start: processStart(),
        clock: { now: realm().now, setTimeout, clearTimeout, setImmediate, nextTick },
        loadKeys,
        makeRoom,
        serverNameOf: (socket, wanted) => serverNameOf(socket) ?? wanted,
      },
      env,
    )
    attendants.set(place, attendant)
  }
  return attendant
}

let noted: ProcessStart | undefined

const processStart = (): ProcessStart => (noted ??= { ...readProcessStartLater(words), release })

interface Realm {
  readonly textOf: (f: object) => string
  readonly now: () => number
}

let ownRealm: Realm | undefined

/**
 * `Function.prototype.toString` and the clock of a realm in which nobody has replaced them. Tracing libraries replace the one,
 * so that their wrappers look like what they wrap, and tests the other. They may have done so before this module was loaded.
 */
const realm = (): Realm =>
  (ownRealm ??= process
    .getBuiltinModule('node:vm')
    .runInNewContext(
      '({ textOf: Function.prototype.call.bind(Function.prototype.toString), now: Date.now })',
    ) as Realm)

/** Node warns where one event has more than so many listeners, and ours must not be what brings that on. */
function makeRoom(emitter: EventEmitter): () => void {
  const most = emitter.getMaxListeners()
  if (most <= 0) return () => {}
  emitter.setMaxListeners(most + 1)
  return () => {
    const now = emitter.getMaxListeners()
    if (now > 1) emitter.setMaxListeners(now - 1)
  }
}

/** Whatever goes wrong with us is no matter of the program's: it is told to who asks. */
function attempt<T>(work: () => T): T | undefined {
  let result: T | undefined
  guarded(observe, () => {
    result = work()
  })()
  return result
}
