import { readdirSync } from 'node:fs'
import { factsOf, type KeySourceName } from '../../key-sources.ts'
import { type KeyRemoved, removeKeys } from '../../keys/chain.ts'
import { readSettings } from '../../settings.ts'
import { purge } from '../../store/bounds.ts'
import { isFolderName } from '../../store/names.ts'
import { foreignProblem, storeDirectory } from '../../store/private-directory.ts'
import { asUser } from '../as-user.ts'
import { type Command, Failure, UsageError } from '../command.ts'
import { removeEverything, requireSwitchedOff } from '../remove-everything.ts'
import { type Block, count } from '../render.ts'

/**
 * `--json`: `{ "directory": "/…" or null, "removed": 12, "keys": [{ "source": "keychain", "state": "removed",
 * "reason": "…" }], "files": [] }`; `removed` counts files of tickets, `state` is `removed`, `absent`, `unavailable` or
 * `refused` (these two may have a `cause`, a word for programs), and `keys` is empty with `--keep-key`. `files` has the
 * paths of the other files that `--everything` removed.
 */
export const command: Command = {
  usage: 'purge [[--user NAME] [--keep-key] | --everything] [--json]',
  help: `
Removes every ticket in the directory, whichever key encrypted it, and the key from the keychain and
the kernel keyring. Asks for no confirmation. Other files in the directory stay, and so does a key from a
variable, a file or a command. A program that runs at the same time may store tickets again.

With --everything it leaves nothing in your home directory. It also removes the key file at the default
path, notes, and the files with which your profile switches ticketkeep on. Remove the line from your
profile first. In open shells with ticketkeep in NODE_OPTIONS, first run eval "$(ticketkeep env --off)".

Root's files are in the system-wide folder. With --everything they are removed too. Then no shell or
service of any user that names them in NODE_OPTIONS starts a Node program, until root runs
"ticketkeep env".

Exit status 1 if tickets or files are left, if a source did not delete its key, if the keychain is
locked, or if the source named by TICKETKEEP_KEY_SOURCE could not be asked.`,
  options: {
    'keep-key': { type: 'boolean', about: 'all but the key' },
    user: {
      type: 'string',
      value: 'NAME',
      about: 'for root: the tickets and key of another user, without that user’s variables',
    },
    everything: {
      type: 'boolean',
      about: 'also the key file, notes and files for shells, before you uninstall',
    },
  },
  operands: [0, 0],
  async run({ options, json }) {
    // With `--everything` for another user, that user's open shells could not start Node programs, since the loader
    // would be gone.
    if (options.everything && (options['keep-key'] || options.user !== undefined)) {
      throw new UsageError('--everything cannot be combined with --keep-key or --user')
    }
    if (options.user !== undefined)
      return asUser(`${options.user}`, ['purge', ...(options['keep-key'] ? ['--keep-key'] : [])], json)
    if (options.everything) requireSwitchedOff()
    const settings = readSettings()
    const directory = storeDirectory(settings.directory) ?? null
    const foreign = directory === null ? undefined : foreignProblem(directory)
    if (foreign !== undefined) {
      throw new Failure(
        `nothing was removed: ${foreign}; name the directory of the tickets in TICKETKEEP_DIR`,
      )
    }
    // Remove the key first, so that nobody can decrypt what is stored between the two steps.
    const keys: KeyRemoved[] = options['keep-key']
      ? []
      : await new Promise((done) => removeKeys(settings.key, done))
    const removed = directory === null ? 0 : purge(directory)
    if (directory !== null && hasTickets(directory)) {
      throw new Failure(
        `not every ticket could be removed; check that ${directory} can be read and written to`,
      )
    }
    const files = options.everything ? removeEverything(settings, directory) : []
    const failed = keys.some(
      (key) =>
        key.state === 'refused' ||
        ('cause' in key && key.cause === 'locked') ||
        (key.state === 'unavailable' && key.source === settings.key.source),
    )
    return {
      json: { directory, removed, keys, files },
      text: [...describe(directory, removed, keys), ...files.map((path) => `Removed ${path}.`)],
      exitCode: failed ? 1 : 0,
    }
  },
}

/** Whether the directory has tickets, or may have some if it cannot be read. */
function hasTickets(directory: string): boolean {
  try {
    const entries = readdirSync(directory, { withFileTypes: true })
    return entries.some((entry) => entry.isDirectory() && isFolderName(entry.name))
  } catch (error) {
    return !['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
}

function describe(directory: string | null, removed: number, keys: readonly KeyRemoved[]): Block[] {
  const tickets =
    directory === null
      ? 'There is no directory.'
      : `Removed ${count(removed, 'file')} of tickets from ${directory}.`
  return [
    tickets,
    ...keys.map(({ source, state, reason }) => {
      if (state === 'removed') return `Removed the key from the ${placeOf(source)}.`
      if (state === 'absent') return `There was no key in the ${placeOf(source)}.`
      return `The ${placeOf(source)} could not be asked; a key in it, if there is one, is still there: ${reason}.`
    }),
  ]
}

const placeOf = (source: KeySourceName) => factsOf(source).keyIsMadeIn ?? source
