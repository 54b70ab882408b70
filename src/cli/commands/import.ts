import { randomBytes } from 'node:crypto'
import { type Stats, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { unixNow } from '../../common/clock.ts'
import { temporaryName } from '../../store/names.ts'
import { importPlaintextFile, MAX_PLAINTEXT_BYTES, type PlaintextImport } from '../../store/plaintext-file.ts'
import { makeDirectory } from '../../store/private-directory.ts'
import { readRegularFile, removeFile, writePrivateFile } from '../../store/private-file.ts'
import type { TicketStore } from '../../store/ticket-store.ts'
import { type Command, Failure, UsageError } from '../command.ts'
import { openStore, requireDirectory, requireEnabled } from '../open-store.ts'
import { count } from '../render.ts'

/** `--json`: `{ "file": "/…/tls-tickets.json", "directory": "/…", "imported": 12 }` */
export const command: Command = {
  usage: 'import FILE [--json]',
  help: `
Encrypts the tickets of a plaintext file (magic "aube-tls-tickets/v1") into the directory, and removes
the file. Imports only tickets that are still fresh, at most the four newest per server. A file with that
magic that cannot be parsed is removed too. Any other file is not touched, nor is one over 16 MiB. Copies
of the file that remain on the disk, in a snapshot or in a backup are not removed.

Imported tickets are given to programs that use the library, and never offered by the preload: it is not
known what the connection that they came from trusted.`,
  operands: [1, 1],
  completes: 'files',
  async run({ operands: [name = ''] }) {
    if (name === '') throw new UsageError('FILE is empty; give the path of a plaintext ticket file')
    const file = resolve(name)
    if (!statSync(file, { throwIfNoEntry: false })) {
      throw new Failure(`${name} does not exist; give the path of a plaintext ticket file`)
    }
    const opened = await openStore('create the key')
    const directory = requireDirectory(opened.directory)
    const { settings, outcome, store } = opened
    requireEnabled(settings)
    if (!store) {
      throw new Failure(
        `without a key nothing can be encrypted, so ${name} was not changed (${outcome.source}: ${outcome.reason}); "ticketkeep doctor" says what to do`,
      )
    }
    const result = bring(file, store)
    if (result.state === 'absent') throw new Failure(`${name} is not a regular file`)
    if (result.state !== 'imported') throw new Failure(`nothing was imported: ${result.reason}`)
    return {
      json: { file, directory, imported: result.kept },
      text: [`Encrypted ${count(result.kept, 'ticket')} into ${directory} and removed ${file}.`],
    }
  },
}

function bring(file: string, store: TicketStore): PlaintextImport {
  const before = statSync(file)
  const result = importPlaintextFile(file, store, unixNow())
  const elsewhere = result.state === 'failed' && before.dev !== deviceOf(store.directory)
  return elsewhere ? bringFromElsewhere(file, before, store) : result
}

/**
 * Imports a file from another file system. It cannot be renamed into the store, so a private copy is imported and the
 * file is removed.
 */
function bringFromElsewhere(file: string, before: Stats, store: TicketStore): PlaintextImport {
  const copy = join(store.directory, temporaryName(unixNow(), randomBytes(8).toString('hex')))
  // Another user may have put another file there meanwhile, whose secrets that user knows.
  const isSame = ({ dev, ino, uid }: Stats) =>
    dev === before.dev && ino === before.ino && uid === (process.geteuid?.() ?? uid)
  const bytes = readRegularFile(file, MAX_PLAINTEXT_BYTES, isSame)
  const problem = bytes === undefined ? `${file} cannot be read` : makeDirectory(store.directory)
  if (bytes === undefined || problem !== undefined) return { state: 'failed', reason: `${problem}` }
  writePrivateFile(copy, bytes)
  const result = importPlaintextFile(copy, store, unixNow())
  if (result.state !== 'imported') removeFile(copy)
  else if (isUnchanged(file, before) && !removeFile(file)) {
    return {
      state: 'failed',
      reason: `its tickets are encrypted, but ${file} could not be removed; remove it`,
    }
  }
  return result
}

function isUnchanged(file: string, before: Stats): boolean {
  const now = statSync(file, { throwIfNoEntry: false })
  return now?.dev === before.dev && now.ino === before.ino && now.mtimeMs === before.mtimeMs
}

const deviceOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.dev
