import { existsSync } from 'node:fs'
import { requireWord } from '../../common/node-options.ts'
import { fetchImmediateKeys } from '../../keys/immediate-sources.ts'
import { wipeKeys } from '../../keys/key-source.ts'
import { readSettings, type Settings } from '../../settings.ts'
import { storeDirectory } from '../../store/private-directory.ts'
import { type Command, Failure, UsageError } from '../command.ts'
import { preloadPath } from '../preload-path.ts'
import { renderError } from '../render.ts'

interface Writer {
  preload(path: string, word: string): string
  variable(entry: readonly [name: string, value: string]): string
}

const posix: Writer = {
  preload: posixPreload,
  variable: ([name, value]) => `export ${name}=${posixQuote(value)};`,
}
const WRITERS = {
  sh: posix,
  bash: posix,
  zsh: posix,
  fish: { preload: fishPreload, variable: ([name, value]) => `set -gx ${name} ${fishQuote(value)};` },
  powershell: {
    preload: powershellPreload,
    variable: ([name, value]) => `$env:${name} = ${powershellQuote(value)};`,
  },
} satisfies Record<string, Writer>

/**
 * `--json`: `{ "shell": "sh", "preload": "/…/preload.cjs", "nodeOption": "--require=/…/preload.cjs",
 * "code": "if [ … ]; …" }`
 */
export const command: Command = {
  usage: 'env [--shell sh|bash|zsh|fish|powershell] [--with-key] [--json]',
  help: `
Prints shell code that puts ticketkeep into NODE_OPTIONS, so that every Node program started from
that shell resumes TLS sessions. What NODE_OPTIONS holds already is kept; evaluating it twice does
no harm; where the package has since been removed it does nothing.

  sh, bash, zsh    eval "$(ticketkeep env)"
  fish             ticketkeep env --shell fish | source
  PowerShell       ticketkeep env --shell powershell | Out-String | Invoke-Expression

The first time it has the key made, as "ticketkeep init" does, and does not wait for it.

To take it back in one step of a script: TICKETKEEP_DISABLE=1.`,
  options: {
    shell: {
      type: 'string',
      default: 'sh',
      value: 'SHELL',
      choices: Object.keys(WRITERS),
      about: `${Object.keys(WRITERS).join(', ')}; default sh`,
    },
    'with-key': {
      type: 'boolean',
      about:
        'fetch the key by TICKETKEEP_KEY_COMMAND now, once, and hand it to the programs of the shell in a private file in memory; without it each program asks for itself',
    },
  },
  operands: [0, 0],
  async run({ options }) {
    const shell = String(options.shell)
    const preload = preloadPath()
    if (preload === undefined) {
      throw new Failure(
        'the preload is missing or unreadable, so nothing was printed; install ticketkeep again',
      )
    }
    const nodeOption = requireWord(preload)
    const write = WRITERS[shell as keyof typeof WRITERS]
    const key = options['with-key'] ? await keyVariables() : {}
    await makeFirstKey()
    const code = [write.preload(preload, nodeOption), ...Object.entries(key).map(write.variable)].join('\n')
    return { json: { shell, preload, nodeOption, code }, text: [{ verbatim: code }] }
  },
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

// Each line ends in a semicolon where a command ends, so that an `eval` without quotes, which joins the
// lines by spaces, reads the same. No variable of the user's is touched but NODE_OPTIONS.

function posixPreload(preload: string, word: string): string {
  return [
    `if [ -r ${posixQuote(preload)} ]; then`,
    `  case " \${NODE_OPTIONS-} " in`,
    `    *${posixQuote(` ${word} `)}* | *' --permission '* | *' --experimental'[-_]'permission '*) ;;`,
    `    *) export NODE_OPTIONS=${posixQuote(word)}"\${NODE_OPTIONS:+ $NODE_OPTIONS}" ;;`,
    `  esac;`,
    `fi;`,
  ].join('\n')
}

function fishPreload(preload: string, word: string): string {
  return [
    `if test -r ${fishQuote(preload)};`,
    `  if test -z "$NODE_OPTIONS";`,
    `    set -gx NODE_OPTIONS ${fishQuote(word)};`,
    `  else if not string match -qr -- ' --(experimental[-_])?permission ' " $NODE_OPTIONS ";`,
    `    and not string replace -q -- ${fishQuote(` ${word} `)} '' " $NODE_OPTIONS ";`,
    `    set -gx NODE_OPTIONS ${fishQuote(`${word} `)}"$NODE_OPTIONS";`,
    `  end;`,
    `end;`,
  ].join('\n')
}

function powershellPreload(preload: string, word: string): string {
  return [
    `if ((Test-Path -LiteralPath ${powershellQuote(preload)} -PathType Leaf) -and`,
    `    -not " $env:NODE_OPTIONS ".Contains(${powershellQuote(` ${word} `)}) -and`,
    `    " $env:NODE_OPTIONS " -notmatch ' --(experimental[-_])?permission ') {`,
    `  $env:NODE_OPTIONS = (${powershellQuote(`${word} `)} + $env:NODE_OPTIONS).TrimEnd();`,
    `}`,
  ].join('\n')
}

const posixQuote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
const fishQuote = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`
/** PowerShell takes four typographic quotes for a single quote too. */
const powershellQuote = (text: string) => `'${text.replace(/['\u2018-\u201b]/g, '$&$&')}'`
