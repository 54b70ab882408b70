import { fetchKeys, rotateKeys, waitFor } from '../../keys/chain.ts'
import { type KeyOutcome, takeSubkeys } from '../../keys/key-source.ts'
import { readSettings } from '../../settings.ts'
import { type Command, Failure } from '../command.ts'
import { requireEnabled } from '../open-store.ts'

/**
 * `--json`: `{ "source": "keychain", "rotated": true, "created": false }`; `created` if there was no key
 * before.
 */
export const command: Command = {
  usage: 'rotate-key [--json]',
  help: `
Makes a new key now. It encrypts new tickets. The old key can decrypt its tickets for another 24 hours,
and is then destroyed. This happens automatically after 7 days. A key from a variable, a file, a command
or systemd must be replaced by you.`,
  operands: [0, 0],
  async run() {
    const settings = requireEnabled(readSettings()).key
    const old = kidOf(await waitFor(fetchKeys, settings))
    const after = await waitFor(rotateKeys, settings)
    const kid = kidOf(after)
    if (kid === undefined) {
      throw new Failure(
        `no key was made (${after.source}: ${after.reason}); "ticketkeep doctor" says what to do`,
      )
    }
    if (kid === old) {
      const isOurFile = after.source === 'file' && settings.file === undefined
      throw new Failure(
        `the key comes from the source "${after.source}" (${after.reason}), which is yours to change${isOurFile ? ': remove the file, then call "ticketkeep init --key-file"' : ''}`,
      )
    }
    return {
      json: { source: after.source, rotated: true, created: old === undefined },
      text: [
        old === undefined
          ? `There was no key; made one (${after.reason}).`
          : `Made a new key (${after.reason}). The old one opens what it sealed for 24 hours.`,
      ],
    }
  },
}

/** The public ID of the current key. Wipes the keys. */
function kidOf({ keys }: KeyOutcome): string | undefined {
  if (!keys) return undefined
  const subkeys = takeSubkeys(keys)
  for (const one of subkeys) one.wipe()
  return subkeys[0].kid
}
