import type { KeySettings } from '../settings.ts'
import { fileSource } from './file.ts'
import type { KeyOutcome } from './key-source.ts'
import { variableSource } from './variable.ts'

/**
 * The keys where they are in a variable or a file, the first sources of all (`chain.ts`), which answer without
 * the code of the others. Undefined: all the sources have to be asked.
 */
export function keysAtHand(
  { source: wanted, variable, file }: KeySettings,
  now: number,
): KeyOutcome | undefined {
  for (const source of [variableSource(variable), fileSource(file)]) {
    if (!source.configured || (wanted !== 'auto' && wanted !== source.name)) continue
    let outcome: KeyOutcome | undefined
    source.read({ hold: false, now }, (answer) => {
      const { name } = source
      const { reason } = answer
      if (answer.state !== 'found') return
      const considered = [{ source: name, state: answer.state, reason }]
      outcome = { source: name, keys: answer.keys, creatable: false, overdue: false, reason, considered }
    })
    return outcome
  }
  return undefined
}
