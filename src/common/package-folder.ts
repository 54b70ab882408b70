import { dirname, join } from 'node:path'

/** The folder of the installed package; undefined where its files have been moved into somebody's bundle. */
export function packageFolder(): string | undefined {
  try {
    return dirname(require.resolve('ticketkeep/package.json'))
  } catch {
    return undefined
  }
}

/**
 * The environment for a child process that must run without us: a tool written in Node that gives the key
 * would otherwise ask for the key, for ever. Handed on as it is; no setting is read from it here.
 */
export function environmentWithoutUs(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: options, ...others } = env
  const kept = options === undefined ? undefined : withoutPreload(options, packageFolder())
  return { ...others, ...(kept ? { NODE_OPTIONS: kept } : {}), TICKETKEEP_DISABLE: '1' }
}

/**
 * `NODE_OPTIONS` less our preload, everything else kept as written. Words are split as Node does it: at
 * spaces outside double quotes, in which a backslash escapes.
 */
export function withoutPreload(options: string, folder: string | undefined): string {
  const words = options.match(/(?:"(?:\\.|[^"\\])*"?|[^ "])+/g) ?? []
  const kept: string[] = []
  for (let i = 0; i < words.length; i++) {
    const [, flag, inline] = /^(-r|--require|--import)(?:=(.*))?$/s.exec(words[i]!) ?? []
    const value = flag === undefined ? undefined : (inline ?? words[i + 1])
    if (value !== undefined && isOurPreload(unquote(value), folder)) {
      if (inline === undefined) i++
    } else kept.push(words[i]!)
  }
  return kept.join(' ')
}

const unquote = (word: string) =>
  word.replace(/"((?:\\.|[^"\\])*)"?/g, (_, inner) => inner.replace(/\\(.)/g, '$1'))

function isOurPreload(path: string, folder: string | undefined): boolean {
  if (path === 'ticketkeep/preload' || /[\\/]ticketkeep[\\/]dist[\\/]preload\.cjs$/.test(path)) return true
  return folder !== undefined && path === join(folder, 'dist', 'preload.cjs')
}
