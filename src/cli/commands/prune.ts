import { existsSync } from 'node:fs'
import { unixNow } from '../../common/clock.ts'
import { prune, pruneOtherKeys } from '../../store/bounds.ts'
import { type Command, Failure } from '../command.ts'
import { openStore, requireUsable } from '../open-store.ts'
import { count } from '../render.ts'
import { whyNotWritable } from '../surroundings.ts'

/** `--json`: `{ "directory": "/…", "removed": 3 }`; `removed` counts files. */
export const command: Command = {
  usage: 'prune [--json]',
  help: `
Removes tickets that can no longer be offered: by the age of their files, whichever key encrypted
them, and, if our key is available, by the times inside. Programs do the same, a little at a time.

If the key file was replaced, or a new key had to be made, older tickets of other keys are removed too,
because they can no longer be decrypted.`,
  operands: [0, 0],
  async run() {
    const opened = await openStore()
    const directory = requireUsable(opened.directory)
    const problem = existsSync(directory) ? whyNotWritable(directory) : undefined
    if (problem !== undefined) throw new Failure(`nothing was removed: ${problem}; fix that, and try again`)
    const now = unixNow()
    const expired = opened.store ? opened.store.prune(now).files : prune(directory, now)
    const { kids, keySince } = opened
    const lost = keySince === undefined ? 0 : pruneOtherKeys(directory, kids, keySince)
    const removed = expired + lost
    return {
      json: { directory, removed },
      text: [`Removed ${count(removed, 'file')} of tickets from ${directory}.`],
    }
  },
}
