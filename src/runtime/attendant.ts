// Loaded at the first TLS connection of a process. It combines settings, key, store and pool.
import type { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { elapsed } from '../common/clock.ts'
import { fetchImmediateKeys } from '../keys/immediate-sources.ts'
import { type KeyOutcome, takeSubkeys, wipeKeys } from '../keys/key-source.ts'
import { type Environment, readSettings, type Settings, summaryFileOf } from '../settings.ts'
import { storeDirectory } from '../store/private-directory.ts'
import { SlowStore } from '../store/slow-store.ts'
import { TicketStore } from '../store/ticket-store.ts'
import { admit } from '../tls/admission.ts'
import type { Call } from '../tls/call.ts'
import { Connection, peerOfCall, type Surroundings } from '../tls/connection.ts'
import { guarded, type Observer, observe as publish } from '../tls/events.ts'
import { FailingServers } from '../tls/failing-servers.ts'
import { groupsWith } from '../tls/key-exchange-groups.ts'
import { PeerKnowledge } from '../tls/peer-knowledge.ts'
import { whyProcessIsLeftAlone } from '../tls/process-admission.ts'
import { DISGUISED, type ProcessStart, releaseInWords } from '../tls/process-start.ts'
import { SessionPool } from '../tls/session-pool.ts'
import type { Clock } from './clock.ts'
import { ConnectionLog } from './connection-log.ts'
import { counting, keepRecords, observe, recorded, whyNotRecorded } from './records.ts'

/** The minimum time between two writes of new tickets: milliseconds. */
const SAVE_INTERVAL = 25

/** While other connections are being made, new tickets are collected and written after this time: milliseconds. */
const SAVE_AFTER = 100

/** How long after its handshake a connection is released: milliseconds. */
const RELEASE_AFTER = 100

/** How much later a connection is released that has brought no data by then: milliseconds. */
const RELEASE_ANYWAY_AFTER = 2_000

/** How long a program that is done is kept alive while the keychain stores a new key, once a week: milliseconds. */
const NEW_KEY_GRACE = 100

/** How often a long-running program stores its counts: milliseconds. */
const COUNTS_INTERVAL = 60_000

const TOO_LATE = 'nothing is kept: the program ended before the key arrived'

/** The key sources that need more code than a variable or a file. They are loaded only if those have no key. */
type Keys = typeof import('../keys/chain.ts')

class ProcessAttendant implements Attendant {
  readonly #settings: Settings
  readonly #loadKeys: () => Keys
  readonly #clock: Clock
  readonly #leftAlone: string | undefined
  readonly #release: string
  readonly #pool: SessionPool
  readonly #failing: FailingServers
  readonly #knowledge: PeerKnowledge
  readonly #around: Surroundings
  readonly #log: ConnectionLog | undefined
  /** When counts were last stored: milliseconds. */
  #countedAt: number
  #outcome: KeyOutcome | undefined
  #waiting: (() => void)[] = []
  #store: TicketStore | undefined
  #saveTimer: NodeJS.Timeout | undefined
  /** When tickets were last written: milliseconds of `elapsed`, a clock that cannot be set. */
  #savedAt = Number.NEGATIVE_INFINITY
  #settleTimer: NodeJS.Timeout | undefined
  /** Connections whose handshake may not have completed. */
  readonly #connecting = new Set<Connection>()
  /** Verified connections that are not released yet. */
  readonly #unsettled = new Set<Connection>()
  #isAsked = false
  #abandonKeys = () => {}

  constructor(
    settings: Settings,
    log: ConnectionLog | undefined,
    { start, loadKeys, clock, makeRoom, serverNameOf }: Started,
  ) {
    this.#settings = settings
    this.#log = log
    this.#release = start.release
    this.#clock = clock
    const now = () => Math.floor(clock.now() / 1000)
    this.#leftAlone = whyProcessIsLeftAlone(start)
    this.#loadKeys = loadKeys
    this.#pool = new SessionPool(now, settings.reuse)
    this.#failing = new FailingServers(now, (ms, callback) => clock.setTimeout(callback, ms).unref())
    this.#countedAt = clock.now()
    this.#knowledge = new PeerKnowledge(now)
    this.#around = {
      pool: this.#pool,
      failing: this.#failing,
      knowledge: this.#knowledge,
      settings,
      observe,
      now,
      soon: clock.setImmediate,
      nextTick: clock.nextTick,
      makeRoom,
      serverNameOf,
      whenReady: (callback) => {
        // Ask immediately: a socket that is already connected starts its handshake in this turn.
        this.#askForKey()
        if (this.#outcome) callback()
        else this.#waiting.push(callback)
      },
      changed: (isLast) => this.#saveSoon(isLast),
      verified: (connection) => this.#onVerified(connection),
      handshake: counting?.handshake,
      whyNotRecorded,
    }
    makeRoom(process)
    // Runs before the program's own listeners, which may call process.exit().
    process.prependListener('exit', () => {
      for (const work of atExit) guarded(observe, work)()
    })
    const atExit = [
      () => this.#failing.giveUpAll(),
      () => this.#settle(),
      () => this.#dropUnread(),
      () => this.#save(),
      () => this.#saveCounts(0),
      () => {
        if (this.#isAsked && !this.#outcome) this.#nothingIsStored(TOO_LATE)
      },
      () => this.#log?.end(this.#pool.kept),
      // After the exit nobody could stop a slow key command or release a lock.
      () => this.#abandonKeys(),
    ]
  }

  #dropUnread(): void {
    for (const connection of [...this.#connecting, ...this.#unsettled]) connection.ended()
    this.#pool.dropUnread()
  }

  attend(socket: TLSSocket, call: Call, address?: string, observer = publish): void {
    const told = recorded(observer)
    const logged = this.#log?.begin(call, told)
    const around = { ...this.#around, observe: logged?.observe ?? told }
    const connection = this.#isLeftAlone(around.observe)
      ? undefined
      : Connection.attend(socket, call, around, address)
    if (connection) {
      this.#connecting.add(connection)
      this.#askForKey()
    } else call.beforeHandshake?.cancel()
    if (logged) this.#log?.follow(logged, socket)
  }

  attendNew<T>(call: Call, make: (session?: Buffer) => T, observer = publish): T {
    const told = recorded(observer)
    if (this.#isLeftAlone(told)) return make()
    const logged = this.#log?.begin(call, told)
    const around = { ...this.#around, observe: logged?.observe ?? told }
    const { made, connection } = Connection.attendNew(call, around, make)
    if (connection) this.#connecting.add(connection)
    if (logged && connection) this.#log?.follow(logged, connection.socket)
    return made
  }

  groupsFor(options: Call['options'], describe: () => Call): string | undefined {
    // Nearly all servers accept the groups that Node offers. The call is examined only if the server is known not to.
    const name = options.host || options.servername
    if (typeof name !== 'string' || this.#whyLeftAlone() !== undefined) return undefined
    this.#askAtOnce()
    const group = this.#knowledge.group(peerOfCall({ options }, { name }))
    if (group === undefined) return undefined
    const call = describe()
    return 'leftAlone' in admit(call, this.#settings) ? undefined : groupsWith(group, call)
  }

  #isLeftAlone(observer: Observer): boolean {
    const reason = this.#whyLeftAlone()
    if (reason !== undefined) observer('skip', { reason })
    return reason !== undefined
  }

  #whyLeftAlone(): string | undefined {
    return this.#leftAlone ?? whyNotRecorded() ?? (releaseInWords() === this.#release ? undefined : DISGUISED)
  }

  /** Asks for the key once, for the first connection that is attended. */
  #askForKey(): void {
    this.#askAtOnce()
    if (this.#isAsked) return
    this.#isAsked = true
    const onKeys = guarded(observe, (outcome: KeyOutcome) => this.#onKeys(outcome))
    const abandon = this.#loadKeys().fetchKeys(this.#settings.key, onKeys, { now: this.#around.now() })
    // If the answer has already arrived, a key may be in creation, and `#abandonKeys` must abandon that instead.
    if (!this.#outcome) this.#abandonKeys = abandon
  }

  /** Asks only the sources that answer immediately. */
  #askAtOnce(): void {
    if (this.#isAsked) return
    const outcome = fetchImmediateKeys(this.#settings.key)
    if (!outcome) return
    this.#isAsked = true
    guarded(observe, () => this.#onKeys(outcome))()
  }

  #onKeys(outcome: KeyOutcome): void {
    this.#outcome = outcome
    this.#openStore(outcome)
    for (const callback of this.#waiting.splice(0)) callback()
    if (outcome.creatable || outcome.overdue) this.#renewKeys()
    if (this.#pool.dirty) this.#saveSoon()
  }

  #openStore({ keys, creatable, source, reason }: KeyOutcome): void {
    if (!keys) {
      if (!creatable) this.#nothingIsStored(`nothing is kept without a key: ${source}: ${reason}`)
      return
    }
    const { cipher, reuse, hosts, maxAge } = this.#settings
    const directory = storeDirectory(this.#settings.directory)
    const [subkeys, ...previous] = takeSubkeys(keys)
    if (directory === undefined) return
    const slowStore = new SlowStore(directory)
    this.#store = new TicketStore({
      ...{ directory, subkeys, previous, cipher, reuse, hosts, maxAge, slowStore },
    })
    this.#pool.attach(this.#store)
    this.#failing.attach(this.#store.failures)
    this.#knowledge.attach(this.#store.facts)
  }

  /** Creates the first key, or the successor of last week's. */
  #renewKeys(): void {
    const grace = this.#clock.setTimeout(() => {}, NEW_KEY_GRACE)
    const onRenewed = guarded(observe, (outcome: KeyOutcome) => {
      this.#clock.clearTimeout(grace)
      this.#outcome = { ...outcome, keys: undefined, creatable: false, overdue: false }
      if (this.#store) return wipeKeys(outcome.keys)
      this.#openStore(outcome)
      this.#saveSoon()
    })
    this.#abandonKeys = this.#loadKeys().createKeysSoon(this.#settings.key, onRenewed, {
      now: this.#around.now(),
    })
  }

  /**
   * The connection's new tickets may be about to arrive. The rest of the batch that it took its ticket from is saved
   * before.
   */
  #onVerified(connection: Connection): void {
    this.#unsettled.add(connection)
    this.#settleTimer ??= this.#clock.setTimeout(() => this.#settle(), RELEASE_AFTER).unref()
    this.#saveSoon(true)
  }

  /**
   * Saves soon, because a program that is killed when its work is done never reaches the exit handler.
   * @param isLast save on the next tick: no more tickets are expected, and the program may end with the server's
   *   answer
   */
  #saveSoon(isLast = false): void {
    const save = () => this.#save()
    const wait = this.#isBurst() ? SAVE_AFTER : this.#savedAt + SAVE_INTERVAL - elapsed()
    if (wait > 0) this.#saveTimer ??= this.#clock.setTimeout(save, wait).unref()
    else if (isLast) this.#clock.nextTick(save)
    else this.#clock.setImmediate(save)
  }

  #isBurst(): boolean {
    for (const connection of this.#connecting) {
      if (connection.isConnecting) return true
      this.#connecting.delete(connection)
    }
    return false
  }

  /** @param interval minimum time since the last call: milliseconds */
  #saveCounts(interval: number): void {
    const now = this.#clock.now()
    const counts = now - this.#countedAt >= interval && this.#store ? counting?.take() : undefined
    if (!counts) return
    this.#countedAt = now
    guarded(observe, () => this.#store?.addCounts(counts))()
  }

  #save(): void {
    this.#clock.clearTimeout(this.#saveTimer)
    this.#saveTimer = undefined
    try {
      this.#flush()
    } catch (error) {
      this.#nothingIsStored(`not saved: ${(error as Error)?.message}`)
    }
    guarded(observe, () => this.#log?.save(this.#pool.kept))()
    this.#saveCounts(COUNTS_INTERVAL)
  }

  #flush(): void {
    if (!this.#store || !this.#pool.dirty) return
    const { kept } = this.#pool
    this.#pool.flush()
    if (this.#pool.kept > kept) this.#savedAt = elapsed()
    const { problem } = this.#store
    if (problem !== undefined) this.#nothingIsStored(`not saved: ${problem}`)
  }

  #settle(): void {
    this.#clock.clearTimeout(this.#settleTimer)
    this.#settleTimer = undefined
    for (const connection of this.#unsettled) {
      guarded(observe, () => {
        if (connection.settle()) this.#unsettled.delete(connection)
      })()
    }
    if (this.#unsettled.size > 0) {
      this.#settleTimer = this.#clock.setTimeout(() => this.#settle(), RELEASE_ANYWAY_AFTER).unref()
    }
  }

  #nothingIsStored(reason: string): void {
    observe('skip', { reason })
    this.#log?.problem(reason)
  }
}

/** Attends client connections. */
export interface Attendant {
  /**
   * Attends a connection that was seen in `tls.connect`. @param address the address that it connects to, if it is
   * already known
   */
  attend(socket: TLSSocket, call: Call, address?: string, observer?: Observer): void
  /**
   * The `ecdhCurve` that gives a new connection a key share for the group that the server asks for. Undefined if the
   * groups must stay as they are.
   * @param options of `tls.connect`
   * @param describe called only if the server is known to ask for another group
   */
  groupsFor(options: Call['options'], describe: () => Call): string | undefined
  /** Attends a connection that `make` creates over a socket that is already connected. */
  attendNew<T>(call: Call, make: (session?: Buffer) => T, observer?: Observer): T
}

/** For `bindingOf` of the library, which is called without a connection. */
export { admit } from '../tls/admission.ts'
export { whyProcessIsLeftAlone }

interface Started {
  readonly start: ProcessStart
  readonly clock: Clock
  /** Loads the key sources that need more code. */
  readonly loadKeys: () => Keys
  /** Raises the listener limit above which Node warns, and returns a function that undoes this. */
  readonly makeRoom: (emitter: EventEmitter) => () => void
  /** The server name that the ClientHello will contain. Undefined if it is not known. */
  readonly serverNameOf: (socket: TLSSocket, wanted: unknown) => unknown
}

/** @param env the environment, if a program passes its own instead of the one of the process */
export function start(started: Started, env?: Environment): Attendant {
  const summaryFile = summaryFileOf(env)
  const log = summaryFile === undefined ? undefined : new ConnectionLog(summaryFile, started)
  let reason: string
  try {
    const settings = readSettings(env)
    const problem = keepRecords(settings.policy.rules, started.clock.now) ?? settings.disabledBy
    if (problem === undefined) return new ProcessAttendant(settings, log, started)
    reason = problem
  } catch (error) {
    reason = String((error as Error)?.message)
  }
  observe('skip', { reason })
  return whereDisabled(reason, log)
}

/** An attendant that attends nothing, and reports the reason in a summary. */
function whereDisabled(reason: string, log: ConnectionLog | undefined): Attendant {
  if (log) process.prependListener('exit', () => guarded(observe, () => log.end(0))())
  const attend: Attendant['attend'] = (socket, call) => {
    call.beforeHandshake?.cancel()
    const logged = log?.begin(call, () => {})
    logged?.observe('skip', { reason })
    if (logged) log?.follow(logged, socket)
  }
  return { attend, groupsFor: () => undefined, attendNew: (_call, make) => make() }
}
