import { randomFillSync } from 'node:crypto'
import { existsSync, renameSync } from 'node:fs'
import { sep } from 'node:path'
import { equal } from '../common/bytes.ts'
import type { HostPort } from '../host-port.ts'
import { NONCE_BYTES, Sealing } from '../seal/box.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import type { CipherName } from '../settings.ts'
import { isFresh, type StoredTicket } from '../ticket-entry.ts'
import { isSingleUse, REUSABLE_SLOTS, SINGLE_USE_SLOTS, temporaryName } from './file-names.ts'
import { makeDirectory } from './private-directory.ts'
import { removeFile, writePrivateFile } from './private-file.ts'
import { findPlace, moveToSlot, newestFirst, newestOfBindings, putBack } from './slots.ts'
import { isSweepDue, sweep } from './sweep.ts'
import { type Accept, read, type TicketFile, TicketFiles, type Wanted } from './ticket-files.ts'

export interface TicketStoreOptions {
  /** An absolute path. Made at the first `put`. */
  readonly directory: string
  readonly subkeys: Subkeys
  /** Those of the keys before the last rotations, newest first: their tickets are read, and none is written. */
  readonly previous?: readonly Subkeys[]
  readonly cipher: CipherName
  /** Tickets of single use are read and left, too. */
  readonly reuse?: boolean
}

/** A ticket, and where it rests. */
export interface ListedTicket {
  readonly peer: HostPort
  readonly ticket: StoredTicket
  /** Its file's absolute path. */
  readonly file: string
  /** The file's. */
  readonly mtimeMs: number
}

/** The oldest first. Tickets of one connection came in the same second; their files, in slots filled in order, did not. */
export const byAge = (a: ListedTicket, b: ListedTicket) =>
  a.ticket.storedAtUnixSecs - b.ticket.storedAtUnixSecs || a.mtimeMs - b.mtimeMs || (a.file < b.file ? -1 : 1)

/** How long one look at the directory, or at a peer's tickets, serves: milliseconds. */
const BURST = 1000

/** Milliseconds in which a ticket of a peer and binding with all slots taken is as good as any newer one. */
const YOUNG = 60_000

/**
 * Tickets on disk: one sealed file each in one private directory, any number of processes reading and writing,
 * and no lock. Whatever cannot be read, or is not what its name says, is a miss. Nothing here throws.
 */
export class TicketStore {
  readonly directory: string
  /** What went wrong at the last `put` that returned false: a sentence for people. */
  problem: string | undefined
  readonly #current: Subkeys
  readonly #keys: readonly Subkeys[]
  readonly #files: TicketFiles
  readonly #cipher: CipherName
  readonly #reuse: boolean
  /** When the directory was last seen to be there and ours: UNIX milliseconds. */
  #madeAt = 0
  /** Prepared for the next ticket. */
  #ahead: Sealing | undefined
  /** What was put where last. */
  #filled: { readonly prefix: string; readonly slot: number } | undefined
  /** The tickets of one peer and binding that were there a moment ago and have not been taken. */
  #found: { readonly prefix: string; readonly at: number; readonly paths: string[] } | undefined

  constructor(options: TicketStoreOptions) {
    this.directory = options.directory
    this.#current = options.subkeys
    this.#keys = [options.subkeys, ...(options.previous ?? [])]
    this.#files = new TicketFiles(options.directory, this.#keys)
    this.#cipher = options.cipher
    this.#reuse = options.reuse ?? false
  }

