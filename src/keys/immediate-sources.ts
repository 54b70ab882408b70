import type { KeySettings } from '../settings.ts'
import {
  inWords,
  type KeyAnswer,
  type KeyConsidered,
  type KeyOutcome,
  type KeySource,
  outcomeOf,
} from './key-source.ts'
import { readNamedKeyFile } from './sources/file.ts'
import { memorySource } from './sources/memory.ts'
import { readCredential } from './sources/systemd.ts'
import { readVariable } from './sources/variable.ts'

/** One that answers before `read` returns. */
export interface ImmediateSource extends KeySource {
  read(): KeyAnswer
}

export interface ImmediateSources {
  readonly variable: ImmediateSource
  readonly file: ImmediateSource
  readonly systemd: ImmediateSource
  readonly memory: ImmediateSource
}

/** The sources that answer without waiting, apart from the native ones. */
export function immediateSources({ variable, file, credentialsDirectory }: KeySettings): ImmediateSources {
  return {
    variable: { name: 'variable', read: () => readVariable(variable) },
    file: { name: 'file', read: () => readNamedKeyFile(file) },
    systemd: { name: 'systemd', read: () => readCredential(credentialsDirectory) },
    memory: memorySource,
  }
}

/**
 * The outcome where these sources alone decide it, as for a key in a variable or a file. It needs none of the code
 * that the other sources need.
 *
 * @returns undefined where `fetchKeys` (chain.ts) has to ask the other sources
 */
export function fetchImmediateKeys(settings: KeySettings): KeyOutcome | undefined {
  const { variable, file, systemd } = immediateSources(settings)
  const considered: KeyConsidered[] = []
  for (const source of [variable, file, systemd]) {
    // The command comes before systemd, and takes time.
    if (source === systemd && settings.command !== undefined && settings.source !== 'systemd')
      return undefined
    if (settings.source !== 'auto' && settings.source !== source.name) continue
    const answer = source.read()
    considered.push(inWords(source.name, answer))
    if (answer.state === 'not set') continue
    return answer.state === 'found' ? outcomeOf(answer, considered) : undefined
  }
  return undefined
}
