import type { KeySettings } from '../settings.ts'
import {
  endsChain,
  inWords,
  type KeyAnswer,
  type KeyConsidered,
  type KeyOutcome,
  type KeySource,
  outcomeOf,
} from './key-source.ts'
import { readConfiguredFile } from './sources/file.ts'
import { readCredential } from './sources/systemd.ts'
import { readVariable } from './sources/variable.ts'

/** One that answers before `read` returns. */
export interface ImmediateSource extends KeySource {
  read(): KeyAnswer
}

/**
 * The sources that answer without waiting, in the order in which `auto` asks. `command` is among them only while it
 * is not set.
 */
export function immediateSources(settings: KeySettings) {
  const { variable, file, defaultFile, command, credentialsDirectory } = settings
  return {
    variable: { name: 'variable', read: () => readVariable(variable) },
    file: { name: 'file', read: () => readConfiguredFile(file, defaultFile) },
    command: command === undefined ? noCommand : undefined,
    systemd: { name: 'systemd', read: () => readCredential(credentialsDirectory) },
  } satisfies Record<string, ImmediateSource | undefined>
}

const noCommand: ImmediateSource = {
  name: 'command',
  read: () => ({ state: 'not set', reason: 'TICKETKEEP_KEY_COMMAND is not set' }),
}

/**
 * The outcome where one of these sources ends the chain. It needs none of the code of the other sources.
 *
 * @returns undefined where `fetchKeys` (chain.ts) has to ask further
 */
export function fetchImmediateKeys(settings: KeySettings): KeyOutcome | undefined {
  const considered: KeyConsidered[] = []
  for (const [name, source] of Object.entries(immediateSources(settings))) {
    if (settings.source !== 'auto' && settings.source !== name) continue
    if (source === undefined) return undefined
    const answer = source.read()
    considered.push(inWords(source.name, answer))
    if (endsChain(source.name, answer) || settings.source !== 'auto') return outcomeOf(answer, considered)
  }
  return undefined
}
