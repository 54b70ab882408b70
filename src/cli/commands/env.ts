import { existsSync } from 'node:fs'
import { requireWord } from '../../common/node-options.ts'
import { packageFolder, withoutPreload } from '../../common/package-folder.ts'
import { fetchImmediateKeys } from '../../keys/immediate-sources.ts'
import { wipeKeys } from '../../keys/key-source.ts'
import { readSettings, type Settings } from '../../settings.ts'
import { storeDirectory } from '../../store/private-directory.ts'
import { type Command, Failure, UsageError } from '../command.ts'
import { packagePreload } from '../preload-path.ts'
import { renderError } from '../render.ts'
import { writeSetupFiles } from '../setup-files.ts'
import { SHELL_BY_NAME, type Shell } from '../shells.ts'

const NAMES = Object.keys(SHELL_BY_NAME)

/**
 * `--json`: `{ "shell": "sh", "preload": "/…/preload.cjs", "nodeOption": "--require=/…/loader.cjs",
 * "code": "if [ … ]; …", "file": "/…/env.sh" }`. `file` holds the code for a profile; null where it could not be written.
 * With `--off`, `nodeOption` and `file` are null.
 */
export const command: Command = {
  usage: 'env [--shell SHELL] [--with-key | --off] [--json]',
  help: `
Prints shell code that puts ticketkeep into NODE_OPTIONS. Every Node program started from that shell
then resumes TLS sessions. What NODE_OPTIONS holds already is kept. Evaluating it twice does no harm.

  sh, bash, zsh    eval "$(ticketkeep env)"
  fish             ticketkeep env --shell fish | source
  PowerShell       ticketkeep env --shell powershell | Out-String | Invoke-Expression

The same code is kept in files of your configuration directory, so that a profile starts no program.
"ticketkeep init" prints the line for each shell. NODE_OPTIONS names a small file there, loader.cjs,
which loads ticketkeep. It does nothing where the package is gone, so Node programs still start.

The first time it has the key made, as "ticketkeep init" does, and does not wait for it.

To switch it off for one command: TICKETKEEP_DISABLE=1. For the rest of the shell:

  sh, bash, zsh    eval "$(ticketkeep env --off)"
  fish             ticketkeep env --shell fish --off | source
  PowerShell       ticketkeep env --shell powershell --off | Out-String | Invoke-Expression`,
  options: {
    shell: {
      type: 'string',
      default: 'sh',
      value: 'SHELL',
      choices: NAMES,
      about: `${NAMES.join(', ')}; default sh`,
    },
    'with-key': {
      type: 'boolean',
      about:
        'fetch the key by TICKETKEEP_KEY_COMMAND once, for all programs of the shell, and hand it to them in a private file in memory',
    },
    off: { type: 'boolean', about: 'print code that takes ticketkeep out of NODE_OPTIONS again' },
  },
  operands: [0, 0],
  async run({ options }) {
    const name = String(options.shell)
    const shell = SHELL_BY_NAME[name]!
    if (options.off && options['with-key']) throw new UsageError('--off and --with-key exclude each other')
    const { code, ...about } = options.off
      ? switchOff(shell)
      : await switchOn(shell, options['with-key'] === true)
    return { json: { shell: name, ...about, code }, text: [{ verbatim: code }] }
  },
}

async function switchOn(shell: Shell, withKey: boolean) {
  const preload = packagePreload()
  if (preload === undefined) {
    throw new Failure(
      'the preload is missing or unreadable, so nothing was printed; install ticketkeep again',
    )
  }
  const key = withKey ? await keyVariables() : {}
  await makeFirstKey()
  const files = writeSetupFiles(preload)
  const toLoad = typeof files === 'string' ? preload : files.loader
  const nodeOption = requireWord(toLoad)
  const variables = Object.entries(key).map(([name, value]) => shell.variable(name, value))
  const code = [shell.preload(toLoad, nodeOption), ...variables].join('\n')
  return { preload, nodeOption, code, file: typeof files === 'string' ? null : files.shells[shell.file] }
}

function switchOff(shell: Shell) {
  const kept = withoutPreload(process.env.NODE_OPTIONS ?? '', packageFolder())
  const code = shell.variable('NODE_OPTIONS', kept === '' ? undefined : kept)
  return { preload: packagePreload() ?? null, nodeOption: null, code, file: null }
}

/** The first time, so that already the first program keeps tickets: nothing was ever stored then. */
async function makeFirstKey(): Promise<void> {
  let settings: Settings
  try {
    settings = readSettings()
  } catch {
    return // what is wrong with a variable is told by `status`, not into a shell that starts
  }
  if (settings.disabled) return
  const directory = storeDirectory(settings.directory)
  if (directory === undefined || existsSync(directory)) return
  const { createKeysMeanwhile } = await import('../../keys/chain.ts')
  createKeysMeanwhile(settings.key)
}

async function keyVariables(): Promise<Record<string, string>> {
  const { key, disabled } = readSettings()
  if (!key.command)
    throw new UsageError('--with-key needs TICKETKEEP_KEY_COMMAND, the command that prints the key')
  // A source before the command serves every program as it is: a key file, say, as where the code is evaluated twice.
  const immediate = fetchImmediateKeys(key)
  wipeKeys(immediate?.keys)
  if (disabled || immediate !== undefined) return {}
  const { writeChildKeyFile } = await import('../../keys/child-key-file.ts')
  const file = writeChildKeyFile(key, 'login')
  if (file) return file.variables
  process.stderr.write(
    renderError('the key could not be handed on, so each program asks for itself; see "ticketkeep doctor"'),
  )
  return {}
}
