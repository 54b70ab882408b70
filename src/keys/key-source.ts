import { wipe } from '../common/bytes.ts'
import { factsOf, type KeySourceName, type KeyState } from '../key-sources.ts'
import { deriveSubkeys, type Subkeys } from '../seal/subkeys.ts'
import type { KeySettings } from '../settings.ts'

/**
 * The master keys of one user: 32 bytes each. `previous`, newest first, are the keys that were replaced within
 * the last 24 hours: they still open the tickets that they sealed. Whoever receives keys wipes them (`wipeKeys`)
 * once the subkeys are derived.
 */
export interface MasterKeys {
  readonly current: Uint8Array
  readonly previous?: readonly RetiredKey[]
  /** UNIX seconds: when ticketkeep made it, or when the file that holds it was last changed. Else not known. */
  readonly createdAt?: number
}

export interface RetiredKey {
  readonly key: Uint8Array
  /** UNIX seconds. */
  readonly retiredAt: number
}

/** The current key, then the ones before it, newest first. */
export const allKeys = ({ current, previous = [] }: MasterKeys): [Uint8Array, ...Uint8Array[]] => [
  current,
  ...previous.map(({ key }) => key),
]

export function wipeKeys(keys: MasterKeys | undefined): void {
  if (keys) for (const key of allKeys(keys)) wipe(key)
}

/** What is derived from each, the current one's first. Wipes them. */
export function takeSubkeys(keys: MasterKeys): [Subkeys, ...Subkeys[]] {
  const subkeys = allKeys(keys).map(deriveSubkeys) as [Subkeys, ...Subkeys[]]
  wipeKeys(keys)
  return subkeys
}

/**
 * What a source answers:
 *
 * - `not allowed`: the policy of the machine forbids the source, so it was not asked
 * - `not set`: nobody has set the variable, made the file or named the command that it needs
 * - `found`: here is the key (`overdue`: ticketkeep made it, and it is time to rotate it)
 * - `absent`: the source works and holds no key of ours (`creatable`: it can hold one)
 * - `unavailable`: it cannot answer now (no bus, locked, hung). Never a reason to make a second key
 * - `refused`: it answered with something that must not be used (wrong mode, wrong length)
 *
 * `reason` is a sentence for people, without its full stop, and holds no secret.
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
  /** What people can fix. `doctor` has advice on each. */
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

/** Thrown within a source, which catches it and answers with `failure`. */
export class SourceFailure extends Error {
  readonly failure: KeyFailure

  constructor(reason: string, cause?: KeyCause, state: KeyFailure['state'] = 'unavailable') {
    super(reason)
    this.failure = { state, reason, ...(cause && { cause }) }
  }
}

/** How a source is asked. */
export interface Asking {
  /** UNIX seconds. */
  readonly now: number
  /** Keep the process alive until the answer is there. Otherwise the process may end before. */
  readonly hold: boolean
  /** In the helper process, which may block: ask right here. */
  readonly direct?: boolean
  /** Aborted when nobody wants the answer any more. The source then stops at once; its promise need not settle. */
  readonly signal: AbortSignal
}

/** Gives a question up: after that its callback is not called, and nothing of it is left behind. */
export type Abandon = () => void

/** One place where a master key can live. Its methods reject only once `signal` is aborted. */
export interface KeySource {
  readonly name: KeySourceName
  /** Its `write` may block for as long as a prompt is open: not in a process that has other things to do. */
  readonly blocks?: boolean
  read(asking: Asking): KeyAnswer | Promise<KeyAnswer>
  /** Stores this blob (`key-blob.ts`) in place of the present one. The caller reads it back. */
  write?(blob: Uint8Array, asking: Asking): Written | Promise<Written>
  /** Destroys what `write` stored. */
  remove?(asking: Asking): Removed | Promise<Removed>
}

/** A source that can hold a key of ours. */
export type Keychain = KeySource & Required<Pick<KeySource, 'write' | 'remove'>>

export const isKeychain = (source: KeySource): source is Keychain => source.write !== undefined

export type Written = { readonly state: 'written'; readonly reason: string } | KeyFailure

/** `removed`: there was a key, and it is gone. */
export type Removed = { readonly state: 'removed' | 'absent'; readonly reason: string } | KeyFailure

/** The result of asking the sources in their order. */
export interface KeyOutcome {
  /** The source that ended the chain: it gave the key, can hold one, or is set and failed. `memory`: none did. */
  readonly source: KeySourceName
  /** Undefined where nothing may be kept on disk, or where a key has still to be made. */
  readonly keys: MasterKeys | undefined
  /** The chosen source works and holds no key yet: `createKeys` may make one. */
  readonly creatable: boolean
  /** The keys are good and due for rotation: `createKeys` rotates them. */
  readonly overdue: boolean
  /** One sentence: why this source, or why none. */
  readonly reason: string
  /** Every source asked, in order, with its answer in words. */
  readonly considered: readonly KeyConsidered[]
}

export interface KeyConsidered {
  readonly source: KeySourceName
  readonly state: KeyState
  readonly reason: string
  readonly cause?: KeyCause | undefined
}

/** An answer without its keys. */
export function inWords(source: KeySourceName, answer: KeyAnswer): KeyConsidered {
  const cause = 'cause' in answer ? answer.cause : undefined
  return { source, state: answer.state, reason: answer.reason, ...(cause && { cause }) }
}

/**
 * Whether no further source is asked after this answer. A source that somebody has set ends the chain, also where it
 * fails: another key in its place would hide the failure. Only what nobody has set is passed over, and a keychain or a
 * kernel keyring that is of no use here.
 */
export function endsChain(asked: KeySettings['source'], source: KeySourceName, answer: KeyAnswer): boolean {
  if (asked !== 'auto') return source === asked
  if (answer.state === 'not set' || answer.state === 'not allowed') return false
  return factsOf(source).isSetByUser || isUsable(answer) || source === 'memory'
}

/** Whether there is a key, or can be one. */
export const isUsable = (answer: KeyAnswer): boolean =>
  answer.state === 'found' || (answer.state === 'absent' && answer.creatable)

/** @param considered every source asked, this answer's last */
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
