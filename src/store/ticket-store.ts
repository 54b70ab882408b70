import { randomBytes } from 'node:crypto'
import { existsSync, renameSync } from 'node:fs'
import { sep } from 'node:path'
import { type HostPort, isSamePeer } from '../host-port.ts'
import { MAX_FILE_BYTES, NONCE_BYTES, open, seal } from '../seal/box.ts'
import type { SealedRecord } from '../seal/record.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import type { CipherName } from '../settings.ts'
import { isFresh, type StoredTicket } from '../ticket-entry.ts'
import {
  isSingleUse,
  isTicketFile,
  peerPrefix,
  REUSABLE_SLOTS,
  SINGLE_USE_SLOTS,
  temporaryName,
} from './file-names.ts'
import { directoryProblem, makeDirectory } from './private-directory.ts'
import { readPrivateFile, regularFile, removeFile, writePrivateFile } from './private-file.ts'
import { moveToSlot, newestFirst, newestOfBindings, putBack } from './slots.ts'
import { namesIn, sweep, sweepIfDue } from './sweep.ts'

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
}

/** How long one look at the directory, or at a peer's tickets, serves: milliseconds. */
const BURST = 1000

type Accept = (ticket: StoredTicket) => boolean

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
  readonly #cipher: CipherName
  readonly #reuse: boolean
  /** What was named last: as a rule what is named next. */
  #last:
    | { readonly keys: Subkeys; readonly peer: HostPort; readonly binding: string; readonly prefix: string }
    | undefined

  /** When the directory was last seen to be there and ours: UNIX milliseconds. */
  #madeAt = 0
  /** Drawn and not yet used: each leaves here as it is used. */
  readonly #nonces: Uint8Array[] = []
  /** What was put where last. */
  #filled: { readonly prefix: string; readonly slot: number } | undefined
  /** The tickets of one peer and binding that were there a moment ago and have not been taken. */
  #found: { readonly prefix: string; readonly at: number; readonly paths: string[] } | undefined

  constructor(options: TicketStoreOptions) {
    this.directory = options.directory
    this.#current = options.subkeys
    this.#keys = [options.subkeys, ...(options.previous ?? [])]
    this.#cipher = options.cipher
    this.#reuse = options.reuse ?? false
  }

  /**
   * The newest ticket of exactly this peer and binding. One of single use is gone for every process from then
   * on; a reusable one is left where it is.
   * @param accept those for which it returns false stay in the store
   */
  take(peer: HostPort, binding: string, nowUnixSecs: number, accept?: Accept): StoredTicket | undefined {
    if (this.#unusable()) return undefined
    for (const keys of this.#keys) {
      const left = this.#lookedUp(this.#prefix(keys, peer, binding))
      for (const path of [...left]) {
        const single = isSingleUse(path)
        const wanted = { keys, peer, binding, now: nowUnixSecs, accept, single }
        const ticket = single && !this.#reuse ? this.#claim(path, wanted) : look(path, wanted)
        if (!existsSync(path)) left.splice(left.indexOf(path), 1)
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
    listed.sort((a, b) => b.ticket.storedAtUnixSecs - a.ticket.storedAtUnixSecs)
    for (const { file, ticket } of listed) {
      if (accept?.(ticket) === false) continue
      const binding = ticket.binding ?? ''
      const keys = this.#keys.find((keys) => file.startsWith(this.#prefix(keys, peer, binding)))!
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
    if (this.#nonces.length === 0) this.#nonces.push(randomBytes(NONCE_BYTES[this.#cipher]))
    // Where there is none yet there may never be anything to put there.
    if (!this.#unusable()) this.#isMade()
  }

  /**
   * Keeps a ticket in a free slot of its peer and binding, or in place of the oldest there. One that is no
   * longer fresh is dropped.
   * @param slots how many of the 16 (of the 4 for reusable tickets) may be used
   * @returns false where it could not; `problem` then says why
   */
  put(peer: HostPort, ticket: StoredTicket, nowUnixSecs: number, slots = SINGLE_USE_SLOTS.length): boolean {
    if (!isFresh(ticket, nowUnixSecs)) return true
    if (!this.#isMade()) return false
    const temporary = this.#temporary()
    try {
      const nonce = this.#nonces.pop() ?? randomBytes(NONCE_BYTES[this.#cipher])
      writePrivateFile(temporary, seal({ peer, ticket }, this.#current, this.#cipher, nonce))
      const kind = ticket.protocol === 'TLSv1.2' ? REUSABLE_SLOTS : SINGLE_USE_SLOTS
      const prefix = this.#prefix(this.#current, peer, ticket.binding ?? '')
      const first = this.#filled?.prefix === prefix ? this.#filled.slot + 1 : 0
      this.#filled = { prefix, slot: moveToSlot(temporary, prefix, kind.slice(0, slots), first) }
      return true
    } catch (error) {
      this.problem = (error as Error).message
      removeFile(temporary)
      return false
    }
  }

  /** Every fresh ticket of our keys, or those of one peer, in no particular order. */
  list(nowUnixSecs: number, peer?: HostPort): ListedTicket[] {
    return [...this.#listed(peer)].flatMap(({ file, record }) =>
      record !== undefined && isFresh(record.ticket, nowUnixSecs)
        ? [{ peer: record.peer, ticket: record.ticket, file }]
        : [],
    )
  }

  /**
   * Removes every ticket of the peer, under any binding.
   * @param storedBefore only those whose file is older than this: UNIX milliseconds
   */
  invalidate(peer: HostPort, storedBefore = Number.POSITIVE_INFINITY): void {
    for (const { file } of this.#files(peer)) {
      if ((regularFile(file)?.mtimeMs ?? 0) < storedBefore) removeFile(file)
    }
  }

  /**
   * Removes the peer's tickets that came with another public key than this one. Where the newest of each binding
   * have it, so do those before them, since whoever wrote that one has looked: those are not opened, for a box
   * takes the better part of a millisecond.
   */
  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void {
    const isOther = (one: TicketFile) => {
      const found = this.#open(one)
      return found && (!found.record || Buffer.compare(found.record.ticket.spkiFp, spkiFp) !== 0)
    }
    const files = [...this.#files(peer)]
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
    return this.#unusable() ? 0 : sweep(this.directory, nowUnixSecs)
  }

  /** The same, where nobody has for an hour. */
  sweepIfDue(nowUnixSecs: number): number {
    return this.#unusable() ? 0 : sweepIfDue(this.directory, nowUnixSecs)
  }

  #unusable(): boolean {
    return directoryProblem(this.directory, false) !== undefined
  }

  #prefix(keys: Subkeys, peer: HostPort, binding: string): string {
    const last = this.#last
    if (last?.keys === keys && last.binding === binding && isSamePeer(last.peer, peer)) return last.prefix
    const name = peerPrefix(keys.kid, keys.peerName(peer)) + keys.bindingName(binding)
    const prefix = `${this.directory}${sep}${name}.`
    this.#last = { keys, peer, binding, prefix }
    return prefix
  }

  // Looked at once for all that is put there in a burst.
  #isMade(): boolean {
    const now = Date.now()
    if (this.problem !== undefined || Math.abs(now - this.#madeAt) >= BURST) {
      this.problem = makeDirectory(this.directory)
      this.#madeAt = now
    }
    return this.problem === undefined
  }

  // What a burst of connections to one peer finds is looked up once.
  #lookedUp(prefix: string): string[] {
    const now = Date.now()
    const last = this.#found
    if (last?.prefix === prefix && last.paths.length > 0 && Math.abs(now - last.at) < BURST) return last.paths
    this.#found = { prefix, at: now, paths: newestFirst(prefix) }
    return this.#found.paths
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

  *#files(peer?: HostPort): Generator<TicketFile> {
    if (this.#unusable()) return
    const names = namesIn(this.directory).filter(isTicketFile)
    for (const keys of this.#keys) {
      const prefix = peer === undefined ? `${keys.kid}-` : peerPrefix(keys.kid, keys.peerName(peer))
      for (const name of names) {
        const file = this.directory + sep + name
        const stats = name.startsWith(prefix) ? regularFile(file) : undefined
        if (stats) yield { file, keys, mtimeMs: stats.mtimeMs }
      }
    }
  }

  *#listed(peer?: HostPort) {
    for (const one of this.#files(peer)) {
      const found = this.#open(one)
      if (found) yield { file: one.file, record: found.record }
    }
  }

  // Without a record where the file does not hold what its name says; undefined for one that cannot be read.
  #open({ file, keys }: TicketFile): { readonly record: SealedRecord | undefined } | undefined {
    const text = readPrivateFile(file, MAX_FILE_BYTES)
    if (text === undefined) return undefined
    const record = open(text, keys)
    const named = record && this.#prefix(keys, record.peer, record.ticket.binding ?? '')
    return { record: named !== undefined && file.startsWith(named) ? record : undefined }
  }
}

/** A file whose name says that one of our keys has sealed it. */
interface TicketFile {
  readonly file: string
  readonly keys: Subkeys
  readonly mtimeMs: number
}

/** What a file must hold to be of use. */
interface Wanted {
  readonly keys: Subkeys
  readonly peer: HostPort
  readonly binding: string
  readonly now: number
  readonly accept: Accept | undefined
  /** Whether its name says that it is for one use. */
  readonly single: boolean
}

function read(path: string, { keys, peer, binding, now, single }: Wanted): StoredTicket | undefined {
  const text = readPrivateFile(path, MAX_FILE_BYTES)
  if (text === undefined) return undefined
  const record = open(text, keys)
  if (
    record?.peer.host === peer.host &&
    record.peer.port === peer.port &&
    (record.ticket.binding ?? '') === binding &&
    single === (record.ticket.protocol !== 'TLSv1.2') &&
    isFresh(record.ticket, now)
  ) {
    return record.ticket
  }
  // Else every lookup of its peer would open it again.
  removeFile(path)
  return undefined
}

function look(path: string, wanted: Wanted): StoredTicket | undefined {
  const ticket = read(path, wanted)
  return ticket === undefined || wanted.accept?.(ticket) === false ? undefined : ticket
}
