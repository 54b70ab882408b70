import { accessSync, constants } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * The absolute path of what `--require` loads; undefined where the file is gone or unreadable. The package
 * asks for itself by name, so the answer does not depend on the working directory, where a hostile
 * `node_modules` may wait.
 */
export function preloadPath(): string | undefined {
  const path = join(dirname(require.resolve('ticketkeep/package.json')), 'dist', 'preload.cjs')
  try {
    accessSync(path, constants.R_OK)
    return path
  } catch {
    return undefined
  }
}
