import { homedir } from 'node:os'
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

/** It throws for a user id without a passwd entry and without HOME. */
function home(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}
