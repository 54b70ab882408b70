import type { PoolAddress } from './address.ts'

// What goes between us and the process that talks to the pool (`helper-main.ts`): lines of JSON. It is given names and
// sealed boxes, and neither the key nor a ticket.

/**
 * The sets of a pool are told apart by members `<peer>.<binding>.<s or r>`: blinded names as on disk; `s`: the tickets are used
 * once, `r`: they are reusable. The key of a set is `<root><peer>}:<binding>.<s or r>`. What stands in braces decides the
 * node of a cluster.
 */
export const MEMBER = /^[\w-]{22}\.[\w-]{11}\.[sr]$/

/** `<prefix>{<kid>.`: what the keys of one master key begin with. */
export type Root = string

export const setKey = (root: Root, member: string) => `${root}${member.slice(0, 22)}}:${member.slice(23)}`

/** The sets that jobs of one name have given to. */
export const jobKey = (root: Root, jobName: string) => `${root}${jobName}}:job`

/** The sets of one peer. */
export const peerKey = (root: Root, peerName: string) => `${root}${peerName}}:peer`

/** All sets. */
export const originsKey = (root: Root) => `${root}all}:origins`

/** How often a set was asked for a batch, and had one. */
export const countsKey = (root: Root) => `${root}all}:counts`

export type Dial = Pick<
  PoolAddress,
  'kind' | 'nodes' | 'primary' | 'tls' | 'username' | 'password' | 'database' | 'budget'
>

export interface TakeRequest {
  readonly do: 'take'
  readonly root: Root
  /** The lists of sets to take from: those of a job, or of peers. */
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
  /** The name of the job, as the pool knows it. */
  readonly job: string
  /** The most batches in a set, and the most sets in all. */
  readonly batches: number
  readonly origins: number
}

export interface GivenSet {
  readonly member: string
  /** `end`: UNIX seconds, when the last of its tickets ends. */
  readonly boxes: readonly { readonly box: string; readonly end: number }[]
}

export interface Given {
  /** For each set, in order: it has them, it does not have them and why, or nobody knows. */
  readonly sets: readonly ('kept' | 'unknown' | { readonly refused: string })[]
}

export interface StatusRequest {
  readonly do: 'status'
  readonly root: Root
}

export interface PoolStatus {
  /** Of one `PING`: milliseconds. */
  readonly latency: number
  /** `valkey 8.0.1`; null where the user may not ask. */
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
  /** Of this key: peers, sets (a peer under one binding), batches. */
  readonly peers: number
  readonly sets: number
  readonly batches: number
  /** Of the last week. */
  readonly asked: number
  readonly found: number
}

export type Request = TakeRequest | GiveRequest | StatusRequest

export type AnswerTo<R extends Request> = R extends TakeRequest
  ? Taken
  : R extends GiveRequest
    ? Given
    : PoolStatus

/** What the helper says: the client is loaded; it is connected; its answer; or why there is none. */
export type Line =
  | { readonly state: 'loaded' | 'connected' }
  | { readonly state: 'answered'; readonly answer: unknown }
  | { readonly state: 'failed'; readonly reason: string; readonly isMissing?: true }

/** How many sets a job takes from. */
export const MAX_SETS = 64
