// What is loaded at the first TLS connection of a process: settings, key, store and pool put together.
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
import { type ProcessStart, releaseInWords } from '../tls/process-start.ts'
import { SessionPool } from '../tls/session-pool.ts'
import type { Clock } from './clock.ts'
import { ConnectionLog } from './connection-log.ts'
import { counting, keepRecords, observe, recorded } from './records.ts'

/** New tickets are written as they come, and at least this long after those before: milliseconds. */
const SAVE_INTERVAL = 25

/** While other connections are being made, they are written together, at the latest after this: milliseconds. */
const SAVE_AFTER = 100

/** A connection is released this long after its handshake: milliseconds. */
const RELEASE_AFTER = 100

/** One that has brought no data by then is released this much later: milliseconds. */
const RELEASE_ANYWAY_AFTER = 2_000

/** How long a program that has come to its end is held while a keychain takes a new key, once a week: milliseconds. */
const NEW_KEY_GRACE = 100

/** How often a program that goes on stores what it has counted: milliseconds. */
const COUNTS_INTERVAL = 60_000

const TOO_LATE = 'nothing is kept: the program ended before its key had come'

/** The sources of keys that need more code than a variable or a file, loaded only where those have none. */
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
  /** When tickets were last written: milliseconds, by a clock that nobody sets. */
  #savedAt = Number.NEGATIVE_INFINITY
  #settleTimer: NodeJS.Timeout | undefined
  /** Connections whose handshake may not be over. */
  readonly #connecting = new Set<Connection>()
  /** Connections that are still looked after. */
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
        // Now: a socket that is connected already starts its handshake in this turn.
        this.#askForKey()
        if (this.#outcome) callback()
        else this.#waiting.push(callback)
      },
      changed: (isLast) => this.#saveSoon(isLast),
      verified: (connection) => this.#onVerified(connection),
      handshake: counting?.handshake,
    }
    makeRoom(process)
    // Before the program's own listeners, which may call process.exit().
    process.prependListener('exit', () => {
      guarded(observe, () => this.#failing.giveUpAll())()
      this.#settle()
      guarded(observe, () => this.#dropUnread())()
      this.#save()
      this.#saveCounts(0)
      if (this.#isAsked && !this.#outcome) this.#nothingIsStored(TOO_LATE)
      guarded(observe, () => this.#log?.end(this.#pool.kept))()
      // Nobody is left to end a key command that takes too long, or to give a lock back.
      this.#abandonKeys()
    })
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
    // Nearly all servers take what Node offers: so the call is looked at only where one does not.
    const name = options.host || options.servername
    if (typeof name !== 'string' || this.#leftAlone !== undefined) return undefined
    this.#askAtOnce()
    const group = this.#knowledge.group(peerOfCall({ options }, { name }))
    if (group === undefined || this.#isLeftAlone(observe)) return undefined
    const call = describe()
    return 'leftAlone' in admit(call, this.#settings) ? undefined : groupsWith(group, call)
  }

  #isLeftAlone(observer: Observer): boolean {
    const reason =
      this.#leftAlone ??
      (releaseInWords() === this.#release ? undefined : 'what process says of this Node was replaced')
    if (reason !== undefined) observer('skip', { reason })
    return reason !== undefined
  }

  /** Once, and for a connection that is attended. */
  #askForKey(): void {
    this.#askAtOnce()
    if (this.#isAsked) return
    this.#isAsked = true
    const onKeys = guarded(observe, (outcome: KeyOutcome) => this.#onKeys(outcome))
    const abandon = this.#loadKeys().fetchKeys(this.#settings.key, onKeys, { now: this.#around.now() })
    // Where the answer is there already, a key may be being made: that is what is to be abandoned then.
    if (!this.#outcome) this.#abandonKeys = abandon
  }

  /** The same, where the key can be had without waiting. */
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

  /** Makes the first key, or the one that follows last week's. */
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

  /** Its tickets may be about to come. What is left of those that it was offered one of is written before. */
  #onVerified(connection: Connection): void {
    this.#unsettled.add(connection)
    this.#settleTimer ??= this.#clock.setTimeout(() => this.#settle(), RELEASE_AFTER).unref()
    this.#saveSoon(true)
  }

  /**
   * A program that is killed when it has done its work has no exit to save at.
   * @param isLast no more is to be waited for: the answer of the server may be next, and the program gone with it
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

  /** @param interval not sooner than this after the last time: milliseconds */
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

/** Looks after client connections. */
export interface Attendant {
  /** One that was seen in `tls.connect`. @param address the one that is being reached, where that is known already */
  attend(socket: TLSSocket, call: Call, address?: string, observer?: Observer): void
  /**
   * The `ecdhCurve` by which a connection that is about to be made offers the group that the server asks for; undefined where
   * the groups are to be left as they are.
   * @param options those of `tls.connect` @param describe called only where the server is known to ask for another group
   */
  groupsFor(options: Call['options'], describe: () => Call): string | undefined
  /** One that `make` is to make over a socket that is connected already. */
  attendNew<T>(call: Call, make: (session?: Buffer) => T, observer?: Observer): T
}

/** For `bindingOf` of the library, which is asked without a connection. */
export { admit } from '../tls/admission.ts'
export { whyProcessIsLeftAlone }

interface Started {
  readonly start: ProcessStart
  readonly clock: Clock
  /** Loads the sources of keys that need more code. */
  readonly loadKeys: () => Keys
  /** Makes room for a listener of ours at each event, and returns what takes it away. */
  readonly makeRoom: (emitter: EventEmitter) => () => void
  /** The name that the ClientHello will ask for; undefined where that is not known. */
  readonly serverNameOf: (socket: TLSSocket, wanted: unknown) => unknown
}

/** @param env what the user has set, and the program in its place */
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

/** Looks after nothing, and says so in a summary. */
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
