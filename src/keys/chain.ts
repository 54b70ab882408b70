import { unixNow } from '../common/clock.ts'
import { factsOf, type KeySourceName, type SetByUser } from '../key-sources.ts'
import type { KeySettings } from '../settings.ts'
import { createKey } from './create-key.ts'
import { noteCreation } from './creation-note.ts'
import { askHelper, leaveToHelper, startHelper } from './helper-process.ts'
import { asked, fetchImmediateKeys, isAllowed, NOT_ALLOWED, readAtOnce } from './immediate-sources.ts'
import {
  type Abandon,
  type Asking,
  endsChain,
  inWords,
  isKeychain,
  type KeyAnswer,
  type KeyConsidered,
  type KeyOutcome,
  type KeySource,
  outcomeOf,
  type Removed,
  wipeKeys,
} from './key-source.ts'
import { commandSource } from './sources/command.ts'
import { kernelSource } from './sources/kernel.ts'
import { keychainSource } from './sources/keychain.ts'
import { memorySource } from './sources/memory.ts'

type Open = (settings: KeySettings) => KeySource

/** The sources whose code is loaded only when they are asked. */
const OPEN: Partial<Record<KeySourceName, Open>> = {
  command: ({ command }) => commandSource(command!),
  keychain: keychainSource,
  kernel: () => kernelSource,
  memory: () => memorySource,
} satisfies Record<Exclude<KeySourceName, SetByUser> | 'command', Open>

export function openSource(name: KeySourceName, settings: KeySettings): KeySource {
  const open = () => OPEN[name]!(settings)
  if (!isAllowed(name, settings)) return { name, read: () => NOT_ALLOWED }
  if (!factsOf(name).isSetByUser) return open()
  return { name, read: (asking) => readAtOnce(name, settings) ?? open().read(asking) }
}

/** By default, `now` is the current time and the process is not kept alive. */
type FetchOptions = Partial<Omit<Asking, 'signal'>>

/**
 * @param done called once, after this function has returned
 * @returns cancels the task: `done` is not called afterwards, and nothing is left running
 */
export type KeyTask = (
  settings: KeySettings,
  done: (outcome: KeyOutcome) => void,
  options?: FetchOptions,
) => Abandon

/**
 * Asks the sources for the keys: the one that the settings name, or each in turn until one ends the chain
 * (`endsChain`). There is no plaintext fallback.
 */
export const fetchKeys: KeyTask = (settings, done, options = {}) =>
  later(done, options, (asking) => askInOrder(settings, asking))

/** The same, synchronously. If a source has to be waited for, a helper process asks it. */
export const fetchKeysSync = (settings: KeySettings): KeyOutcome =>
  fetchImmediateKeys(settings) ?? askHelper('fetch', settings)

/**
 * Makes the key if the outcome of a fetch is `creatable`, and rotates it if it is `overdue`. Any number of processes
 * may call this at once: one makes the key, and the others get it. Blocks until the helper process has done it.
 */
export const createKeys = (settings: KeySettings): KeyOutcome => askHelper('create', settings)

/**
 * The same without blocking. `done` is called as by `fetchKeys`. If the task is cancelled, as at the end of a process,
 * a helper process finishes it. So the key gets made even if every program ends sooner than this takes.
 */
export const createKeysSoon: KeyTask = (settings, done, options = {}) => {
  const { now = unixNow() } = options
  let isDone = false
  const work = (asking: Asking) => create(settings, asking, false, () => (isDone = true))
  const finish = (outcome: KeyOutcome) => {
    isDone = true
    done(outcome)
  }
  const giveUp = later(finish, { ...options, now }, work)
  return () => {
    giveUp()
    if (!isDone) leaveToHelper('create', settings, now)
    isDone = true
  }
}

/** Lets a helper process make the key, if the source that `auto` chooses can hold one. Does not wait for it. */
export function createKeysMeanwhile(settings: KeySettings): void {
  const immediate = fetchImmediateKeys(settings)
  wipeKeys(immediate?.keys)
  const isGiven = immediate !== undefined || settings.command !== undefined
  if (settings.source === 'auto' ? isGiven : factsOf(settings.source).keyIsMadeIn === undefined) return
  leaveToHelper('create', settings, unixNow())
}

/** Replaces the key now, or makes the first one. The old key can open what it sealed for another 24 hours. */
export const rotateKeys: KeyTask = (settings, done, options = {}) =>
  later(done, options, (asking) => create(settings, asking, true, () => {}))

/** The outcome of one of these tasks. Keeps the process alive until then. */
export const waitFor = (task: KeyTask, settings: KeySettings): Promise<KeyOutcome> =>
  new Promise((done) => task(settings, done, { hold: true }))

export type KeyRemoved = Removed & { readonly source: KeySourceName }

/** Destroys the key in every source that can hold one, and reports the result for each. */
export function removeKeys(settings: KeySettings, done: (removed: KeyRemoved[]) => void): Abandon {
  return later(done, { hold: true }, async (asking) => {
    const removed: KeyRemoved[] = []
    // Includes sources that the policy does not allow.
    const { allowed: _, ...everywhere } = settings
    for (const name of asked(settings)) {
      const source = openSource(name, everywhere)
      if (source.remove) removed.push({ ...(await source.remove(asking)), source: name })
    }
    return removed
  })
}

function later<T>(
  done: (result: T) => void,
  { hold = false, now = unixNow(), direct = false }: FetchOptions,
  work: (asking: Asking) => Promise<T>,
): Abandon {
  const controller = new AbortController()
  const { signal } = controller
  work({ hold, now, direct, signal }).then(
    (result) => {
      if (!signal.aborted) done(result)
    },
    // The task was cancelled.
    () => {},
  )
  return () => controller.abort()
}

async function askInOrder(settings: KeySettings, asking: Asking): Promise<KeyOutcome> {
  const considered: KeyConsidered[] = []
  let answer: KeyAnswer
  for (const name of asked(settings)) {
    answer = await openSource(name, settings).read(asking)
    considered.push(inWords(name, answer))
    if (endsChain(settings.source, name, answer)) break
  }
  return outcomeOf(answer!, considered)
}

/** @param helped called when a helper process has taken over */
async function create(
  settings: KeySettings,
  asking: Asking,
  always: boolean,
  helped: () => void,
): Promise<KeyOutcome> {
  const outcome = await askInOrder(settings, asking)
  const { source: name, keys, creatable, overdue, considered } = outcome
  const source = openSource(name, settings)
  const isDue = creatable || overdue || (always && keys !== undefined)
  if (!isDue || !isKeychain(source)) return outcome
  wipeKeys(keys)
  if (source.blocks && !asking.direct) {
    helped()
    return startHelper(always ? 'rotate' : 'create', { source: name }, asking)
  }
  const answer = await createKey(source, asking, always)
  noteCreation(settings, inWords(name, answer))
  return outcomeOf(answer, [...considered.slice(0, -1), inWords(name, answer)])
}
