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
 * "code": "if [ … ]; …", "file": "/…/env.sh" }`. `file` holds the code for a profile; null if it could not be written.
 * With `--off`, `nodeOption` and `file` are null.
 */
export const command: Command = {
  usage: 'env [--shell SHELL] [--with-key | --off] [--json]',
  help: `
Prints shell code that adds ticketkeep to NODE_OPTIONS. Every Node program started from that shell then
resumes TLS sessions. The other contents of NODE_OPTIONS are kept. Evaluating the code twice is harmless.

  sh, bash, zsh    eval "$(ticketkeep env)"
  fish             ticketkeep env --shell fish | source
  PowerShell       ticketkeep env --shell powershell | Out-String | Invoke-Expression

The same code is stored in files of your configuration directory, so that a profile starts no program.
"ticketkeep init" prints the line for each shell. NODE_OPTIONS names a small file there, loader.cjs,
which loads ticketkeep. If the package is gone it does nothing, so Node programs still start.

The first call also makes the key, like "ticketkeep init", and does not wait for it.

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
        'run TICKETKEEP_KEY_COMMAND once for all programs of the shell, and pass the key to them in a private file in memory',
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

/** Makes the key if nothing was ever stored, so that even the first program can keep tickets. */
async function makeFirstKey(): Promise<void> {
  let settings: Settings
  try {
    settings = readSettings()
  } catch {
    return // `status` reports a wrong variable, not a shell that is starting
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
  // A source before the command, such as a key file, already serves every program. This is also the case if the printed
  // code was evaluated before in the same shell.
  const immediate = fetchImmediateKeys(key)
  wipeKeys(immediate?.keys)
  if (disabled || immediate !== undefined) return {}
  const { writeChildKeyFile } = await import('../../keys/child-key-file.ts')
  const file = writeChildKeyFile(key, 'login')
  if (file) return file.variables
  process.stderr.write(
    renderError('the key could not be passed on, so each program asks for it; see "ticketkeep doctor"'),
  )
  return {}
}
