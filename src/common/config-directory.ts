import { isAbsolute, join } from 'node:path'

/**
 * The user's directory for the configuration of ticketkeep: `envPaths('ticketkeep', { suffix: '' }).config`, worked
 * out by the rules of env-paths 4, which takes 7 ms to load. Undefined where the user has no home, or only a
 * relative path to it: whatever the working directory holds must not decide anything.
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

/** As `os.homedir()`, which is asked only where it has to be: loading its module takes half a millisecond. */
function home(): string | undefined {
  if (process.platform !== 'win32' && process.env.HOME !== undefined) return process.env.HOME
  const { homedir } = require('node:os') as typeof import('node:os')
  try {
    return homedir()
  } catch {
    return undefined // no HOME, and no passwd entry
  }
}
