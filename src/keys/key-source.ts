import { wipe } from '../common/bytes.ts'
import type { KeySourceName } from '../settings.ts'

/**
 * The master keys of one user: 32 bytes each. `previous`, newest first, are those before the rotations of the
 * last 24 hours: tickets sealed with them can still be opened. Whoever receives keys wipes them (`wipeKeys`)
 * once subkeys are derived.
 */
export interface MasterKeys {
  readonly current: Uint8Array
  readonly previous?: readonly RetiredKey[]
  /** UNIX seconds; known only for keys that ticketkeep made itself. */
  readonly createdAt?: number
}

export interface RetiredKey {
  readonly key: Uint8Array
  /** UNIX seconds. */
  readonly retiredAt: number
}

/** The current key, then those before it. */
export const allKeys = ({ current, previous = [] }: MasterKeys): [Uint8Array, ...Uint8Array[]] => [
  current,
  ...previous.map(({ key }) => key),
]

export function wipeKeys(keys: MasterKeys | undefined): void {
  if (keys) for (const key of allKeys(keys)) wipe(key)
}

/**
 * What a source answers:
 *
 * - `found`: here it is (`overdue`: ticketkeep made it, and it is time to rotate it)
 * - `absent`: this source works and holds no key of ours (`creatable`: it could hold one)
 * - `unavailable`: it cannot answer now (no bus, locked, hung): never a reason to make a second key
 * - `refused`: it answered with something that must not be used (wrong mode, wrong length)
 *
 * `reason` is a sentence for people, and holds no secret.
 */
export type KeyAnswer =
  | {
      readonly state: 'found'
      readonly keys: MasterKeys
      readonly overdue?: boolean
      readonly reason: string
    }
  | { readonly state: 'absent'; readonly creatable: boolean; readonly reason: string }
  | KeyFailure

export interface KeyFailure {
  readonly state: 'unavailable' | 'refused'
  readonly reason: string
  /** What it is of the things that people can mend; `doctor` has the words for each. */
  readonly cause?: KeyCause
}

export type KeyCause =
  | 'locked'
  | 'no-collection'
  | 'no-service'
  | 'no-bus'
  | 'not-our-bus'
  | 'hung'
  | 'prompt'
  | 'not-ours'
  | 'several'
  | 'container'
  | 'no-session-keyring'
  | 'not-our-session-keyring'
  | 'half-made'

/** How a source is asked. */
export interface Asking {
  /** UNIX seconds. */
  readonly now: number
  /** Keep the process alive until the answer is there. Otherwise nothing of the asking does. */
  readonly hold: boolean
  /** In the helper process, which may block: ask there and then. */
  readonly direct?: boolean
}

/** Gives a question up: after that its callback is not called, and nothing of it is left behind. */
export type Abandon = () => void

/**
 * One place where a master key can live. Every method calls `done` once: before it returns where the place
 * can answer without waiting, later where it cannot.
 */
export interface KeySource {
  readonly name: KeySourceName
  /** Whether the user has named this source by a variable. Undefined: it needs none. */
  readonly configured?: boolean
  /** In words: what would configure it. */
  readonly setting?: string
  /** Whether `read` would answer only after it has returned. Undefined: it answers at once. */
  readonly waits?: boolean
  /** Its `write` may block for as long as a prompt stays open: not in a process that has other things to do. */
  readonly blocks?: boolean
  read(asking: Asking, done: (answer: KeyAnswer) => void): Abandon
  /** Stores this blob (`key-blob.ts`) over the present one. The caller reads it back. */
  write?(blob: Uint8Array, asking: Asking, done: (answer: Written) => void): Abandon
  /** Destroys what `write` stored: `found` where there was something. */
  remove?(asking: Asking, done: (answer: Removed) => void): Abandon
}

/** One that can hold a key of ours, and give it up. */
export type Keychain = KeySource & Required<Pick<KeySource, 'write' | 'remove'>>

export type Written = { readonly state: 'written'; readonly reason: string } | KeyFailure

export type Removed = { readonly state: 'removed' | 'absent'; readonly reason: string } | KeyFailure

/** What the chain of sources came to. */
export interface KeyOutcome {
  /** The source chosen; `memory` where none answered. */
  readonly source: KeySourceName
  /** Undefined where nothing may be kept on disk, or where a key has still to be made. */
  readonly keys: MasterKeys | undefined
  /** The chosen source works and holds no key yet: `createKeys` may make one. */
  readonly creatable: boolean
  /** The keys are good and due for rotation: `createKeys`, before the next save, rotates them. */
  readonly overdue: boolean
  /** One sentence: why this source, or why none. */
  readonly reason: string
  /** Every source asked, in order, with its answer in words. */
  readonly considered: readonly KeyConsidered[]
}

export interface KeyConsidered {
  readonly source: KeySourceName
  readonly state: KeyAnswer['state'] | 'not set'
  readonly reason: string
  readonly cause?: KeyCause | undefined
}

/** For methods that have answered before they return: nothing to give up. */
export const answered: Abandon = () => {}
