import { unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { KeySourceName } from '../key-sources.ts'
import type { KeySettings } from '../settings.ts'
import type { KeyConsidered, KeyFailure } from './key-source.ts'
import { readUserFile, userFolder, whyNoUserFolder, writeUserFile } from './user-folder.ts'

const NAME = 'create-key.json'

/** Identifies the keychain among those of a user: each session bus may have its own. */
const busOf = ({ sessionBus }: KeySettings) => sessionBus ?? null

/**
 * Records in the user's folder why a key could not be made, since the program that tried prints nothing. Removes the
 * record once there is a key.
 */
export function noteCreation(settings: KeySettings, result: KeyConsidered): void {
  try {
    if (result.state === 'found') unlinkSync(join(userFolder()!, NAME))
    else writeUserFile(NAME, { ...result, bus: busOf(settings) })
  } catch {}
}

/** Why the last attempt to make the key of this source failed. For `status` and `doctor`. */
export function whyNotCreated(settings: KeySettings, source: KeySourceName): KeyFailure | undefined {
  const problem = whyNoUserFolder()
  if (problem !== undefined) return { state: 'unavailable', reason: problem }
  try {
    const note = readUserFile<KeyFailure & { source: unknown; bus: unknown }>(NAME)
    return note.source === source && note.bus === busOf(settings) ? note : undefined
  } catch {
    return undefined
  }
}
