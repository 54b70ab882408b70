import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { packageFolder } from '../common/package-folder.ts'

/** The absolute path of the package's own preload. Undefined if the file is missing or unreadable. */
export function packagePreload(): string | undefined {
  try {
    const path = join(packageFolder()!, 'dist', 'preload.cjs')
    accessSync(path, constants.R_OK)
    return path
  } catch {
    return undefined
  }
}
