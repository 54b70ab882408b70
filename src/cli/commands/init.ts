import { createKeysSoon, fetchKeys } from '../../keys/chain.ts'
import { type KeyOutcome, wipeKeys } from '../../keys/key-source.ts'
import { readSettings } from '../../settings.ts'
import { type Command, Failure } from '../command.ts'

/** `--json`: `{ "source": "keychain", "created": true, "reason": "…" }`; `created` is false where there is a key. */
export const command: Command = {
  usage: 'init [--json]',
  help: `
Makes the key, where a keychain or the kernel keyring can hold one and holds none, so that already the
first program keeps tickets. Programs make it too, in their first runs. Says where the key is. It opens
no prompt.`,
  operands: [0, 0],
  async run() {
    const settings = readSettings().key
    const before = await outcomeOf(fetchKeys, settings)
    const { source, reason, keys } = before.creatable ? await outcomeOf(createKeysSoon, settings) : before
    if (!keys)
      throw new Failure(`there is no key (${source}: ${reason}); "ticketkeep doctor" says what to do`)
    const words = before.creatable ? 'Made a key' : 'There is a key'
    return {
      json: { source, created: before.creatable, reason },
      text: [`${words} (${source}: ${reason}).`],
    }
  },
}

async function outcomeOf(
  ask: typeof fetchKeys,
  settings: Parameters<typeof fetchKeys>[0],
): Promise<KeyOutcome> {
  const outcome = await new Promise<KeyOutcome>((done) => ask(settings, done, { hold: true }))
  wipeKeys(outcome.keys)
  return outcome
}
