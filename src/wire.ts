// What the preload loads at the first TLS connection of a process: settings, key, store and pool put together.
import { appendFileSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { createKeys, fetchKeys } from './keys/chain.ts'
import type { KeyOutcome } from './keys/key-source.ts'
import { deriveSubkeys } from './seal/subkeys.ts'
import { SessionPool } from './session-pool.ts'
import { readSettings, type Settings } from './settings.ts'
import { storeDirectory } from './store/private-directory.ts'
import { TicketStore } from './store/ticket-store.ts'
import { Connection, type Surrounding } from './tls/connection.ts'
import { describeDefaultCa, describeOpenssl, watchDefaultCa } from './tls/default-trust.ts'
import { observe } from './tls/events.ts'
import type { ConnectOptions, TlsDefaults } from './tls/node-tls.ts'
import { watchSecureContexts } from './tls/secure-contexts.ts'

/** New tickets are written this long after the first of them came, or at exit: milliseconds. */
const SAVE_AFTER = 100

const unixNow = () => Math.floor(Date.now() / 1000)

class Wire {
  readonly #pool: SessionPool
  readonly #around: Surrounding
  #outcome: KeyOutcome | undefined
  #store: TicketStore | undefined
  #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #connections = 0
  #resumed = 0

  constructor(private readonly settings: Settings) {
    this.#pool = new SessionPool(unixNow, settings.reuse)
    let defaultCa: { word: string | undefined } | undefined
    this.#around = {
      pool: this.#pool,
      observe,
      now: unixNow,
      trust: {
        defaultCa: () => (defaultCa ??= { word: describeDefaultCa(process) }).word,
        openssl: describeOpenssl(process),
        securityLevel: defaultSecurityLevel(process.versions.openssl),
        clientCertificates: settings.clientCertificates,
      },
      whenReady: (callback) => (this.#outcome ? callback() : void this.#waiting.push(callback)),
      changed: () => {
        this.#timer ??= setTimeout(() => this.#save(), SAVE_AFTER).unref()
      },
    }
    watchSecureContexts()
    watchDefaultCa(() => {
      defaultCa = undefined
    })
    process.on('exit', () => {
      this.#save()
      this.#summarise()
    })
    fetchKeys(settings.key, (outcome) => this.#onKeys(outcome))
  }

  attend(socket: TLSSocket, options: ConnectOptions, defaults: TlsDefaults): void {
    this.#connections++
    socket.once('secureConnect', () => {
      if (socket.isSessionReused()) this.#resumed++
    })
    Connection.attend(socket, options, defaults, this.#around)
  }

  #onKeys(outcome: KeyOutcome): void {
    this.#open(outcome)
    for (const callback of this.#waiting.splice(0)) callback()
  }

  #open(outcome: KeyOutcome): void {
    this.#outcome = outcome
    const { keys } = outcome
    if (!keys) return
    const { cipher, reuse } = this.settings
    const directory = storeDirectory(this.settings.directory)
    if (directory !== undefined) {
      const previous = keys.previous && { previous: deriveSubkeys(keys.previous) }
      this.#store = new TicketStore({
        directory,
        subkeys: deriveSubkeys(keys.current),
        ...previous,
        cipher,
        reuse,
      })
      this.#pool.attach(this.#store)
    }
    keys.current.fill(0)
    keys.previous?.fill(0)
  }

  #save(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    try {
      if (!this.#pool.dirty) return
      if (this.#outcome?.creatable && !this.#store) this.#open(createKeys(this.settings.key))
      this.#pool.flush()
      this.#store?.sweepIfDue(unixNow())
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
      appendFileSync(summaryFile, `${JSON.stringify(line)}\n`, { mode: 0o600 })
    } catch {}
  }
}

/** OpenSSL's own default: level 2 since 3.2, level 1 before. */
function defaultSecurityLevel(openssl: string): 1 | 2 {
  const [major = 0, minor = 0] = openssl.split('.').map(Number)
  return major > 3 || (major === 3 && minor >= 2) ? 2 : 1
}

let wire: Wire | undefined
try {
  const settings = readSettings()
  if (!settings.disabled) wire = new Wire(settings)
} catch (error) {
  observe('skip', { reason: (error as Error)?.message })
}

/** One client connection, seen in `tls.connect`; `defaults` as they were then. */
export function attend(socket: TLSSocket, options: ConnectOptions, defaults: TlsDefaults): void {
  wire?.attend(socket, options, defaults)
}
