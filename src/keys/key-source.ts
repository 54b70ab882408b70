import type { KeySourceName } from '../settings.ts'

/**
 * The master keys of one user: 32 bytes each. `previous` is there for 24 hours after a rotation, so that
 * tickets sealed before it can still be opened. Whoever receives them wipes them once subkeys are derived.
 */
export interface MasterKeys {
  readonly current: Uint8Array
  readonly previous?: Uint8Array | undefined
  /** UNIX seconds; known only for keys that ticketkeep made itself. */
  readonly createdAt?: number | undefined
}

/**
 * What a source answers:
 *
 * - `found`: here it is
 * - `absent`: this source works and holds no key of ours (`creatable`: it could hold one)
 * - `unavailable`: it cannot answer now (no bus, locked, hung): never a reason to make a second key
 * - `refused`: it answered with something that must not be used (wrong mode, wrong length)
 *
 * `reason` is a sentence for people, and holds no secret.
 */
export type KeyAnswer =
  | { readonly state: 'found'; readonly keys: MasterKeys; readonly reason: string }
  | { readonly state: 'absent'; readonly creatable: boolean; readonly reason: string }
  | { readonly state: 'unavailable'; readonly reason: string }
  | { readonly state: 'refused'; readonly reason: string }

/** One place where a master key can live. */
export interface KeySource {
  readonly name: KeySourceName
  /**
   * Calls `done` once: at once where the source can answer without waiting, later where it cannot.
   * Returns what gives the fetch up: after that `done` is not called, and nothing keeps the process alive.
   */
  read(done: (answer: KeyAnswer) => void): () => void
  /** The same, waiting. */
  readSync(): KeyAnswer
  /** Stores new keys over the present ones and reads them back. Only sources that can hold a key have it. */
  write?(keys: MasterKeys): KeyAnswer
  /** Destroys what `write` stored. Returns whether there was anything. */
  remove?(): boolean
}

/** What the chain of sources came to. */
export interface KeyOutcome {
  /** The source chosen; `memory` where none answered. */
  readonly source: KeySourceName
  /** Undefined where nothing may be kept on disk, or where a key has still to be made. */
  readonly keys: MasterKeys | undefined
  /** The chosen source works and holds no key yet: `createKeys` may make one. */
  readonly creatable: boolean
  /** One sentence: why this source, or why none. */
  readonly reason: string
  /** Every source asked, in order, with its answer in words. */
  readonly considered: readonly KeyConsidered[]
}

export interface KeyConsidered {
  readonly source: KeySourceName
  readonly state: KeyAnswer['state'] | 'not set'
  readonly reason: string
}
