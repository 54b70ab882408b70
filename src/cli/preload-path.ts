import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { packageFolder } from '../common/package-folder.ts'

/** The absolute path of what `--require` loads; undefined where the file is gone or unreadable. */
export function preloadPath(): string | undefined {
  try {
    const path = join(packageFolder()!, 'dist', 'preload.cjs')
    accessSync(path, constants.R_OK)
    return path
  } catch {
    return undefined
  }
}
