import { existsSync } from 'node:fs'
import { unixNow } from '../common/clock.ts'
import { sweep } from '../store/sweep.ts'
import { type Command, Failure } from './command.ts'
import { openStore, requireUsable } from './open-store.ts'
import { count } from './render.ts'
import { whyNotWritable } from './surroundings.ts'

/** `--json`: `{ "directory": "/…", "removed": 3 }` */
export const command: Command = {
  usage: 'prune [--json]',
  help: `
Removes tickets that can no longer be offered: by the age of their files, whoever's key sealed them,
and, where our key is at hand, by the times inside. It happens by itself; this is for the impatient.`,
  operands: [0, 0],
  async run() {
    const opened = await openStore()
    const directory = requireUsable(opened.directory)
    const problem = existsSync(directory) ? whyNotWritable(directory) : undefined
    if (problem !== undefined) throw new Failure(`nothing was removed: ${problem}; mend that, and try again`)
    const now = unixNow()
    const removed = opened.store
      ? opened.store.dropStale(now) + opened.store.sweep(now)
      : sweep(directory, now)
    return {
      json: { directory, removed },
      text: [`Removed ${count(removed, 'ticket')} from ${directory}.`],
    }
  },
}
