import type { KeySettings } from '../settings.ts'
import { askHelper } from './ask-helper.ts'
import {
  type Abandon,
  answered,
  type KeyAnswer,
  type KeyConsidered,
  type KeyOutcome,
  type KeySource,
} from './key-source.ts'
import { keySources } from './sources.ts'

export interface FetchOptions {
  /** Keep the process alive until the answer is there, for those who await it. Default: false. */
  readonly hold?: boolean
  /** UNIX seconds. */
  readonly now?: number
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
  { hold = false, now = unixNow() }: FetchOptions = {},
): Abandon {
  const sources = keySources(settings).filter(
    ({ name }) => settings.source === 'auto' || settings.source === name,
  )
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
    abandon = answered
    const given = source.read({ now, hold }, (answer) => {
      if (over) return
      considered.push({ source: source.name, state: answer.state, reason: answer.reason })
      const holds = answer.state === 'found' || (answer.state === 'absent' && answer.creatable)
      if (holds || last) finish(answer)
      else next(index + 1)
    })
    if (!over && considered.length === index) abandon = given
  }
  const finish = (answer: KeyAnswer) => {
    over = true
    done({
      source: considered.at(-1)!.source,
      keys: answer.state === 'found' ? answer.keys : undefined,
      creatable: answer.state === 'absent' && answer.creatable,
      overdue: answer.state === 'found' && answer.overdue === true,
      reason: answer.reason,
      considered,
    })
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

function asked(settings: KeySettings): KeySource[] {
  return keySources(settings).filter(({ name }) => settings.source === 'auto' || settings.source === name)
}

export const unixNow = () => Math.floor(Date.now() / 1000)

/** Stand-in: makes nothing. */
export const createKeys = fetchKeysSync
