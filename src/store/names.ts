import type { HostPort } from '../host-port.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { isReusable, MAX_AGE, type StoredTicket } from '../ticket-entry.ts'

// The parts of a name are separated by dots, which base64url does not contain.
//
// Besides the number of files and their times, the names tell a thief when a server last changed its key, whether its
// sessions are TLS 1.2, and that it failed on an offer. Everything else about a peer is a keyed digest (HMAC-SHA-256),
// so it cannot be guessed or compared between folders.

/** `<kid>.<peer>`: the folder of one peer under one key. */
const FOLDER = /^[\w-]{11}\.[\w-]{22}$/

/**
 * `<binding>.<key tag>.<address tag>.<s or r>.<time>.<random>.json`: one batch. `s`: its tickets are single-use. `r`:
 * they are reusable. The time is that of its newest ticket: UNIX seconds, 8 hexadecimal digits.
 */
const BATCH = /^[\w-]{11}\.[\w-]{4}\.[\w-]{4}\.[sr]\.[0-9a-f]{8}\.[0-9a-f]{16}\.json$/

/**
 * `<time>.<process>.<start><random>.offer`: an empty file. A process has offered a session of the peer and has no
 * answer yet. The process ID is hexadecimal. The start time, 8 digits, is in milliseconds of the monotonic clock.
 */
const OFFER = /^[0-9a-f]{8}\.[0-9a-f]{1,8}\.[0-9a-f]{16}\.offer$/

/**
 * `<time>.<failures>.<random>.failed`: the peer failed on an offer at that time, for the nth time in a row. 3 stands
 * for three or more.
 */
const FAILURE = /^[0-9a-f]{8}\.[123]\.[0-9a-f]{16}\.failed$/

/**
 * `<time>.<peer>.<fact>.known`: an empty file in the top directory. It records a fact learned about the peer at that
 * time.
 */
const FACT = /^[0-9a-f]{8}\.[\w-]{22}\.[\w-]{22}\.known$/

/** `<time>.<random>.tmp`: a file that is being written, or was left by a process that died. */
const TEMPORARY = /^[0-9a-f]{8}\.[0-9a-f]{16}\.tmp$/

const KID_LENGTH = 11
const TAG_AT = 12
const ADDRESS_AT = 17
const KIND_AT = 22
const TIME_AT = 24
const TIME_DIGITS = 8
const PEER_AT = 9
const FACT_AT = 32

/** A temporary file older than this was left behind: seconds. Writing one takes milliseconds. */
const TEMPORARY_MAX_AGE = 600

/**
 * How long a failure is remembered: seconds. For up to a week nothing is offered. For another week, a new failure
 * counts as the next in a row.
 */
const FAILURE_MAX_AGE = 14 * 86_400

/** How long a fact about a peer is valid: seconds. */
export const FACT_MAX_AGE = 7 * 86_400

/** A file in every directory that backups should skip (https://bford.info/cachedir/). */
export const CACHEDIR_TAG = 'CACHEDIR.TAG'

/** The file with the statistics of programs, if the policy of the machine asks for them. */
export const COUNTS = 'counts'

export const isFolderName = (name: string) => FOLDER.test(name)
export const isBatchName = (name: string) => BATCH.test(name)
export const isTemporaryName = (name: string) => TEMPORARY.test(name)
export const isOfferName = (name: string) => OFFER.test(name)
export const isFailureName = (name: string) => FAILURE.test(name)
export const isFactName = (name: string) => FACT.test(name)
export const isNameOfOurs = (name: string) =>
  isBatchName(name) || isTemporaryName(name) || isOfferName(name) || isFailureName(name) || isFactName(name)

export const folderName = (keys: Subkeys, peer: HostPort) => `${keys.kid}.${keys.peerName(peer)}`

/** The prefix of the names of all folders of one key. */
export const folderPrefix = (kid: string) => `${kid}.`

/** The key ID in a folder's name. */
export const kidOf = (name: string) => name.slice(0, KID_LENGTH)

/** The prefix of the names of all batches of a peer with one binding. */
export const bindingPrefix = (keys: Subkeys, peer: HostPort, binding: string) =>
  `${keys.bindingName(peer, binding)}.`

/**
 * The name of a batch of these tickets without the random part. It is checked against the contents when a batch is
 * opened.
 */
