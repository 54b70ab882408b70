import { statSync } from 'node:fs'
import { win32 } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** What to hand to `spawn`. */
export interface Spawnable {
  readonly file: string
  readonly args: readonly string[]
  /** The arguments are one command line already. */
  readonly verbatim: boolean
}

/**
 * `npm` on Windows is `npm.cmd`, a batch file, which `spawn` neither finds nor runs (CVE-2024-27980): found
 * here along PATH with PATHEXT, and given to `cmd.exe` with its arguments written so that no character of
 * theirs means anything to it (CVE-2024-24576). The working directory is not searched.
 * @throws where an argument cannot be given to a batch file at all
 */
export function windowsCommand(
  name: string,
  args: readonly string[],
  env: Environment,
  isFile: (path: string) => boolean = existsAsFile,
): Spawnable {
  const found = find(name, env, isFile) ?? name
  if (!/\.(cmd|bat)$/i.test(found)) return { file: found, args, verbatim: false }
  const line = [`"${found}"`, ...args.map(quoteForBatch)].join(' ')
  const shell = variable(env, 'ComSpec') ?? 'cmd.exe'
  return { file: shell, args: ['/e:ON', '/v:OFF', '/d', '/s', '/c', `"${line}"`], verbatim: true }
}

function find(name: string, env: Environment, isFile: (path: string) => boolean): string | undefined {
  const extensions = (variable(env, 'PATHEXT') ?? '.COM;.EXE;.BAT;.CMD').split(';').filter(Boolean)
  const endings = win32.extname(name) === '' ? extensions : ['', ...extensions]
  const folders = /[\\/:]/.test(name) ? [''] : (variable(env, 'PATH') ?? '').split(';').filter(Boolean)
  for (const folder of folders) {
    for (const ending of endings) {
      const path = folder === '' ? name + ending : win32.join(folder.replaceAll('"', ''), name + ending)
      if (isFile(path)) return path
    }
  }
  return undefined
}

/**
 * Quotes double inside quotes, backslashes double before one, and a percent sign is split from its variable
 * by an expansion that is always empty. Within quotes nothing else is special, however often the batch file
 * hands its arguments on.
 */
function quoteForBatch(arg: string): string {
  if (/[\0\r\n]/.test(arg)) {
    throw Object.assign(new Error('a batch file takes no argument with a line break'), { code: 'EINVAL' })
  }
  if (/^[\w#$*+\-./:?@\\]*[\w#$*+\-./:?@]$/.test(arg)) return arg
  const inner = arg
    .replace(/(\\*)"/g, '$1$1""')
    .replace(/\\+$/, '$&$&')
    .replaceAll('%', '%%cd:~,%')
  return `"${inner}"`
}

/** Names of variables have no case on Windows, and a copy of `process.env` has lost that. */
function variable(env: Environment, name: string): string | undefined {
  const key = Object.keys(env).find((one) => one.toUpperCase() === name.toUpperCase())
  return key && env[key]
}

function existsAsFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
