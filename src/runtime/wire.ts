// What the preload loads at the first TLS connection of a process: settings, key, store and pool put together.
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { unixNow } from '../common/clock.ts'
import { fetchImmediateKeys } from '../keys/immediate-sources.ts'
import { allKeys, type KeyOutcome, wipeKeys } from '../keys/key-source.ts'
import { deriveSubkeys, type Subkeys } from '../seal/subkeys.ts'
import { readSettings, type Settings } from '../settings.ts'
import { isTicketFile } from '../store/file-names.ts'
import { storeDirectory } from '../store/private-directory.ts'
import { namesIn } from '../store/sweep.ts'
import { TicketStore } from '../store/ticket-store.ts'
import { Connection, type Surrounding } from '../tls/connection.ts'
import { defaultSecurityLevel, describeDefaultCa, describeOpenssl } from '../tls/default-trust.ts'
import { guarded, observe } from '../tls/events.ts'
import type { ConnectOptions, ProcessTrust, TlsDefaults } from '../tls/node-tls.ts'
import { watchSecureContexts } from '../tls/secure-contexts.ts'
import { SessionPool } from '../tls/session-pool.ts'
import { makeRoom } from './listeners.ts'

/** New tickets are written this long after the first of them came, or at exit: milliseconds. */
const SAVE_AFTER = 100

/**
 * How long a program that has come to its end is held for a key that is on its way to the first tickets of all:
 * milliseconds. Later, one that has ended before its key is there had no use for tickets either.
 */
const KEY_GRACE = 10

/** The same while a keychain that has just answered takes a new key: once a week. */
const NEW_KEY_GRACE = 100

/** The sources of keys that need more code than the first ones do, loaded only where those have none. */
type Keys = typeof import('../keys/chain.ts')

class Wire {
  readonly #pool: SessionPool
  readonly #around: Surrounding
  #outcome: KeyOutcome | undefined
  #store: TicketStore | undefined
  #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #asked = false
  #grace: NodeJS.Timeout | undefined
  #holding = false
  #renewing = false
  #abandonKeys = () => {}
  #connections = 0
  #attended = 0
  #resumed = 0
  #full = 0

  constructor(
    private readonly settings: Settings,
    processTrust: ProcessTrust,
    readDefaults: () => TlsDefaults,
    private readonly loadKeys: () => Keys,
  ) {
    this.#pool = new SessionPool(unixNow, settings.reuse)
    let defaultCa: { word: string | undefined; generation: number } | undefined
    this.#around = {
      pool: this.#pool,
      observe,
      now: unixNow,
      trust: {
        defaultCa: (generation) => {
          if (generation !== readDefaults().caGeneration) return undefined
          if (defaultCa?.generation !== generation)
            defaultCa = { word: describeDefaultCa(processTrust, generation), generation }
          return defaultCa.word
        },
        openssl: describeOpenssl(processTrust),
        securityLevel: defaultSecurityLevel(),
        clientCertificates: settings.clientCertificates,
      },
      whenReady: (callback) => (this.#outcome ? callback() : void this.#waiting.push(callback)),
      changed: () => this.#onChange(),
    }
    watchSecureContexts(readDefaults)
    makeRoom(process, 1)
    // First of all: a program may call process.exit() in a listener of its own.
    process.prependListener('exit', () => {
      this.#save()
      this.#summarise()
      // Nobody is left to end a key command that takes too long, or to give a lock back.
      this.#abandonKeys()
    })
    const atHand = fetchImmediateKeys(settings.key)
    if (atHand) this.#onKeys(atHand)
  }

  /** As bits: a resumption, keeping, a full handshake that we looked after, the default cipher's sealing. */
  get parts(): number {
    const kept = this.#pool.kept > 0
    const sealed = kept && this.settings.cipher === 'xsalsa20-poly1305'
    return [this.#resumed > 0, kept, this.#full > 0, sealed].reduce(
      (bits, ran, i) => bits | (Number(ran) << i),
      0,
    )
  }

