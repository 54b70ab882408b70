import { unixNow } from '../common/clock.ts'
import type { KeySettings, KeySourceName } from '../settings.ts'
import { isWritable, renewKeys } from './create-key.ts'
import { askHelper, startHelper } from './helper-process.ts'
import {
  type Abandon,
  answered,
  type KeyAnswer,
  type KeyConsidered,
  type KeyOutcome,
  type KeySource,
  type Removed,
  wipeKeys,
} from './key-source.ts'
import { keySource, keySources } from './sources.ts'

export interface FetchOptions {
  /** Keep the process alive until the answer is there, for those who await it. Default: false. */
  readonly hold?: boolean
  /** UNIX seconds. */
  readonly now?: number
  /** See `Asking`. */
  readonly direct?: boolean
}

/**
 * Asks the sources for the keys: the one that the settings name, or each in turn. `auto` moves on from a
 * source that is not set, empty, refused or silent; a source asked for by name that fails is the outcome, with
 * its reason. There is no plaintext fallback.
 *
 * `done` is called once, before this returns where the sources can answer at once.
 *
 * @returns what gives the fetch up: after that `done` is not called, and nothing is left running
 */
export function fetchKeys(
  settings: KeySettings,
  done: (outcome: KeyOutcome) => void,
  { hold = false, now = unixNow(), direct = false }: FetchOptions = {},
): Abandon {
  const asking = { hold, now, direct }
  const sources = asked(settings)
  const considered: KeyConsidered[] = []
  let abandon = answered
  let over = false

  const next = (index: number) => {
    const source = sources[index]!
    const last = index === sources.length - 1
    if (source.configured === false) {
      const reason = `${source.setting} is not set`
      considered.push({ source: source.name, state: 'not set', reason })
      if (last) finish({ state: 'unavailable', reason })
      else next(index + 1)
      return
    }
    const given = source.read(asking, (answer) => {
      if (over) return
      considered.push(wordsOf(source.name, answer))
      if (last || holdsKeys(answer)) finish(answer)
      else next(index + 1)
    })
    if (considered.length === index) abandon = given
  }
  const finish = (answer: KeyAnswer) => {
    over = true
    done(outcomeOf(answer, considered))
  }
  next(0)
  return () => {
    if (over) return
    over = true
    abandon()
  }
}

/** The same, waiting: in a helper process where a source cannot answer at once. */
export function fetchKeysSync(settings: KeySettings, now = unixNow()): KeyOutcome {
  const [first] = asked(settings).filter(({ configured }) => configured !== false)
  let outcome: KeyOutcome | undefined
  if (!first?.waits) fetchKeys(settings, (o) => (outcome = o), { now })()
  return outcome ?? askHelper('fetch', settings, now)
}

/**
 * Makes the key where the outcome of a fetch says `creatable`, and rotates it where it says `overdue`: just
 * before the first save, so that a program that saves nothing leaves nothing in a keychain. Safe to call by
 * any number of processes at once: one makes the key, the others get it.
 *
 * Waits, in a helper process where the source cannot answer at once. `createKeysSoon` does not.
 */
export function createKeys(settings: KeySettings, now = unixNow()): KeyOutcome {
  return askHelper('create', settings, now)
}

/** The same, without waiting: `done` as with `fetchKeys`. */
export function createKeysSoon(
  settings: KeySettings,
  done: (outcome: KeyOutcome) => void,
  options: FetchOptions = {},
): Abandon {
  return renew(settings, false, done, options)
}

/** Replaces the key now, or makes the first one. The old one opens what it sealed for another day. */
export function rotateKeys(
  settings: KeySettings,
  done: (outcome: KeyOutcome) => void,
  options: FetchOptions = { hold: true },
): Abandon {
  return renew(settings, true, done, options)
}

/** Destroys the key in every source that can hold one of ours, and says for each how that went. */
export function removeKeys(settings: KeySettings, done: (removed: KeyRemoved[]) => void): Abandon {
  const sources = asked(settings).filter(({ remove }) => remove !== undefined)
  const asking = { hold: true, now: unixNow() }
  const removed: KeyRemoved[] = []
  let abandon = answered
  const next = (index: number) => {
    const source = sources[index]
    if (source === undefined) return done(removed)
    const given = source.remove!(asking, (answer) => {
      removed.push({ ...answer, source: source.name })
      next(index + 1)
    })
    if (removed.length === index) abandon = given
  }
  next(0)
  return () => abandon()
}

export type KeyRemoved = Removed & { readonly source: KeySourceName }

function renew(
  settings: KeySettings,
  always: boolean,
  done: (outcome: KeyOutcome) => void,
  options: FetchOptions,
): Abandon {
  const { hold = false, now = unixNow(), direct = false } = options
  let abandon = answered
  let renewing = false
  const given = fetchKeys(
    settings,
    (outcome) => {
      const source = keySource(outcome.source, settings)
      if (
        !(outcome.creatable || outcome.overdue || (always && outcome.keys)) ||
        !source ||
        !isWritable(source)
      ) {
        return done(outcome)
      }
      renewing = true
      wipeKeys(outcome.keys)
      if (source.blocks && !direct) {
        abandon = answered
        startHelper(always ? 'rotate' : 'create', { source: source.name }, now, hold, done)
        return
      }
      const considered = outcome.considered.slice(0, -1)
      abandon = renewKeys(source, { hold, now, direct }, always, (answer) => {
        done(outcomeOf(answer, [...considered, wordsOf(source.name, answer)]))
      })
    },
    options,
  )
  if (!renewing) abandon = given
  return () => abandon()
}

function asked(settings: KeySettings): KeySource[] {
  return keySources(settings).filter(({ name }) => settings.source === 'auto' || settings.source === name)
}

export function wordsOf(source: KeySourceName, answer: KeyAnswer): KeyConsidered {
  const cause = 'cause' in answer ? answer.cause : undefined
  return { source, state: answer.state, reason: answer.reason, ...(cause && { cause }) }
}

const holdsKeys = (answer: KeyAnswer) =>
  answer.state === 'found' || (answer.state === 'absent' && answer.creatable)

function outcomeOf(answer: KeyAnswer, considered: readonly KeyConsidered[]): KeyOutcome {
  return {
    source: considered.at(-1)!.source,
    keys: answer.state === 'found' ? answer.keys : undefined,
    creatable: answer.state === 'absent' && answer.creatable,
    overdue: answer.state === 'found' && answer.overdue === true,
    reason: reasonOf(answer, considered),
    considered,
  }
}

/** What a user has to name before it is asked. */
const NAMED: readonly KeySourceName[] = ['variable', 'file', 'command', 'systemd']

/** Where nothing answered, what the user has named and does not work is the reason. */
function reasonOf({ reason }: KeyAnswer, considered: readonly KeyConsidered[]): string {
  if (considered.at(-1)!.source !== 'memory') return reason
  const broken = considered.find(({ source, state }) => NAMED.includes(source) && state !== 'not set')
  return broken ? `${broken.reason}, so ${reason}` : reason
}
