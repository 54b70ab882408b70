import { createKeysSoon, fetchKeys, waitFor } from '../../keys/chain.ts'
import { wipeKeys } from '../../keys/key-source.ts'
import { readSettings } from '../../settings.ts'
import { type Command, Failure } from '../command.ts'
import { requireEnabled } from '../open-store.ts'

/** `--json`: `{ "source": "keychain", "created": true, "reason": "…" }`; `created` is false where there is a key. */
export const command: Command = {
  usage: 'init [--json]',
  help: `
Makes the key, where a keychain or the kernel keyring can hold one and holds none, so that already the
first program keeps tickets. Programs make it too, in their first runs. Says where the key is. It opens
no prompt.`,
  operands: [0, 0],
  async run() {
    const settings = requireEnabled(readSettings()).key
    const before = await waitFor(fetchKeys, settings)
    const { source, reason, keys } = before.creatable ? await waitFor(createKeysSoon, settings) : before
    wipeKeys(keys)
    if (!keys)
      throw new Failure(`there is no key (${source}: ${reason}); "ticketkeep doctor" says what to do`)
    const words = before.creatable ? 'Made a key' : 'There is a key'
    return {
      json: { source, created: before.creatable, reason },
      text: [`${words} (${source}: ${reason}).`],
    }
  },
}