export function batchPrefix(keys: Subkeys, peer: HostPort, tickets: readonly StoredTicket[]): string {
  const { binding = '', spkiFp, address } = tickets[0]!
  const newest = Math.max(...tickets.map(({ storedAtUnixSecs }) => storedAtUnixSecs))
  const kind = isReusable(tickets[0]!) ? 'r' : 's'
  const tags = `${keys.keyTag(peer, spkiFp)}.${keys.addressTag(peer, address)}`
  return `${bindingPrefix(keys, peer, binding)}${tags}.${kind}.${hex(newest)}.`
}

/** @param random 8 bytes as hexadecimal digits */
export const batchName = (prefix: string, random: string) => `${prefix}${random}.json`
/** @param random 4 bytes as hexadecimal digits */
export const offerName = (nowUnixSecs: number, { pid, startedAt }: RunningProcess, random: string) =>
  `${hex(nowUnixSecs)}.${pid.toString(16)}.${hex(startedAt)}${random}.offer`
export const failureName = (atUnixSecs: number, failures: number, random: string) =>
  `${hex(atUnixSecs)}.${failures}.${random}.failed`
export const factName = (keys: Subkeys, peer: HostPort, fact: string, nowUnixSecs: number) =>
  `${hex(nowUnixSecs)}.${keys.peerName(peer)}.${keys.factName(peer, fact)}.known`
export const temporaryName = (nowUnixSecs: number, random: string) => `${hex(nowUnixSecs)}.${random}.tmp`

/** The digest of the binding in a batch's name. */
export const bindingOf = (name: string) => name.slice(0, TAG_AT - 1)

/** The digest of the server's public key in a batch's name. */
export const keyTagOf = (name: string) => name.slice(TAG_AT, ADDRESS_AT - 1)

/** The digest of the server's address in a batch's name. */
export const addressTagOf = (name: string) => name.slice(ADDRESS_AT, KIND_AT - 1)

/** Whether a batch's name says that its tickets are reusable. */
export const namesReusable = (name: string) => name[KIND_AT] === 'r'

/** The time in a batch's name: UNIX seconds. */
export const timeOf = (name: string) => Number.parseInt(name.slice(TIME_AT, TIME_AT + TIME_DIGITS), 16)

/** The time at the start of every other name: UNIX seconds. */
export const leadingTimeOf = (name: string) => Number.parseInt(name.slice(0, TIME_DIGITS), 16)

/** The process in an offer's name. */
export function processOf(name: string): RunningProcess {
  const [, pid = '', rest = ''] = name.split('.')
  return { pid: Number.parseInt(pid, 16), startedAt: Number.parseInt(rest.slice(0, 8), 16) }
}

export interface RunningProcess {
  readonly pid: number
  /** Milliseconds of the monotonic clock, modulo 2^32. */
  readonly startedAt: number
}

/** The number of failures in a row in a failure's name. */
export const failuresOf = (name: string) => Number(name[TIME_DIGITS + 1])

/** The digest of the peer in a fact's name. */
export const peerNameOf = (name: string) => name.slice(PEER_AT, FACT_AT - 1)

/** Whether the name of a fact contains the digest of this peer, and of this fact. */
export const namesPeer = (name: string, keys: Subkeys, peer: HostPort) =>
  name.startsWith(`${keys.peerName(peer)}.`, PEER_AT)
export const namesFact = (name: string, keys: Subkeys, peer: HostPort, fact: string) =>
  name.startsWith(`${keys.factName(peer, fact)}.`, FACT_AT)

/** Compares the names of batches, for sorting. */
export const newestFirst = (a: string, b: string) => timeOf(b) - timeOf(a) || (a < b ? -1 : 1)

/**
 * Whether a file is obsolete by its name: a batch that can contain nothing fresh, or another file of ours that is no
 * longer valid. A time in the future counts as expired only if it is far off, since the clocks of machines that share a
 * home directory differ.
 */
export function isExpired(name: string, nowUnixSecs: number): boolean {
  if (isBatchName(name)) return Math.abs(nowUnixSecs - timeOf(name)) >= MAX_AGE
  const age = Math.abs(nowUnixSecs - leadingTimeOf(name))
  if (isFailureName(name)) return age >= FAILURE_MAX_AGE
  if (isOfferName(name)) return age >= MAX_AGE
  if (isFactName(name)) return age >= FACT_MAX_AGE
  return isTemporaryName(name) && age > TEMPORARY_MAX_AGE
}

const hex = (seconds: number) => seconds.toString(16).padStart(TIME_DIGITS, '0')
