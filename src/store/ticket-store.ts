import { randomBytes } from 'node:crypto'
import type { CipherName } from '../ciphers.ts'
import type { HostPort } from '../host-port.ts'
import { allowsHost, type HostRules } from '../host-rules.ts'
import type { Batch } from '../seal/batch-bytes.ts'
import { cipherInForce, sealBatch } from '../seal/box.ts'
import type { Counts } from '../seal/counts-text.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { isFresh, isTicketEntry, MAX_AGE, type StoredTicket } from '../ticket-entry.ts'
import { MAX_PEERS, prune, sweepSome, touch } from './bounds.ts'
import { appendCounts, sumCounts } from './counts-file.ts'
import { FailureLog } from './failure-log.ts'
import { groupTickets, type TicketsOfPeer } from './group-tickets.ts'
import {
  addressTagOf,
  batchPrefix,
  bindingOf,
  bindingPrefix,
  folderName,
  folderPrefix,
  isBatchName,
  isExpired,
  isFactName,
  isTemporaryName,
  keyTagOf,
  namesReusable,
  newestFirst,
  peerNameOf,
  timeOf,
} from './names.ts'
import { PeerFacts } from './peer-facts.ts'
import { BURST, namesIn, PeerFolders } from './peer-folders.ts'
import { findDirectory } from './private-directory.ts'
import type { SlowStore } from './slow-store.ts'
import { openStored, type StoredBatch, storedBatches } from './stored-batches.ts'

export interface TicketStoreOptions {
  /** An absolute path. Created at the first `save`. */
  readonly directory: string
  readonly subkeys: Subkeys
  /** The subkeys from before the last rotations, newest first. They are used only to read tickets. */
  readonly previous?: readonly Subkeys[]
  readonly cipher: CipherName
  /** Single-use tickets are not removed when they are read. */
  readonly reuse?: boolean
  /** The hosts that the policy of the machine allows. Default: every host. */
  readonly hosts?: HostRules
  /** The longest time after a full handshake that the policy allows: seconds. Default: 24 hours. */
  readonly maxAge?: number
  /** If set, the store is left alone while its file system is slow. For programs whose user must not wait for it. */
  readonly slowStore?: SlowStore
}

/** A stored ticket and its peer. */
export interface ListedTicket {
  readonly peer: HostPort
  readonly ticket: StoredTicket
}

/** How many files were removed, and how many could not be. */
export interface Removed {
  readonly removed: number
  readonly left: number
}

/** The most batches that are kept per peer. */
const MAX_BATCHES = 64

/** How long a listing may be used to count batches: milliseconds. */
const COUNT_LASTS = 60_000

/** How often a directory is swept in which no folder is made: seconds. */
const SWEEP_INTERVAL = 3_600

/**
 * Tickets on disk: one private directory, a folder per peer, a sealed file per batch. Any number of processes may read
 * and write, without a lock. A file that cannot be read, or does not match its name, is a miss. Methods do not throw
 * unless documented.
 */
export class TicketStore {
  readonly directory: string
  /** How servers responded to offers. */
  readonly failures: FailureLog
  /** Other facts about servers. */
  readonly facts: PeerFacts
  /** Why the last save kept less than it was given, as a phrase for people. */
  problem: string | undefined
  readonly #current: Subkeys
  readonly #keys: readonly [Subkeys, ...Subkeys[]]
  readonly #folders: PeerFolders
  readonly #cipher: CipherName
  readonly #reuse: boolean
  readonly #hosts: HostRules
  readonly #maxAge: number
  /** The number of folders of our key, if known. */
  #peers: number | undefined
  #sweptAt = 0

