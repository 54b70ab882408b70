import type { PoolAddress } from './address.ts'

// The messages between us and the process that talks to the pool (`helper-main.ts`): lines of JSON. It receives names
// and sealed boxes, but neither the key nor a ticket.

/**
 * A set of a pool is identified by a member `<peer>.<binding>.<s or r>`, with keyed digests as names, as on disk. `s`:
 * its tickets are single-use. `r`: they are reusable. The key of the set is `<root><peer>}:<binding>.<s or r>`. The
 * part in braces decides the node of a cluster (hash tag).
 */
export const MEMBER = /^[\w-]{22}\.[\w-]{11}\.[sr]$/

/** `<prefix>{<kid>.`: the prefix of all pool keys that belong to one master key. */
export type Root = string

export const setKey = (root: Root, member: string) => `${root}${member.slice(0, 22)}}:${member.slice(23)}`

/** The list of sets that jobs of one name have given to. */
export const jobKey = (root: Root, jobName: string) => `${root}${jobName}}:job`

/** The list of sets of one peer. */
export const peerKey = (root: Root, peerName: string) => `${root}${peerName}}:peer`

/** The list of all sets. */
export const originsKey = (root: Root) => `${root}all}:origins`

/** How often a set was asked for a batch, and how often it had one. */
export const countsKey = (root: Root) => `${root}all}:counts`

export type Dial = Pick<
  PoolAddress,
  'kind' | 'nodes' | 'primary' | 'tls' | 'username' | 'password' | 'database' | 'budget'
>

export interface TakeRequest {
  readonly do: 'take'
  readonly root: Root
  /** The lists of sets to take from: of a job, or of peers. */
  readonly lists: readonly string[]
  readonly tls12: boolean
}

export interface Taken {
  readonly boxes: readonly { readonly member: string; readonly box: string }[]
}

export interface GiveRequest {
  readonly do: 'give'
  readonly root: Root
  readonly now: number
  readonly sets: readonly GivenSet[]
  /** The keyed digest of the job's name. */
  readonly job: string
  /** The most batches in a set, and the most sets in all. */
  readonly batches: number
  readonly origins: number
}

export interface GivenSet {
  readonly member: string
  /** `end`: when the last of its tickets expires, in UNIX seconds. */
  readonly boxes: readonly { readonly box: string; readonly end: number }[]
}

export interface Given {
  /** For each set, in order: it stored the boxes, it refused them and why, or the outcome is unknown. */
  readonly sets: readonly ('kept' | 'unknown' | { readonly refused: string })[]
}

export interface StatusRequest {
  readonly do: 'status'
  readonly root: Root
}

export interface PoolStatus {
  /** The latency of one `PING`: milliseconds. */
  readonly latency: number
  /** `valkey 8.0.1`. Null if the user may not ask. */
  readonly version: string | null
  /** `maxmemory-policy`. */
  readonly eviction: string | null
  /** Bytes; 0: no limit. */
  readonly maxMemory: number | null
  readonly usedMemory: number | null
  /** Whether every command is logged to a file (AOF). */
  readonly appendOnly: boolean | null
  /** When the last snapshot was written: UNIX seconds. */
  readonly lastSnapshot: number | null
  /** Counts for this key: peers, sets (a peer under one binding), batches. */
  readonly peers: number
  readonly sets: number
  readonly batches: number
  /** Counts of the last week. */
  readonly asked: number
  readonly found: number
}

export type Request = TakeRequest | GiveRequest | StatusRequest

export type AnswerTo<R extends Request> = R extends TakeRequest
  ? Taken
  : R extends GiveRequest
    ? Given
    : PoolStatus

/** A line from the helper: the client is loaded, it is connected, the answer, or why there is none. */
export type Line =
  | { readonly state: 'loaded' | 'connected' }
  | { readonly state: 'answered'; readonly answer: unknown }
  | { readonly state: 'failed'; readonly reason: string; readonly isMissing?: true }

/** The most sets that a job takes from. */
export const MAX_SETS = 64

/** The maximum size of all boxes that a job takes: bytes. To decrypt more would hold it up longer than its budget. */
export const MAX_TAKEN_BYTES = 2 * 1024 * 1024
