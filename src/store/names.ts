import type { HostPort } from '../host-port.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { isReusable, MAX_AGE, type StoredTicket } from '../ticket-entry.ts'

// Parts of a name are told apart by dots, which base64url does not contain.
//
// What a thief learns from the names, beyond how many there are and when they were written: when the server last
// changed its key, whether its sessions are of TLS 1.2, and that it failed on an offer. All that is told of a peer but the
// times, `s` or `r` and the failures is keyed (HMAC-SHA-256), so that nothing can be guessed, or compared between folders.

/** `<kid>.<peer>`: the folder of one peer under one key. */
const FOLDER = /^[\w-]{11}\.[\w-]{22}$/

/**
 * `<binding>.<key tag>.<address tag>.<s or r>.<time>.<random>.json`: one batch. `s`: its tickets are used once; `r`: they
 * are reusable. The time is that of its newest ticket: UNIX seconds, 8 hexadecimal digits.
 */
const BATCH = /^[\w-]{11}\.[\w-]{4}\.[\w-]{4}\.[sr]\.[0-9a-f]{8}\.[0-9a-f]{16}\.json$/

/**
 * `<time>.<process>.<start><random>.offer`: empty. A process offers a session of the peer, and has no answer yet. Its number
 * is hexadecimal. Its start, 8 digits, is in milliseconds of a clock that nobody sets.
 */
const OFFER = /^[0-9a-f]{8}\.[0-9a-f]{1,8}\.[0-9a-f]{16}\.offer$/

/** `<time>.<failures>.<random>.failed`: the peer failed on an offer then, so many times in a row, 3 for "or more". */
const FAILURE = /^[0-9a-f]{8}\.[123]\.[0-9a-f]{16}\.failed$/

/** `<time>.<peer>.<fact>.known`: empty, and in no folder. What was learned of the peer then. */
const FACT = /^[0-9a-f]{8}\.[\w-]{22}\.[\w-]{22}\.known$/

/** `<time>.<random>.tmp`: a file that is being written, or was when its process died. */
const TEMPORARY = /^[0-9a-f]{8}\.[0-9a-f]{16}\.tmp$/

const KID_LENGTH = 11
const TAG_AT = 12
const ADDRESS_AT = 17
const KIND_AT = 22
const TIME_AT = 24
const TIME_DIGITS = 8
const PEER_AT = 9
const FACT_AT = 32

/** Written in milliseconds: one older than this, in seconds, was left behind. */
const TEMPORARY_MAX_AGE = 600

/** How long it counts that a peer failed on an offer: for a week nothing is offered, and then for a week a failure is another one. */
const FAILURE_MAX_AGE = 14 * 86_400

/** How long it counts what was learned of a peer: seconds. */
export const FACT_MAX_AGE = 7 * 86_400

/** In every directory that backups should pass by (https://bford.info/cachedir/). */
export const CACHEDIR_TAG = 'CACHEDIR.TAG'

/** What programs did, where the policy of the machine wants it to be counted. */
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

/** What the names of all folders under one key begin with. */
export const folderPrefix = (kid: string) => `${kid}.`

/** Of a folder's name: under which key. */
export const kidOf = (name: string) => name.slice(0, KID_LENGTH)

/** What the names of all of a peer's batches with one binding begin with. */
export const bindingPrefix = (keys: Subkeys, peer: HostPort, binding: string) =>
  `${keys.bindingName(peer, binding)}.`

/** The name of a batch of these tickets but for its random end, which says that much of what is in it. */
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

/** Of a batch's name: what stands for its binding. */
export const bindingOf = (name: string) => name.slice(0, TAG_AT - 1)

/** Of a batch's name: what stands for the key of its server. */
export const keyTagOf = (name: string) => name.slice(TAG_AT, ADDRESS_AT - 1)

/** Of a batch's name: what stands for the address of the server that gave its tickets. */
export const addressTagOf = (name: string) => name.slice(ADDRESS_AT, KIND_AT - 1)

/** Whether a batch's name says that its tickets are reusable. */
export const namesReusable = (name: string) => name[KIND_AT] === 'r'

/** The time in a batch's name: UNIX seconds. */
export const timeOf = (name: string) => Number.parseInt(name.slice(TIME_AT, TIME_AT + TIME_DIGITS), 16)

/** The time at the start of every other name: UNIX seconds. */
export const leadingTimeOf = (name: string) => Number.parseInt(name.slice(0, TIME_DIGITS), 16)

/** Of an offer's name: its process. */
export function processOf(name: string): RunningProcess {
  const [, pid = '', rest = ''] = name.split('.')
  return { pid: Number.parseInt(pid, 16), startedAt: Number.parseInt(rest.slice(0, 8), 16) }
}

export interface RunningProcess {
  readonly pid: number
  /** Milliseconds, modulo 2^32, of a clock that nobody sets. */
  readonly startedAt: number
}

/** Of a failure's name: how many there were in a row. */
export const failuresOf = (name: string) => Number(name[TIME_DIGITS + 1])

/** Of a fact's name: what stands for its peer. */
export const peerNameOf = (name: string) => name.slice(PEER_AT, FACT_AT - 1)

/** Whether the name of a fact says whose it is, and which. */
export const namesPeer = (name: string, keys: Subkeys, peer: HostPort) =>
  name.startsWith(`${keys.peerName(peer)}.`, PEER_AT)
export const namesFact = (name: string, keys: Subkeys, peer: HostPort, fact: string) =>
  name.startsWith(`${keys.factName(peer, fact)}.`, FACT_AT)

/** Sorts the names of batches. */
export const newestFirst = (a: string, b: string) => timeOf(b) - timeOf(a) || (a < b ? -1 : 1)

/**
 * Whether a name in a peer's folder is that of a batch in which nothing can be fresh, or of another file of ours that no
 * longer says anything. Of times in the future only those of another day: clocks of machines that share a home differ.
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
