import { randomBytes } from 'node:crypto'
import { linkSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod/mini'
import { type HostPort, hostPort } from '../host-port.ts'
import { isFresh, isTicketEntry, TICKETS_A_PEER, type TicketEntry } from '../ticket-entry.ts'
import type { TicketsOfPeer } from './group-tickets.ts'
import { temporaryName } from './names.ts'
import { makeDirectory } from './private-directory.ts'
import { codeOf, readRegularFile, regularFile, removeFile } from './private-file.ts'
import type { TicketStore } from './ticket-store.ts'

const MAGIC = 'aube-tls-tickets/v1'
// How its writer starts the file. A file that cannot be parsed is recognised by this.
const MAGIC_HEAD = /^\s*\{\s*"magic"\s*:\s*"aube-tls-tickets\/v1"/
/**
 * The largest file that is read: enough for a thousand peers with four tickets of one kilobyte. Parsing takes about ten
 * times as much memory.
 */
export const MAX_PLAINTEXT_BYTES = 16 * 1024 * 1024

/**
 * What is at a path:
 *
 * - `absent`: nothing
 * - `foreign`: something else than a plaintext ticket file of this user, with the reason as a phrase for people; not
 * touched
 * - `broken`: a file with the right magic that does not parse
 * - `tickets`: a plaintext ticket file. Entries without a valid host, port or ticket are left out.
 */
export type PlaintextFile =
  | { readonly state: 'absent' }
  | { readonly state: 'foreign'; readonly reason: string }
  | { readonly state: 'broken' }
  | { readonly state: 'tickets'; readonly tickets: readonly PlaintextTicket[] }

export interface PlaintextTicket {
  readonly peer: HostPort
  readonly ticket: TicketEntry
}

/**
 * The result of an import:
 *
 * - `absent`, `foreign`: as above, nothing was done
 * - `failed`: the store or the file could not be written, with the reason as a phrase for people; the file is unchanged
 * - `imported`: `kept` tickets are in the store, and the file is gone
 */
export type PlaintextImport =
  | { readonly state: 'absent' }
  | { readonly state: 'foreign' | 'failed'; readonly reason: string }
  | { readonly state: 'imported'; readonly kept: number }

/** Reads the file `{"magic":"aube-tls-tickets/v1","entries":[[{"host","port"},[{"ticket","spki_fp","stored_at_unix_secs"}]]]}`. */
export function readPlaintextFile(path: string): PlaintextFile {
  const stats = regularFile(path)
  if (stats === undefined) return { state: 'absent' }
  const uid = process.geteuid?.()
  const isOurs = (owner: number) => uid === undefined || owner === uid
  if (!isOurs(stats.uid)) return { state: 'foreign', reason: `${path} belongs to another user` }
  if (stats.size > MAX_PLAINTEXT_BYTES) {
    return { state: 'foreign', reason: `${path} is over 16 MiB, which is more than a ticket file can have` }
  }
  const bytes = readRegularFile(path, MAX_PLAINTEXT_BYTES, ({ uid }) => isOurs(uid))
  if (bytes === undefined) return { state: 'foreign', reason: `${path} cannot be read` }
  const text = bytes.toString('utf8')
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return MAGIC_HEAD.test(text) ? { state: 'broken' } : notOurs(path)
  }
  if ((json as { magic?: unknown } | null)?.magic !== MAGIC) return notOurs(path)
  const tickets = parse(json)
  return tickets === undefined ? { state: 'broken' } : { state: 'tickets', tickets }
}

/**
 * Moves the fresh tickets of a plaintext file into the store, at most the four newest per peer, and removes the file. A
 * file with the right magic that does not parse is removed as well. If several processes try, only one does it.
 */
export function importPlaintextFile(path: string, store: TicketStore, nowUnixSecs: number): PlaintextImport {
  const before = readPlaintextFile(path)
  if (before.state === 'absent' || before.state === 'foreign') return before
  const problem = makeDirectory(store.directory)
  if (problem !== undefined) return { state: 'failed', reason: problem }

  // The file is first moved into the private directory, under a name that is swept if this process dies. So only one
  // process reads it, and a new file that its writer puts at the path meanwhile is not removed unread.
  const claimed = join(store.directory, temporaryName(nowUnixSecs, randomBytes(8).toString('hex')))
  try {
    renameSync(path, claimed)
  } catch (error) {
    const code = codeOf(error)
    const reason = `${path} cannot be moved to ${store.directory} (${code}); check that both folders can be written to`
    return code === 'ENOENT' ? { state: 'absent' } : { state: 'failed', reason }
  }
  const file = readPlaintextFile(claimed)
  if (file.state === 'absent' || file.state === 'foreign') {
    giveBack(claimed, path)
    return file
  }
  const tickets = file.state === 'tickets' ? newestOfEach(file.tickets, nowUnixSecs) : []
  const kept = store.saveAll(tickets, nowUnixSecs)
  if (store.problem !== undefined) {
    giveBack(claimed, path)
    return { state: 'failed', reason: store.problem }
  }
  removeFile(claimed)
  return { state: 'imported', kept }
}

const notOurs = (path: string): PlaintextFile => ({
  state: 'foreign',
  reason: `${path} is not a plaintext ticket file`,
})

function newestOfEach(tickets: readonly PlaintextTicket[], now: number): TicketsOfPeer[] {
  const peers = new Map<string, { peer: HostPort; tickets: TicketEntry[] }>()
  for (const { peer, ticket } of tickets) {
    if (!isFresh(ticket, now)) continue
    const key = `${peer.host}:${peer.port}`
    const before = peers.get(key)?.tickets ?? []
    peers.set(key, { peer, tickets: [...before, ticket].slice(-TICKETS_A_PEER) })
  }
  return [...peers.values()]
}

/**
 * Puts the file back. If its folder is gone or closed by now, the file stays where it is, and is swept like a stale
 * ticket.
 */
function giveBack(claimed: string, path: string): void {
  try {
    linkSync(claimed, path)
    removeFile(claimed)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') removeFile(claimed)
    else moveBack(claimed, path)
  }
}

/** For file systems without hard links. */
function moveBack(claimed: string, path: string): void {
  try {
    renameSync(claimed, path)
  } catch {}
}

function parse(json: unknown): PlaintextTicket[] | undefined {
  const bytes = z.custom<number[]>((value) => Array.isArray(value) && value.every(isByte))
  const entry = z.object({
    ticket: bytes,
    spki_fp: bytes.check(z.length(32)),
    // Any non-negative number is accepted here. An entry with an invalid time is left out below, and the others are
    // kept.
    stored_at_unix_secs: z.custom<number>((value) => typeof value === 'number' && value >= 0),
  })
  const peer = z.object({ host: z.string(), port: z.int() })
  const file = z.object({ magic: z.literal(MAGIC), entries: z.array(z.tuple([peer, z.array(entry)])) })
  const parsed = file.safeParse(json)
  return parsed.data?.entries.flatMap(([{ host, port }, entries]) => {
    const peer = peerOrNone(host, port)
    if (peer === undefined) return []
    return entries.flatMap(({ ticket, spki_fp, stored_at_unix_secs }) => {
      const read: TicketEntry = {
        ticket: Uint8Array.from(ticket),
        spkiFp: Uint8Array.from(spki_fp),
        storedAtUnixSecs: stored_at_unix_secs,
      }
      return isTicketEntry(read) ? [{ peer, ticket: read }] : []
    })
  })
}

const isByte = (value: unknown) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255

function peerOrNone(host: string, port: number): HostPort | undefined {
  try {
    return hostPort(host, port)
  } catch {
    return undefined
  }
}
