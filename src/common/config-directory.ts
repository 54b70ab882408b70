import { isAbsolute, join } from 'node:path'

/**
 * The user's configuration directory for ticketkeep: the same as `envPaths('ticketkeep', { suffix: '' }).config` of
 * env-paths 4, which takes 7 ms to load. Undefined if the user has no home directory, or only a relative path to one:
 * the working directory must not decide anything.
 */
export function configDirectory(): string | undefined {
  const { env, platform } = process
  const directory =
    platform === 'darwin'
      ? below(home(), 'Library', 'Preferences', 'ticketkeep')
      : platform === 'win32'
        ? below(env.APPDATA || below(home(), 'AppData', 'Roaming'), 'ticketkeep', 'Config')
        : below(env.XDG_CONFIG_HOME || below(home(), '.config'), 'ticketkeep')
  return directory !== undefined && isAbsolute(directory) ? directory : undefined
}

const below = (base: string | undefined, ...names: string[]) => base && join(base, ...names)

/** Like `os.homedir()`, which is called only if necessary: loading `node:os` takes half a millisecond. */
function home(): string | undefined {
  if (process.platform !== 'win32' && process.env.HOME !== undefined) return process.env.HOME
  const { homedir } = require('node:os') as typeof import('node:os')
  try {
    return homedir()
  } catch {
    return undefined // neither HOME nor a passwd entry
  }
}