  /**
   * The newest ticket of exactly this peer and binding. One of single use is gone for every process from then
   * on; a reusable one is left where it is.
   * @param accept those for which it returns false stay in the store
   */
  take(peer: HostPort, binding: string, nowUnixSecs: number, accept?: Accept): StoredTicket | undefined {
    if (this.#files.unusable) return undefined
    this.#madeAt = Date.now()
    for (const keys of this.#keys) {
      const left = this.#lookedUp(this.#files.prefix(keys, peer, binding))
      for (const path of [...left]) {
        const single = isSingleUse(path)
        const wanted = { keys, peer, binding, now: nowUnixSecs, accept, single }
        const claims = single && !this.#reuse
        const ticket = claims ? this.#claim(path, wanted) : look(path, wanted)
        const isGone = ticket === undefined ? !existsSync(path) : claims
        if (isGone) left.splice(left.indexOf(path), 1)
        if (ticket !== undefined) return ticket
      }
    }
    return undefined
  }

  /**
   * The newest ticket of this peer whatever its binding, gone for every process from then on, reusable or not.
   * Reads the names of the whole directory.
   * @param accept those for which it returns false stay in the store; may be asked twice about one ticket
   */
  takeAny(peer: HostPort, nowUnixSecs: number, accept?: Accept): StoredTicket | undefined {
    const listed = this.list(nowUnixSecs, peer)
    for (const { file, ticket } of listed.sort(byAge).reverse()) {
      if (accept?.(ticket) === false) continue
      const binding = ticket.binding ?? ''
      const keys = this.#keys.find((keys) => file.startsWith(this.#files.prefix(keys, peer, binding)))!
      const taken = this.#claim(file, {
        keys,
        peer,
        binding,
        now: nowUnixSecs,
        accept,
        single: isSingleUse(file),
      })
      if (taken !== undefined) return taken
    }
    return undefined
  }

  /** Does ahead what the next `put` needs, for a process that has to wait just now. */
  prepare(): void {
    this.#ahead ??= this.#sealing()
    this.#ahead.prepare()
    // Where there is no directory yet there may never be anything to put there.
    if (!this.#isMadeLately() && !this.#files.unusable) this.#isMade()
  }

  /**
   * Keeps a ticket in a free slot of its peer and binding, or in place of the oldest there. One that is no
   * longer fresh is dropped.
   * @param limit how many of the 16 (of the 4 for reusable tickets) may be used
   * @returns false where it could not; `problem` then says why
   */
  put(peer: HostPort, ticket: StoredTicket, nowUnixSecs: number, limit = SINGLE_USE_SLOTS.length): boolean {
    return this.#put(peer, ticket, nowUnixSecs, limit, 0)
  }

  /**
   * The same, but not where every slot is taken by a ticket that came within the last minute: to seal another and
   * to write it takes a process the better part of a millisecond.
   */
  putUnlessFull(peer: HostPort, ticket: StoredTicket, nowUnixSecs: number): boolean {
    return this.#put(peer, ticket, nowUnixSecs, SINGLE_USE_SLOTS.length, YOUNG)
  }

  /** @param sparedMs tickets younger than this are not replaced: milliseconds */
  #put(peer: HostPort, ticket: StoredTicket, nowUnixSecs: number, limit: number, sparedMs: number): boolean {
    if (!isFresh(ticket, nowUnixSecs)) return true
    if (!this.#isMade()) return false
    const temporary = this.#temporary()
    try {
      const prefix = this.#files.prefix(this.#current, peer, ticket.binding ?? '')
      const slots = (ticket.protocol === 'TLSv1.2' ? REUSABLE_SLOTS : SINGLE_USE_SLOTS).slice(0, limit)
      const place = findPlace(prefix, slots, this.#filled?.prefix === prefix ? this.#filled.slot + 1 : 0)
      if (place.mtimeMs !== undefined && Math.abs(Date.now() - place.mtimeMs) < sparedMs) return false
      const sealing = this.#ahead ?? this.#sealing()
      this.#ahead = undefined
      const sealed = sealing.seal({ peer, ticket })
      try {
        writePrivateFile(temporary, sealed)
      } catch (error) {
        // Removed since it was looked at, by `ticketkeep purge` say.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !this.#isMade(true)) throw error
        writePrivateFile(temporary, sealed)
      }
      this.#filled = { prefix, slot: moveToSlot(temporary, prefix, slots, place) }
      return true
    } catch (error) {
      this.problem ??= (error as Error).message
      removeFile(temporary)
      return false
    }
  }

  /** Every fresh ticket of our keys, or those of one peer, in no particular order. */
  list(nowUnixSecs: number, peer?: HostPort): ListedTicket[] {
    return [...this.#listed(peer)].flatMap(({ file, mtimeMs, record }) =>
      record !== undefined && isFresh(record.ticket, nowUnixSecs)
        ? [{ peer: record.peer, ticket: record.ticket, file, mtimeMs }]
        : [],
    )
  }

  /**
   * Removes every ticket of the peer, under any binding.
   * @param storedBefore only those whose file is older than this: UNIX milliseconds
   */
  invalidate(peer: HostPort, storedBefore = Number.POSITIVE_INFINITY): void {
    for (const { file, mtimeMs } of this.#files.of(peer)) if (mtimeMs < storedBefore) removeFile(file)
  }

  /**
   * Removes the peer's tickets that came with another public key than this one. Where the newest of each binding
   * have it, so do those before them, since whoever wrote that one has looked: those are not opened, for a box
   * takes the better part of a millisecond.
   */
  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void {
    const isOther = (one: TicketFile) => {
      const found = this.#files.open(one)
      return found && (!found.record || !equal(found.record.ticket.spkiFp, spkiFp))
    }
    const files = [...this.#files.of(peer)]
    if (!newestOfBindings(files).some(isOther)) return
    for (const one of files) if (isOther(one)) removeFile(one.file)
  }

  /**
   * Removes the tickets of our keys that are no longer fresh, or were never what their names say.
   * @returns how many
   */
  dropStale(nowUnixSecs: number): number {
    let dropped = 0
    for (const { file, record } of this.#listed()) {
      const isStale = record === undefined || !isFresh(record.ticket, nowUnixSecs)
      if (isStale && removeFile(file)) dropped++
    }
    return dropped
  }

  /** Prunes by the files' own times, as `sweep` says. @returns how many tickets were removed */
  sweep(nowUnixSecs: number): number {
    return this.#files.unusable ? 0 : sweep(this.directory, nowUnixSecs)
  }

  /** The same, where nobody has for an hour. */
  sweepIfDue(nowUnixSecs: number): number {
    return isSweepDue(this.directory, nowUnixSecs) ? this.sweep(nowUnixSecs) : 0
  }

  // Looked at once for all that is taken and put there in a burst.
  #isMade(again = false): boolean {
    if (again || !this.#isMadeLately()) {
      this.problem = makeDirectory(this.directory)
      this.#madeAt = Date.now()
    }
    return this.problem === undefined
  }

  #isMadeLately(): boolean {
    return this.problem === undefined && Math.abs(Date.now() - this.#madeAt) < BURST
  }

  // What a burst of connections to one peer finds is looked up once.
  #lookedUp(prefix: string): string[] {
    const now = Date.now()
    const last = this.#found
    if (last?.prefix === prefix && last.paths.length > 0 && Math.abs(now - last.at) < BURST) return last.paths
    this.#found = { prefix, at: now, paths: newestFirst(prefix) }
    return this.#found.paths
  }

  #sealing(): Sealing {
    const nonce = randomFillSync(new Uint8Array(NONCE_BYTES[this.#cipher]))
    return new Sealing(this.#current, this.#cipher, nonce)
  }

  #temporary(): string {
    return this.directory + sep + temporaryName()
  }

  // Renamed away before it is read: of any number of processes one succeeds, and what it reads is what it took.
  #claim(path: string, wanted: Wanted): StoredTicket | undefined {
    const temporary = this.#temporary()
    try {
      renameSync(path, temporary)
    } catch {
      return undefined
    }
    const ticket = read(temporary, wanted)
    if (ticket !== undefined && wanted.accept?.(ticket) === false) {
      putBack(temporary, path)
      return undefined
    }
    removeFile(temporary)
    return ticket
  }

  *#listed(peer?: HostPort) {
    for (const one of this.#files.of(peer)) {
      const found = this.#files.open(one)
      if (found) yield { ...one, record: found.record }
    }
  }
}

function look(path: string, wanted: Wanted): StoredTicket | undefined {
  const ticket = read(path, wanted)
  return ticket === undefined || wanted.accept?.(ticket) === false ? undefined : ticket
}
