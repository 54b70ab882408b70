import type { KeySettings } from '../settings.ts'
import type { KeyOutcome } from './key-source.ts'
import { fileSource } from './sources/file.ts'
import { systemdSource } from './sources/systemd.ts'
import { variableSource } from './sources/variable.ts'

/**
 * The keys where they are in a variable or a file, systemd's among them: sources that answer at once, without the
 * code of the others. Undefined: all of them have to be asked (`chain.ts`).
 */
export function keysAtHand(
  { source: wanted, variable, file, command, credentialsDirectory }: KeySettings,
  now: number,
): KeyOutcome | undefined {
  const sources = [variableSource(variable), fileSource(file)]
  // The command goes before it.
  if (command === undefined) sources.push(systemdSource(credentialsDirectory))
  for (const source of sources) {
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
