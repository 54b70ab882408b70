import { TicketkeepError } from '../errors.ts'
import { type HostPort, hostPort, peerKey } from '../host-port.ts'
import { allowsHost } from '../host-rules.ts'
import type { KeySourceName } from '../key-sources.ts'
import type { KeyOutcome } from '../keys/key-source.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import type { TicketStore } from '../store/ticket-store.ts'
import { copyEntry, isFresh, type StoredTicket, TICKETS_A_PEER, type TicketEntry } from '../ticket-entry.ts'
import { loadStorage } from './load-storage.ts'
import { given, makePlan, type Plan, type TicketCacheOptions } from './plan.ts'

interface Pending {
  readonly peer: HostPort
  readonly tickets: TicketEntry[]
}

/**
 * TLS session tickets by host and port, at most four each, kept for 24 hours at most, and encrypted on disk with a
 * key that is this user's own.
 *
 * It knows only host and port. **It does not check that two connections trust the same certificates.** So give each entry the
 * binding of its connection ({@link bindingOf}), and offer it under that binding only. {@link connect}, {@link TicketAgent},
 * {@link ticketConnector} and {@link resumable} do that and more by themselves.
 *
 * What is put stays in memory until `save`. What is on disk is looked up when asked for, so tickets that other
 * processes saved since are seen. Where there is no key (`keySource` is `memory`), everything works and nothing
 * is ever written. Where tickets are switched off, by the user or the policy of the machine, the cache is empty and stays
 * so. So it is for hosts that the policy does not allow.
 *
 * Every verb throws {@link TicketkeepError} `ERR_CLOSED` after `close`, and `ERR_INVALID_HOST` or `ERR_INVALID_PORT` for what
 * is no peer. A file that cannot be read counts as empty. Only `save` reports errors of the disk.
 *
 * @example
 * const cache = await TicketCache.open()
 * const session = cache.take('registry.example', 443)?.ticket
 * // connect with `session`; then, for each 'session' event:
 * cache.put('registry.example', 443, { ticket, spkiFp, storedAtUnixSecs: Math.floor(Date.now() / 1000) })
 * cache.save()
 * cache.close()
 */
export class TicketCache {
  readonly #plan: Plan
  readonly #memory = new Map<string, Pending>()
  #outcome: KeyOutcome | undefined
  #source: KeySourceName = 'memory'
  #subkeys: Subkeys[] = []
  #store: TicketStore | undefined
  #isClosed = false

  /**
   * Opens the cache at a directory, or at the path of a plaintext ticket file: `tls-tickets.json` means the
   * directory `tls-tickets` beside it, and a plaintext file found there is moved into it, encrypted, and removed.
   *
   * A cache that is missing, damaged or not ours is an empty one, and no error.
   *
   * @param path a directory, or a file that ends in `.json`. Default: `TICKETKEEP_DIR`, or the user's cache directory
   * @param options override the environment
   * @returns the cache, once the key is there. Only a keychain and a command take time
   * @throws {TicketkeepError} `ERR_INVALID_PATH`, `ERR_INVALID_SETTING`. `ERR_KEY_UNAVAILABLE` if a key source was asked for
   *   by name and gives no key
   */
  static async open(path?: string, options: TicketCacheOptions = {}): Promise<TicketCache> {
    const plan = makePlan(path, options)
    const { fetchKeys, waitFor } = loadStorage()
    return new TicketCache(plan, given(plan, options) ?? (await waitFor(fetchKeys, plan.settings.key)))
  }

  /**
   * The same, but blocks until the key is there. A keychain can take a while.
   *
   * @param path a directory, or a file that ends in `.json`. Default: `TICKETKEEP_DIR`, or the user's cache directory
   * @param options override the environment
   * @returns the cache
   * @throws {TicketkeepError} the same errors as {@link TicketCache.open}
   */
  static openSync(path?: string, options: TicketCacheOptions = {}): TicketCache {
    const plan = makePlan(path, options)
    return new TicketCache(plan, given(plan, options) ?? loadStorage().fetchKeysSync(plan.settings.key))
  }

