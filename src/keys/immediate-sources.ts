import { KEY_SOURCE_NAMES, type KeySourceName, type SetByUser } from '../key-sources.ts'
import type { KeySettings } from '../settings.ts'
import {
  endsChain,
  inWords,
  type KeyAnswer,
  type KeyConsidered,
  type KeyOutcome,
  outcomeOf,
} from './key-source.ts'
import { readConfiguredFile } from './sources/file.ts'
import { readCredential } from './sources/systemd.ts'
import { readVariable } from './sources/variable.ts'

/** @returns undefined if the source is set and has to be waited for */
type Read = (settings: KeySettings) => KeyAnswer | undefined

const READ: Partial<Record<KeySourceName, Read>> = {
  variable: ({ variable }) => readVariable(variable),
  file: ({ file, defaultFile }) => readConfiguredFile(file, defaultFile),
  command: ({ command }) => (command === undefined ? NO_COMMAND : undefined),
  systemd: ({ credentialsDirectory }) => readCredential(credentialsDirectory),
} satisfies Record<SetByUser, Read>

const NO_COMMAND: KeyAnswer = { state: 'not set', reason: 'TICKETKEEP_KEY_COMMAND is not set' }

/** @returns undefined for a source that has to be waited for */
export const readAtOnce = (name: KeySourceName, settings: KeySettings) =>
  isAllowed(name, settings) ? READ[name]?.(settings) : NOT_ALLOWED

/** `memory` is always allowed: it is the result if no other source gives a key. */
export const isAllowed = (name: KeySourceName, { allowed }: KeySettings) =>
  name === 'memory' || allowed === undefined || allowed.includes(name)

export const NOT_ALLOWED: KeyAnswer = {
  state: 'not allowed',
  reason: 'the policy of this machine does not allow it',
}

/** The sources to ask, in order. */
export const asked = ({ source }: KeySettings): readonly KeySourceName[] =>
  source === 'auto' ? KEY_SOURCE_NAMES : [source]

/**
 * The outcome, if a source that answers immediately ends the chain. This needs no code of the other sources.
 *
 * @returns undefined if `fetchKeys` (chain.ts) has to ask further sources
 */
export function fetchImmediateKeys(settings: KeySettings): KeyOutcome | undefined {
  const considered: KeyConsidered[] = []
  for (const name of asked(settings)) {
    const answer = readAtOnce(name, settings)
    if (answer === undefined) return undefined
    considered.push(inWords(name, answer))
    if (endsChain(settings.source, name, answer)) return outcomeOf(answer, considered)
  }
  return undefined
}