  constructor(options: TicketStoreOptions) {
    this.directory = options.directory
    this.#current = options.subkeys
    const keys = [options.subkeys, ...(options.previous ?? [])] as const
    this.#keys = keys
    this.#folders = new PeerFolders(options.directory, options.slowStore)
    this.#cipher = options.cipher
    this.failures = new FailureLog(this.#folders, keys, options.cipher)
    this.facts = new PeerFacts(this.#folders, keys)
    this.#reuse = options.reuse ?? false
    this.#hosts = options.hosts ?? {}
    this.#maxAge = options.maxAge ?? MAX_AGE
  }

  /**
   * Takes the fresh tickets of the newest batch of exactly this peer and binding, oldest first. Empty if there is no
   * batch. Single-use tickets are then gone for every other process. Reusable ones stay. The next call returns the next
   * batch: a batch that stays is not returned again within a second.
   * @param address of the server that issued the tickets; undefined: any
   */
  take(peer: HostPort, binding: string, nowUnixSecs: number, address?: string): StoredTicket[] {
    if (!this.#isAllowed(peer)) return []
    for (const keys of this.#keys) {
      if (!this.#folders.isUsable) return []
      const folder = folderName(keys, peer)
      const prefix = bindingPrefix(keys, peer, binding)
      const tag = address && keys.addressTag(peer, address)
      const names = this.#folders
        .names(folder, BURST)
        .filter((name) => name.startsWith(prefix) && (!tag || addressTagOf(name) === tag))
      for (const name of names.sort(newestFirst)) {
        if (!this.#folders.isUsable) return []
        const tickets = this.#takeBatch({ keys, folder, name }, nowUnixSecs)
        if (tickets.length > 0) return tickets
      }
    }
    return []
  }

  // The file is read before it is removed, so that nothing is lost if the process dies in between. If several processes
  // have read it, it belongs to the one whose unlink(2) succeeds.
  #takeBatch(stored: StoredBatch, now: number): StoredTicket[] {
    const { folder, name } = stored
    const text = this.#folders.read(folder, name)
    this.#folders.passOver(folder, name)
    if (text === undefined) return []
    const stays = this.#reuse || namesReusable(name)
    if (!stays && !this.#folders.remove(folder, name)) return []
    const tickets = this.#fresh(openStored(stored, text), now)
    if (stays && tickets.length === 0) this.#folders.remove(folder, name)
    return tickets
  }

  /**
   * Stores tickets of one peer, in as few files as possible. Drops tickets that are no longer fresh or that the policy
   * does not allow.
   * @returns how many were kept; if fewer than possible, `problem` says why
   */
  save(peer: HostPort, tickets: readonly StoredTicket[], nowUnixSecs: number): number {
    return this.saveAll([{ peer, tickets }], nowUnixSecs)
  }

  /** Like `save`, for many peers at lower cost. */
  saveAll(entries: Iterable<TicketsOfPeer>, nowUnixSecs: number): number {
    this.problem = undefined
    let kept = 0
    try {
      for (const { peer, tickets } of entries) {
        const fresh = this.#fresh({ peer, tickets: tickets.filter(isTicketEntry) }, nowUnixSecs)
        for (const group of groupTickets(fresh)) kept += this.#saveBatch(peer, group, nowUnixSecs)
      }
      this.#sweep(nowUnixSecs)
    } catch (error) {
      this.problem ??= (error as Error).message
    }
    return kept
  }

  #saveBatch(peer: HostPort, tickets: readonly StoredTicket[], now: number): number {
    try {
      const { problem } = this.#folders
      if (problem !== undefined) throw new Error(problem)
      const keys = this.#current
      const batch = { kid: keys.kid, peer, tickets }
      const text = sealBatch(batch, keys, cipherInForce(this.#cipher), randomBytes)
      const folder = folderName(keys, peer)
      const name = this.#folders.add(folder, batchPrefix(keys, peer, tickets), text, now)
      this.#holdBounds({ keys, folder, name }, now)
      return tickets.length
    } catch (error) {
      this.problem ??= (error as Error).message
      return 0
    }
  }

  /** Enforces the bounds of one folder after a batch was added. */
  #holdBounds({ folder, name }: StoredBatch, now: number): void {
    const names = this.#folders.allNames(folder, COUNT_LASTS)
    const surplus = names.filter(isBatchName).sort(newestFirst).slice(MAX_BATCHES)
    const isSame = (other: string) =>
      bindingOf(other) === bindingOf(name) && addressTagOf(other) === addressTagOf(name)
    const isReplaced = (other: string) =>
      other !== name && namesReusable(name) && namesReusable(other) && isSame(other)
    const going = names.filter(
      (other) => isReplaced(other) || isExpired(other, now) || surplus.includes(other),
    )
    for (const other of going) this.#folders.remove(folder, other)
  }

  /** Enforces the bounds of the whole directory. */
  #sweep(now: number): void {
    const { made } = this.#folders
    this.#folders.made = 0
    if (this.#peers !== undefined) this.#peers += made
    const isOverdue = this.#isSweepOverdue(now)
    const isDue = isOverdue || (made > 0 && (this.#peers === undefined || this.#peers > MAX_PEERS))
    if (!isDue || !this.#folders.isUsable) return
    this.#peers = sweepSome(this.directory, this.#current.kid, now, made)
    this.#sweptAt = now
    if (isOverdue) touch(this.directory, now)
  }

  #isSweepOverdue(now: number): boolean {
    const found = this.#folders.find()
    const changedAt = found.state === 'usable' ? found.mtimeMs / 1000 : now
    return Math.abs(now - changedAt) >= SWEEP_INTERVAL && Math.abs(now - this.#sweptAt) >= SWEEP_INTERVAL
  }

  /** Removes everything stored about a peer, under any binding and any of our keys. Decrypts nothing. */
  invalidate(peer: HostPort): Removed {
    this.facts.forget(peer)
    return this.#removeAll(peer, (name) => !isTemporaryName(name))
  }

  /**
   * Removes batches of a peer, under any binding and any of our keys. Decrypts nothing.
   * @param storedBefore UNIX seconds: batches with later tickets stay
   * @param address of the server that issued the tickets; undefined: any
   */
  dropTickets(peer: HostPort, storedBefore = Number.POSITIVE_INFINITY, address?: string): void {
    const tags = address && this.#keys.map((keys) => keys.addressTag(peer, address))
    this.#removeAll(
      peer,
      (name) =>
        isBatchName(name) && timeOf(name) < storedBefore && (!tags || tags.includes(addressTagOf(name))),
    )
  }

  /** Removes everything stored about a host, on every port. */
  invalidateHost(host: string): Removed {
    const names = new Set(namesIn(this.directory))
    const known = new Set([...names].filter(isFactName).map(peerNameOf))
    const hasAny = ({ kid }: Subkeys) =>
      known.size > 0 || [...names].some((name) => name.startsWith(folderPrefix(kid)))
    const ports = this.#keys.filter(hasAny).flatMap((keys) => {
      const isThere = (name: string) => known.has(name) || names.has(folderPrefix(keys.kid) + name)
      return [...keys.peerNames(host).entries()].flatMap(([port, name]) => (isThere(name) ? [port] : []))
    })
    const done = [...new Set(ports)].map((port) => this.invalidate({ host, port }))
    return {
      removed: done.reduce((sum, { removed }) => sum + removed, 0),
      left: done.reduce((sum, { left }) => sum + left, 0),
    }
  }

  /** Removes the peer's batches that were made with another server key than this one. Decrypts nothing. */
  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void {
    const tags = new Set(this.#keys.map((keys) => keys.keyTag(peer, spkiFp)))
    this.#removeAll(peer, (name) => isBatchName(name) && !tags.has(keyTagOf(name)), BURST)
  }

  #removeAll(peer: HostPort, isGoing: (name: string) => boolean, maxAge = 0): Removed {
    let [removed, left] = [0, 0]
    for (const keys of this.#keys) {
      if (this.#folders.unusable !== undefined) break
      const folder = folderName(keys, peer)
      const going = (age: number) => this.#folders.allNames(folder, age).filter(isGoing)
      const names = going(maxAge)
      const gone = names.filter((name) => this.#folders.remove(folder, name))
      removed += gone.length
      if (gone.length < names.length) left += going(0).length
    }
    return { removed, left }
  }

  /** Every fresh ticket of our keys, or of one peer, newest batch last. Changes nothing. */
  list(nowUnixSecs: number, peer?: HostPort): ListedTicket[] {
    if (findDirectory(this.directory, 'leave').state !== 'usable') return []
    return storedBatches(this.directory, this.#keys, peer).flatMap((stored) => {
      const batch = this.#read(stored)
      return this.#fresh(batch, nowUnixSecs).map((ticket) => ({ peer: batch!.peer, ticket }))
    })
  }

  /**
   * Takes the newest ticket of this peer, whatever its binding. It is then gone for every process, even if it is
   * reusable.
   * @param accept tickets for which this returns false stay in the store; it may be called twice for one ticket
   */
  takeOne(peer: HostPort, nowUnixSecs: number, accept = (_: StoredTicket) => true): StoredTicket | undefined {
    if (!this.#folders.isUsable || !this.#isAllowed(peer)) return undefined
    const found = storedBatches(this.directory, this.#keys, peer).sort((a, b) => newestFirst(a.name, b.name))
    for (const stored of found) {
      const fresh = this.#fresh(this.#read(stored), nowUnixSecs)
      const taken = fresh.findLast(accept)
      if (taken === undefined || !this.#folders.remove(stored.folder, stored.name)) continue
      const rest = fresh.filter((ticket) => ticket !== taken)
      this.save(peer, rest, nowUnixSecs)
      return taken
    }
    return undefined
  }

  /**
   * Takes the tickets of the newest batches of our current key, to give them to other machines. Single-use tickets are
   * removed. Reusable ones stay as well.
   * @param mayGo a batch stays unchanged if this returns false for one of its tickets
   * @param most the most batches to take
   */
  takeOut(nowUnixSecs: number, mayGo: (ticket: StoredTicket) => boolean, most: number): TicketsOfPeer[] {
    if (!this.#folders.isUsable) return []
    const stored = storedBatches(this.directory, [this.#current])
    const newest = stored.sort((a, b) => newestFirst(a.name, b.name)).slice(0, most)
    return newest.flatMap((one) => {
      const batch = this.#read(one)
      const tickets = this.#fresh(batch, nowUnixSecs)
      if (!batch || tickets.length === 0 || !tickets.every(mayGo)) return []
      const isOurs = namesReusable(one.name) || this.#folders.remove(one.folder, one.name)
      return isOurs ? [{ peer: batch.peer, tickets }] : []
    })
  }

  /**
   * Removes the batches of our keys that contain nothing fresh or do not match their names, and everything of any key
   * that is expired or exceeds the bounds.
   * @returns how many files were removed, and how many tickets of our keys they contained
   */
  prune(nowUnixSecs: number): { files: number; tickets: number } {
    const removed = { files: 0, tickets: 0 }
    if (!this.#folders.isUsable) return removed
    for (const stored of storedBatches(this.directory, this.#keys)) {
      const batch = this.#read(stored)
      if (this.#fresh(batch, nowUnixSecs).length > 0) continue
      if (!this.#folders.remove(stored.folder, stored.name)) continue
      removed.files++
      removed.tickets += batch?.tickets.length ?? 0
    }
    removed.files += prune(this.directory, nowUnixSecs)
    return removed
  }

  readonly #isAllowed = ({ host }: HostPort) => allowsHost(this.#hosts, host)

  /** The tickets that may be used now. */
  #fresh(batch: TicketsOfPeer | undefined, now: number): StoredTicket[] {
    if (batch === undefined || !this.#isAllowed(batch.peer)) return []
    return batch.tickets.filter((ticket) => isFresh(ticket, now, this.#maxAge))
  }

  /** Adds to the statistics. @throws if they cannot be written */
  addCounts(counts: Counts): void {
    appendCounts(this.directory, counts, this.#current, this.#cipher)
  }

  /** The sum of the statistics of all programs. */
  counts(nowUnixSecs: number): Counts {
    return sumCounts(this.directory, this.#keys, this.#cipher, nowUnixSecs)
  }

  #read(stored: StoredBatch): Batch | undefined {
    const text = this.#folders.read(stored.folder, stored.name)
    return text === undefined ? undefined : openStored(stored, text)
  }
}