  private constructor(plan: Plan, outcome: KeyOutcome) {
    const asked = plan.settings.key.source
    const isMissing = outcome.keys === undefined && !outcome.creatable
    if (isMissing && asked !== 'auto' && asked !== 'memory' && !plan.settings.disabled) {
      throw new TicketkeepError('ERR_KEY_UNAVAILABLE', `no key from the source ${asked}: ${outcome.reason}`)
    }
    this.#plan = plan
    this.#use(outcome)
    if (plan.plaintext !== undefined && !plan.settings.disabled) this.#migrate(plan.plaintext)
  }

  /** Where the master key comes from. `memory` means that there is no key, and that nothing is written to disk. */
  get keySource(): KeySourceName {
    return this.#source
  }

  /**
   * The fresh tickets of a peer. They stay in the cache. To offer a TLS 1.3 ticket, use {@link TicketCache.take} instead.
   *
   * @param host a DNS name or an IP address, in any spelling that {@link hostPort} takes
   * @param port 1 to 65535
   * @returns copies, oldest first: at most the four newest
   * @throws {TicketkeepError} `ERR_INVALID_HOST`, `ERR_INVALID_PORT`, `ERR_CLOSED`
   */
  get(host: string, port: number): TicketEntry[] {
    const peer = this.#peer(host, port)
    const now = this.#plan.now()
    const onDisk = (this.#store?.list(now, peer) ?? []).map(({ ticket }) => ticket).filter(isWhole)
    const pending = this.#memory.get(peerKey(peer))?.tickets ?? []
    return newest([...onDisk, ...pending.filter((entry) => this.#isFresh(entry, now))]).map(copyEntry)
  }

  /**
   * Adds a ticket. If the peer has four unsaved tickets, the oldest one is dropped. It stays in memory until {@link TicketCache.save}.
   *
   * @param host a DNS name or an IP address, in any spelling that {@link hostPort} takes
   * @param port 1 to 65535
   * @param entry the ticket, which is copied
   * @throws {TicketkeepError} `ERR_INVALID_TICKET`, `ERR_INVALID_HOST`, `ERR_INVALID_PORT`, `ERR_CLOSED`
   */
  put(host: string, port: number, entry: TicketEntry): void {
    const peer = this.#peer(host, port)
    this.#remember(peer, copyEntry(entry))
  }

  /**
   * Takes the newest ticket of a peer out of the cache, at once and for every process: of any number that try,
   * one gets it. So a TLS 1.3 ticket is used once (RFC 8446, appendix C.4).
   *
   * @param host a DNS name or an IP address, in any spelling that {@link hostPort} takes
   * @param port 1 to 65535
   * @param accept returns false for a ticket that is to stay. It may be called twice for one ticket. Default: accepts every ticket
   * @returns the ticket, or undefined if there is none
   * @throws {TicketkeepError} `ERR_INVALID_SETTING` if `accept` is not a function, `ERR_INVALID_HOST`, `ERR_INVALID_PORT`,
   *   `ERR_CLOSED`, and whatever `accept` throws
   */
  take(host: string, port: number, accept?: (entry: TicketEntry) => boolean): TicketEntry | undefined {
    const peer = this.#peer(host, port)
    if (accept !== undefined && typeof accept !== 'function') {
      throw new TicketkeepError('ERR_INVALID_SETTING', 'accept is not a function')
    }
    const now = this.#plan.now()
    const isWanted = (entry: TicketEntry) => accept === undefined || accept(copyEntry(entry)) !== false
    const pending = this.#memory.get(peerKey(peer))?.tickets ?? []
    const inMemory = pending.findLast((entry) => this.#isFresh(entry, now) && isWanted(entry))
    const isNewer = (entry: TicketEntry) =>
      inMemory === undefined || entry.storedAtUnixSecs > inMemory.storedAtUnixSecs
    const onDisk = this.#store?.takeOne(
      peer,
      now,
      (entry) => isWhole(entry) && isNewer(entry) && isWanted(entry),
    )
    if (onDisk !== undefined) return copyEntry(onDisk)
    if (inMemory === undefined) return undefined
    pending.splice(pending.indexOf(inMemory), 1)
    if (pending.length === 0) this.#memory.delete(peerKey(peer))
    return inMemory
  }

  /**
   * Removes every ticket of a peer, at once and for every process.
   *
   * @param host a DNS name or an IP address, in any spelling that {@link hostPort} takes
   * @param port 1 to 65535
   * @throws {TicketkeepError} `ERR_INVALID_HOST`, `ERR_INVALID_PORT`, `ERR_CLOSED`
   */
  invalidate(host: string, port: number): void {
    const peer = this.#peer(host, port)
    this.#memory.delete(peerKey(peer))
    this.#store?.invalidate(peer)
  }

  /**
   * Removes what is no longer fresh, and the peers least recently stored where there are more than 1,024.
   *
   * @returns how many tickets were removed
   * @throws {TicketkeepError} `ERR_CLOSED`
   */
  prune(): number {
    this.#checkOpen()
    const now = this.#plan.now()
    let removed = this.#store?.prune(now).tickets ?? 0
    for (const [name, { peer, tickets }] of this.#memory) {
      const kept = tickets.filter((entry) => this.#isFresh(entry, now))
      removed += tickets.length - kept.length
      if (kept.length === 0) this.#memory.delete(name)
      else this.#memory.set(name, { peer, tickets: kept })
    }
    return removed
  }

  /**
   * Writes what was put since the last save, with what is stored of the same peers and bindings: at most the four
   * newest, of TLS 1.2 sessions the newest one. Nothing that other processes save is lost. If the key has not
   * been made yet, this makes it. If there can be none, nothing is written, without an error.
   *
   * @throws {TicketkeepError} `ERR_STORE_UNUSABLE` if it cannot write. What was not written stays in memory. `ERR_CLOSED`
   */
  save(): void {
    this.#checkOpen()
    if (this.#memory.size === 0 || !this.#canKeep()) return
    const store = this.#store
    if (store === undefined) {
      throw new TicketkeepError('ERR_STORE_UNUSABLE', 'there is no cache directory: set TICKETKEEP_DIR')
    }
    const now = this.#plan.now()
    for (const [name, { peer, tickets }] of this.#memory) {
      const stored = takeStored(store, peer, tickets, now)
      const ours = newest([...stored.filter(isWhole), ...tickets])
      store.save(peer, [...stored.filter((ticket) => !isWhole(ticket)), ...ours], now)
      if (store.problem !== undefined) {
        this.#memory.set(name, { peer, tickets: ours })
        throw new TicketkeepError('ERR_STORE_UNUSABLE', `tickets cannot be kept: ${store.problem}`)
      }
      this.#memory.delete(name)
    }
  }

  /**
   * The number of fresh tickets, of which at most four count for each peer. It reads every file of the directory.
   *
   * @throws {TicketkeepError} `ERR_CLOSED`
   */
  get size(): number {
    this.#checkOpen()
    const now = this.#plan.now()
    const counts = new Map<string, number>()
    const count = (peer: HostPort) => counts.set(peerKey(peer), (counts.get(peerKey(peer)) ?? 0) + 1)
    for (const { peer, ticket } of this.#store?.list(now) ?? []) if (isWhole(ticket)) count(peer)
    for (const { peer, tickets } of this.#memory.values()) {
      for (const entry of tickets) if (this.#isFresh(entry, now)) count(peer)
    }
    return [...counts.values()].reduce((sum, n) => sum + Math.min(n, TICKETS_A_PEER), 0)
  }

  /**
   * Whether there is no fresh ticket, in memory or on disk. It reads every file of the directory.
   *
   * @returns true if `size` is 0
   * @throws {TicketkeepError} `ERR_CLOSED`
   */
  isEmpty(): boolean {
    return this.size === 0
  }

  /** Wipes the keys. What was put and not saved is lost. It may be called twice. */
  close(): void {
    this.#isClosed = true
    this.#memory.clear()
    this.#forgetKeys()
  }

  readonly #isFresh = (entry: TicketEntry, now: number) => isFresh(entry, now, this.#plan.settings.maxAge)

  #checkOpen(): void {
    if (this.#isClosed) throw new TicketkeepError('ERR_CLOSED', 'the cache is closed')
  }

  #peer(host: string, port: number): HostPort {
    this.#checkOpen()
    return hostPort(host, port)
  }

  #remember(peer: HostPort, entry: TicketEntry): void {
    const { disabled, hosts } = this.#plan.settings
    if (disabled || !allowsHost(hosts, peer.host)) return
    const name = peerKey(peer)
    const tickets = [...(this.#memory.get(name)?.tickets ?? []), entry].slice(-TICKETS_A_PEER)
    // A Map keeps its keys in the order of insertion: the first is the least recently stored.
    this.#memory.delete(name)
    this.#memory.set(name, { peer, tickets })
    if (this.#memory.size > loadStorage().MAX_PEERS) this.#memory.delete(this.#memory.keys().next().value!)
  }

  // Sees to it that a key that has still to be made, or to be rotated, is. False: nothing may be written.
  #canKeep(): boolean {
    if (this.#outcome?.creatable || this.#outcome?.overdue) {
      const outcome = loadStorage().createKeys(this.#plan.settings.key)
      if (outcome.keys !== undefined || this.#subkeys.length === 0) this.#use(outcome)
    }
    return this.#subkeys.length > 0
  }

  #use(outcome: KeyOutcome): void {
    const { directory, settings } = this.#plan
    this.#outcome = outcome
    const { keys } = outcome
    this.#source = keys !== undefined || outcome.creatable ? outcome.source : 'memory'
    if (keys === undefined) return
    this.#forgetKeys()
    const { takeSubkeys, TicketStore } = loadStorage()
    const [subkeys, ...previous] = takeSubkeys(keys)
    this.#subkeys = [subkeys, ...previous]
    const { cipher, hosts, maxAge } = settings
    if (directory === undefined) return
    this.#store = new TicketStore({ directory, subkeys, previous, cipher, hosts, maxAge })
  }

  #forgetKeys(): void {
    for (const subkeys of this.#subkeys.splice(0)) subkeys.wipe()
    this.#store = undefined
  }

  #migrate(path: string): void {
    const { importPlaintextFile, readPlaintextFile } = loadStorage()
    const file = readPlaintextFile(path)
    if (file.state === 'absent' || file.state === 'foreign') return
    if (this.#canKeep() && this.#store !== undefined) {
      if (importPlaintextFile(path, this.#store, this.#plan.now()).state !== 'failed') return
    }
    // Where it cannot be sealed, what it holds is served from memory, and the file stays.
    for (const { peer, ticket } of file.state === 'tickets' ? file.tickets : []) this.#remember(peer, ticket)
  }
}

/** Of a ticket of the preload the certificate is stored apart: without it OpenSSL cannot read the session. */
const isWhole = ({ certificate }: StoredTicket) => certificate === undefined

/** The four newest, the oldest first; of one second those that came last. */
const newest = (tickets: readonly TicketEntry[]): TicketEntry[] =>
  tickets.toSorted((a, b) => a.storedAtUnixSecs - b.storedAtUnixSecs).slice(-TICKETS_A_PEER)

/** Takes all that is stored of a peer under the bindings of these tickets. */
function takeStored(
  store: TicketStore,
  peer: HostPort,
  tickets: readonly TicketEntry[],
  now: number,
): TicketEntry[] {
  const taken: TicketEntry[] = []
  for (const binding of new Set(tickets.map(({ binding = '' }) => binding))) {
    let batch: TicketEntry[]
    while ((batch = store.take(peer, binding, now)).length > 0) taken.push(...batch)
  }
  return taken
}
