import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { toBase64, wipe } from '../../common/bytes.ts'
import { isOursAlone, isOursToMake } from '../../common/ours-alone.ts'
import type { KeySourceName } from '../../key-sources.ts'
import { createKeysSoon, fetchKeys, waitFor } from '../../keys/chain.ts'
import { wipeKeys } from '../../keys/key-source.ts'
import { lastingRandom } from '../../keys/lasting-random.ts'
import { type KeySettings, readSettings } from '../../settings.ts'
import { codeOf, writePrivateFile } from '../../store/private-file.ts'
import { type Command, Failure } from '../command.ts'
import { requireEnabled } from '../open-store.ts'
import { packagePreload } from '../preload-path.ts'
import type { Block } from '../render.ts'
import { profileLines, type SetupFiles, writeSetupFiles } from '../setup-files.ts'
import { whyNotWritable } from '../surroundings.ts'

/**
 * `--json`: `{ "source": "keychain", "created": true, "reason": "…", "files": { "folder": "/…", "loader": "/…/loader.cjs",
 * "shells": { "env.sh": "/…/env.sh", "env.fish": "/…/env.fish", "env.ps1": "/…/env.ps1" } } }`. `created` is false if
 * there was a key. `files` is null if they could not be written.
 */
export const command: Command = {
  usage: 'init [--key-file] [--json]',
  help: `
Makes the key if there is none and a keychain or the kernel keyring can hold one, and says where it is.
Programs also make it, in their first runs. It opens no prompt.

Then writes the files that switch ticketkeep on, and prints the line for the profile of each shell. That
line starts no program. If ticketkeep has moved, for instance to another version of Node, run this command
again.`,
  options: {
    'key-file': {
      type: 'boolean',
      about:
        'make the key in the file "key" of your configuration directory, which is asked before the keychain and the kernel keyring',
    },
  },
  operands: [0, 0],
  async run({ options }) {
    const settings = requireEnabled(readSettings()).key
    const isMade = options['key-file'] === true && makeKeyFile(settings)
    const before = await waitFor(fetchKeys, settings)
    const { source, reason, keys } = before.creatable ? await waitFor(createKeysSoon, settings) : before
    wipeKeys(keys)
    if (!keys) {
      throw new Failure(
        `there is no key (${source}: ${reason}); ${fileAdvice(source, settings)}"ticketkeep doctor" says what to do`,
      )
    }
    const created = before.creatable || isMade
    const preload = packagePreload()
    const files = preload === undefined ? 'the package is incomplete' : writeSetupFiles(preload)
    return {
      json: { source, created, reason, files: typeof files === 'string' ? null : files },
      text: [
        `${created ? 'Made a key' : 'There is a key'} (${source}: ${reason}).`,
        ...(isMade ? [FILE_ADVICE] : []),
        '',
        ...describe(files),
      ],
    }
  },
}

const FILE_ADVICE =
  'Whoever reads that file can open your tickets. Keep it out of backups, and out of repositories of settings.'

/** Only where it would help. */
function fileAdvice(source: KeySourceName, { file, defaultFile }: KeySettings): string {
  const isMissing = ['memory', 'file'].includes(source) && file === undefined
  const canBeMade = defaultFile !== undefined && whyNotWritable(dirname(defaultFile)) === undefined
  return isMissing && canBeMade ? '"ticketkeep init --key-file" makes one in a file, and ' : ''
}

function describe(files: SetupFiles | string): Block[] {
  if (typeof files === 'string') {
    return [`No files for your shell were written: ${files}. Evaluate what "ticketkeep env" prints.`]
  }
  return [
    `Programs are switched on by files in ${files.folder}. Add the line of your shell to its profile:`,
    ...profileLines(files).flatMap(([shells, line]) => ['', `${shells}:`, `  ${line}`]),
  ]
}

/**
 * Makes a key file at the path where one is looked for. An existing file is not changed. Returns whether it was made.
 */
function makeKeyFile({ file, defaultFile }: KeySettings): boolean {
  const path = file ?? defaultFile
  if (path === undefined) {
    throw new Failure('this user has no configuration directory; name a file by TICKETKEEP_KEY_FILE')
  }
  const key = lastingRandom(32)
  try {
    const isOurs = isOursToMake(dirname(path))
    if (isOurs) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    if (!isOurs || !isOursAlone(dirname(path))) {
      throw new Failure(`no key was made: others can write to ${dirname(path)}, or to a folder above it`)
    }
    writePrivateFile(path, `${toBase64(key)}\n`)
    return true
  } catch (error) {
    if (error instanceof Failure) throw error
    if (codeOf(error) === 'EEXIST') return false
    throw new Failure(
      `${path} cannot be written (${codeOf(error)}); set HOME or XDG_CONFIG_HOME to a folder that you can write to, or give a key in TICKETKEEP_KEY_FILE`,
    )
  } finally {
    wipe(key)
  }
}
