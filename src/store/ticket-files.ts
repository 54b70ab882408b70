import { sep } from 'node:path'
import { type HostPort, isSamePeer } from '../host-port.ts'
import { MAX_FILE_BYTES, open } from '../seal/box.ts'
import type { SealedRecord } from '../seal/record.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { isFresh, type StoredTicket } from '../ticket-entry.ts'
import { isTicketFile, peerPrefix } from './file-names.ts'
import { directoryProblem } from './private-directory.ts'
import { readPrivateFile, regularFile, removeFile } from './private-file.ts'
import { namesIn } from './sweep.ts'

export type Accept = (ticket: StoredTicket) => boolean

/** A file whose name says that one of our keys has sealed it. */
export interface TicketFile {
  readonly file: string
  readonly keys: Subkeys
  readonly mtimeMs: number
}

/** What a file must hold to be of use. */
export interface Wanted {
  readonly keys: Subkeys
  readonly peer: HostPort
  readonly binding: string
  readonly now: number
  readonly accept: Accept | undefined
  /** Whether its name says that it is for one use. */
  readonly single: boolean
}

/** Which files in a directory are whose under our keys, and what is in them. */
export class TicketFiles {
  /** What was named last: as a rule what is named next. */
  #last:
    | { readonly keys: Subkeys; readonly peer: HostPort; readonly binding: string; readonly prefix: string }
    | undefined

  constructor(
    private readonly directory: string,
    private readonly keys: readonly Subkeys[],
  ) {}

  /** Whether the directory is not there, or not ours alone. */
  get unusable(): boolean {
    return directoryProblem(this.directory, 'refuse') !== undefined
  }

  /** The path of every ticket of this peer and binding, but for its slot. */
  prefix(keys: Subkeys, peer: HostPort, binding: string): string {
    const last = this.#last
    if (last?.keys === keys && last.binding === binding && isSamePeer(last.peer, peer)) return last.prefix
    const name = peerPrefix(keys.kid, keys.peerName(peer)) + keys.bindingName(binding)
    const prefix = `${this.directory}${sep}${name}.`
    this.#last = { keys, peer, binding, prefix }
    return prefix
  }

  /** The files of our keys, or those of one peer; none where the directory cannot be used. */
  *of(peer?: HostPort): Generator<TicketFile> {
    if (this.unusable) return
    const names = namesIn(this.directory).filter(isTicketFile)
    for (const keys of this.keys) {
      const prefix = peer === undefined ? `${keys.kid}-` : peerPrefix(keys.kid, keys.peerName(peer))
      for (const name of names) {
        const file = this.directory + sep + name
        const stats = name.startsWith(prefix) ? regularFile(file) : undefined
        if (stats) yield { file, keys, mtimeMs: stats.mtimeMs }
      }
    }
  }

  /** Without a record where the file does not hold what its name says; undefined for one that cannot be read. */
  open({ file, keys }: TicketFile): { readonly record: SealedRecord | undefined } | undefined {
    const text = readPrivateFile(file, MAX_FILE_BYTES)
    if (text === undefined) return undefined
    const record = open(text, keys)
    const named = record && this.prefix(keys, record.peer, record.ticket.binding ?? '')
    return { record: named !== undefined && file.startsWith(named) ? record : undefined }
  }
}

/** The ticket in a file, if it is all that is wanted. A file that is not is removed. */
export function read(path: string, { keys, peer, binding, now, single }: Wanted): StoredTicket | undefined {
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