  attend(socket: TLSSocket, options: ConnectOptions, defaults: TlsDefaults): void {
    this.#connections++
    const attended = Connection.attend(socket, options, defaults, this.#around)
    if (attended) this.#attended++
    socket.once('secureConnect', () => {
      if (socket.isSessionReused()) this.#resumed++
      else if (attended) this.#full++
    })
  }

  get lacksKey(): boolean {
    return this.#outcome === undefined
  }

  /** Once, and for a connection that is attended. */
  askForKey(): void {
    if (this.#outcome || this.#asked || this.#attended === 0) return
    this.#asked = true
    try {
      const { key } = this.settings
      const onKeys = guarded(observe, (outcome: KeyOutcome) => this.#onKeys(outcome))
      const abandon = this.loadKeys().fetchKeys(key, onKeys)
      // Where the answer is there already, it may have come to making a key, and that is to be abandoned.
      if (!this.#outcome) this.#abandonKeys = abandon
    } catch (error) {
      observe('skip', { reason: `no key: ${(error as Error)?.message}` })
    }
  }

  #onKeys(outcome: KeyOutcome): void {
    clearTimeout(this.#grace)
    this.#outcome = outcome
    this.#openStore(outcome)
    for (const callback of this.#waiting.splice(0)) callback()
    if (this.#pool.dirty) this.#onChange()
  }

  #openStore({ keys, creatable, source, reason }: KeyOutcome): void {
    if (!keys) {
      if (!creatable) observe('skip', { reason: `nothing is kept, for want of a key: ${source}: ${reason}` })
      return
    }
    const { cipher, reuse } = this.settings
    const directory = storeDirectory(this.settings.directory)
    if (directory !== undefined) {
      const [subkeys, ...previous] = allKeys(keys).map(deriveSubkeys) as [Subkeys, ...Subkeys[]]
      this.#store = new TicketStore({ directory, subkeys, previous, cipher, reuse })
      this.#pool.attach(this.#store)
    }
    wipeKeys(keys)
  }

  /** There is something to save: soon, so that little is lost with a program that is killed. */
  #onChange(): void {
    this.#timer ??= setTimeout(() => this.#save(), SAVE_AFTER).unref()
    const { creatable, overdue } = this.#outcome ?? {}
    if (!this.#outcome) this.#holdForFirstTickets()
    else if ((creatable || overdue) && !this.#renewing) this.#renewKeys()
  }

  #holdForFirstTickets(): void {
    if (this.#holding || !this.#asked) return
    this.#holding = true
    const directory = storeDirectory(this.settings.directory)
    const isEmpty = directory !== undefined && !namesIn(directory).some(isTicketFile)
    if (isEmpty) this.#grace = setTimeout(() => {}, KEY_GRACE)
  }

  /** Only a process that has tickets to keep makes a key, or a new one in the place of last week's. */
  #renewKeys(): void {
    this.#renewing = true
    this.#grace = setTimeout(() => {}, NEW_KEY_GRACE)
    const onRenewed = guarded(observe, (outcome: KeyOutcome) => {
      clearTimeout(this.#grace)
      this.#outcome = { ...outcome, keys: undefined, creatable: false, overdue: false }
      if (this.#store) return wipeKeys(outcome.keys)
      this.#openStore(outcome)
      this.#onChange()
    })
    this.#abandonKeys = this.loadKeys().createKeysSoon(this.settings.key, onRenewed)
  }

  #save(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    try {
      if (!this.#store || !this.#pool.dirty) return
      this.#pool.flush()
      const { problem } = this.#store
      if (problem !== undefined) observe('skip', { reason: `not saved: ${problem}` })
      this.#store.sweepIfDue(unixNow())
    } catch (error) {
      observe('skip', { reason: `not saved: ${(error as Error)?.message}` })
    }
  }

  /** Adds this process to what `ticketkeep run --summary` will print. */
  #summarise(): void {
    const { summaryFile } = this.settings
    if (!summaryFile) return
    const line = { connections: this.#connections, resumed: this.#resumed, kept: this.#pool.kept }
    try {
      // No O_CREAT: the file is gone once the command that asked for it has ended, before this process did.
      const fd = openSync(summaryFile, constants.O_WRONLY | constants.O_APPEND)
      writeSync(fd, `${JSON.stringify(line)}\n`)
      closeSync(fd)
    } catch {}
  }
}

interface Attendant {
  /** Whether a key is still to be asked for. */
  readonly lacksKey: boolean
  /** Looks after one client connection, seen in `tls.connect`; `defaults` as they were then. */
  attend(socket: TLSSocket, options: ConnectOptions, defaults: TlsDefaults): void
  askForKey(): void
}

let wire: Wire | undefined

/** Which parts have run that a later process may need. */
export const hasRun = () => wire?.parts ?? 0

/**
 * @param processTrust of the process as it was started
 * @param readDefaults what the module `tls` says now
 * @param loadKeys loads `keys.cjs`
 */
export function start(
  processTrust: ProcessTrust,
  readDefaults: () => TlsDefaults,
  loadKeys: () => Keys,
): Attendant {
  try {
    const settings = readSettings()
    if (!settings.disabled) wire = new Wire(settings, processTrust, readDefaults, loadKeys)
  } catch (error) {
    observe('skip', { reason: (error as Error)?.message })
  }
  return wire ?? { lacksKey: false, attend() {}, askForKey() {} }
}
