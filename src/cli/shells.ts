// Code for shells. Every command ends with a semicolon, so that an unquoted `eval`, which joins the lines with spaces,
// gives the same result. It changes only the named variables.

export interface Shell {
  /** For people: `sh, bash, zsh`. */
  readonly names: string
  /** The file in the configuration directory that contains `preload`. */
  readonly file: 'env.sh' | 'env.fish' | 'env.ps1'
  /** Code that adds this word to NODE_OPTIONS, if the file exists and the word is not there yet. */
  preload(path: string, word: string): string
  /** Code that sets or unsets a variable. */
  variable(name: string, value: string | undefined): string
  /** A line for a profile, which sources the file if it exists. */
  source(file: string): string
  /** What evaluates `ticketkeep env` with this option, or with none. */
  evaluate(option: '' | '--off'): string
}

const POSIX: Shell = {
  names: 'sh, bash, zsh',
  file: 'env.sh',
  preload: posixPreload,
  variable: (name, value) =>
    value === undefined ? `unset ${name};` : `export ${name}=${posixQuote(value)};`,
  source: (file) => `[ ! -r ${posixWord(file)} ] || . ${posixWord(file)}`,
  evaluate: (option) => `eval "$(${envCommand(option)})"`,
}

const FISH: Shell = {
  names: 'fish',
  file: 'env.fish',
  preload: fishPreload,
  variable: (name, value) =>
    value === undefined ? `set -e ${name};` : `set -gx ${name} ${fishQuote(value)};`,
  source: (file) => `test -r ${posixWord(file, fishQuote)}; and source ${posixWord(file, fishQuote)}`,
  evaluate: (option) => `${envCommand('--shell fish', option)} | source`,
}

const POWERSHELL: Shell = {
  names: 'PowerShell',
  file: 'env.ps1',
  preload: powershellPreload,
  variable: (name, value) =>
    value === undefined
      ? `Remove-Item Env:${name} -ErrorAction Ignore;`
      : `$env:${name} = ${powershellQuote(value)};`,
  source: (file) => `if (Test-Path -LiteralPath ${powershellQuote(file)}) { . ${powershellQuote(file)} }`,
  evaluate: (option) => `${envCommand('--shell powershell', option)} | Out-String | Invoke-Expression`,
}

export const SHELLS: readonly Shell[] = [POSIX, FISH, POWERSHELL]

/** Keyed by the values of `--shell`. */
export const SHELL_BY_NAME: Readonly<Record<string, Shell>> = {
  sh: POSIX,
  bash: POSIX,
  zsh: POSIX,
  fish: FISH,
  powershell: POWERSHELL,
}

/** The shell in which a line for people is likely to be typed. Only a guess: a login shell may start another one. */
export function loginShell(env = process.env, platform = process.platform): Shell {
  if (platform === 'win32') return POWERSHELL
  return /(^|\/)fish$/.test(env.SHELL ?? '') ? FISH : POSIX
}

function envCommand(...options: readonly string[]): string {
  return ['ticketkeep env', ...options].filter((word) => word !== '').join(' ')
}

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
/** PowerShell also treats four typographic quotes as a single quote. */
const powershellQuote = (text: string) => `'${text.replace(/['\u2018-\u201b]/g, '$&$&')}'`

/** Quotes a word only if necessary, for lines that people copy. */
const posixWord = (text: string, quote = posixQuote) => (/^[\w./~-]+$/.test(text) ? text : quote(text))
