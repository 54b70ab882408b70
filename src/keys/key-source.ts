import { wipe } from '../common/bytes.ts'
import { factsOf, type KeySourceName, type KeyState } from '../key-sources.ts'
import { deriveSubkeys, type Subkeys } from '../seal/subkeys.ts'
import type { KeySettings } from '../settings.ts'

/**
 * The master keys of one user: 32 bytes each. `previous`, newest first, are the keys that were replaced within the last
 * 24 hours. They can still open the tickets that they sealed. Whoever receives keys must wipe them (`wipeKeys`) after
 * deriving the subkeys.
 */
export interface MasterKeys {
  readonly current: Uint8Array
  readonly previous?: readonly RetiredKey[]
  /** UNIX seconds: when ticketkeep made the key, or when its file was last changed. Otherwise undefined. */
  readonly createdAt?: number
}

export interface RetiredKey {
  readonly key: Uint8Array
  /** UNIX seconds. */
  readonly retiredAt: number
}

/** The current key, then its predecessors, newest first. */
export const allKeys = ({ current, previous = [] }: MasterKeys): [Uint8Array, ...Uint8Array[]] => [
  current,
  ...previous.map(({ key }) => key),
]

export function wipeKeys(keys: MasterKeys | undefined): void {
  if (keys) for (const key of allKeys(keys)) wipe(key)
}

/** Derives the subkeys of each key, the current one first, and wipes the keys. */
export function takeSubkeys(keys: MasterKeys): [Subkeys, ...Subkeys[]] {
  const subkeys = allKeys(keys).map(deriveSubkeys) as [Subkeys, ...Subkeys[]]
  wipeKeys(keys)
  return subkeys
}

/**
 * The answer of a source:
 *
 * - `not allowed`: the policy of the machine forbids the source, so it was not asked
 * - `not set`: the variable, file or command that it needs is not set
 * - `found`: the key (`overdue`: ticketkeep made it, and it is due for rotation)
 * - `absent`: the source works and has no key of ours (`creatable`: it can store one)
 * - `unavailable`: it cannot answer now (no bus, locked, hung). This is never a reason to make a second key
 * - `refused`: it answered with something that must not be used (wrong mode, wrong length)
 *
 * `reason` is a phrase for people, without a full stop, and contains no secret.
 */
export type KeyAnswer =
  | { readonly state: 'not set' | 'not allowed'; readonly reason: string }
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
  /** A cause that people can fix. `doctor` has advice on each. */
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
  | 'quota'

/** Thrown inside a source, which catches it and returns `failure`. */
export class SourceFailure extends Error {
  readonly failure: KeyFailure

  constructor(reason: string, cause?: KeyCause, state: KeyFailure['state'] = 'unavailable') {
    super(reason)
    this.failure = { state, reason, ...(cause && { cause }) }
  }
}

/** Options for asking a source. */
export interface Asking {
  /** UNIX seconds. */
  readonly now: number
  /** Keep the process alive until the answer arrives. Otherwise the process may end first. */
  readonly hold: boolean
  /** Set in the helper process, which may block: ask in this process. */
  readonly direct?: boolean
  /** Aborted when the answer is no longer wanted. The source must then stop at once. Its promise need not settle. */
  readonly signal: AbortSignal
}

/** Cancels a task: its callback is not called afterwards, and nothing is left running. */
export type Abandon = () => void

/** A place where a master key can be stored. Its methods reject only after `signal` is aborted. */
export interface KeySource {
  readonly name: KeySourceName
  /** Whether `write` may block while a prompt is open. It must then not run in a process that has other work. */
  readonly blocks?: boolean
  read(asking: Asking): KeyAnswer | Promise<KeyAnswer>
  /** Replaces the stored blob (`key-blob.ts`). The caller reads it back. */
  write?(blob: Uint8Array, asking: Asking): Written | Promise<Written>
  /** Destroys what `write` stored. */
  remove?(asking: Asking): Removed | Promise<Removed>
}

/** A source that can store our key. */
export type Keychain = KeySource & Required<Pick<KeySource, 'write' | 'remove'>>

export const isKeychain = (source: KeySource): source is Keychain => source.write !== undefined

export type Written = { readonly state: 'written'; readonly reason: string } | KeyFailure

/** `removed`: there was a key, and it was deleted. */
export type Removed = { readonly state: 'removed' | 'absent'; readonly reason: string } | KeyFailure

/** The result of asking the sources in order. */
export interface KeyOutcome {
  /** The source that ended the chain: it gave the key, can store one, or is set and failed. `memory`: none did. */
  readonly source: KeySourceName
  /** Undefined if nothing may be kept on disk, or if the key is not made yet. */
  readonly keys: MasterKeys | undefined
  /** The chosen source works and has no key yet: `createKeys` may make one. */
  readonly creatable: boolean
  /** The keys are valid and due for rotation: `createKeys` rotates them. */
  readonly overdue: boolean
  /** Why this source was chosen, or why none was, as a phrase for people. */
  readonly reason: string
  /** Every source that was asked, in order, with a description of its answer. */
  readonly considered: readonly KeyConsidered[]
}

export interface KeyConsidered {
  readonly source: KeySourceName
  readonly state: KeyState
  readonly reason: string
  readonly cause?: KeyCause | undefined
}

/** Describes an answer without its keys. */
export function inWords(source: KeySourceName, answer: KeyAnswer): KeyConsidered {
  const cause = 'cause' in answer ? answer.cause : undefined
  return { source, state: answer.state, reason: answer.reason, ...(cause && { cause }) }
}

/**
 * Whether this answer ends the chain. A source that somebody has set ends it even if it fails: using another key
 * instead would hide the failure. Only sources that nobody has set are skipped, and a keychain or kernel keyring that
 * cannot be used here.
 */
export function endsChain(asked: KeySettings['source'], source: KeySourceName, answer: KeyAnswer): boolean {
  if (asked !== 'auto') return source === asked
  if (answer.state === 'not set' || answer.state === 'not allowed') return false
  return factsOf(source).isSetByUser || isUsable(answer) || source === 'memory'
}

/** Whether there is a key, or one can be made. */
export const isUsable = (answer: KeyAnswer): boolean =>
  answer.state === 'found' || (answer.state === 'absent' && answer.creatable)

/** @param considered every source that was asked, this one last */
export function outcomeOf(answer: KeyAnswer, considered: readonly KeyConsidered[]): KeyOutcome {
  return {
    source: considered.at(-1)!.source,
    keys: answer.state === 'found' ? answer.keys : undefined,
    creatable: answer.state === 'absent' && answer.creatable,
    overdue: answer.state === 'found' && answer.overdue === true,
    reason: answer.reason,
    considered,
  }
}
