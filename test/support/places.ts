import { join } from 'node:path'

// npm and vitest both run scripts from the package's own directory.
export const ROOT = process.cwd()
/** Files that tests may keep from run to run. Git ignores them. */
export const CACHE = join(ROOT, '.cache')
export const DIST = join(ROOT, 'dist')
export const PRELOAD = join(DIST, 'preload.cjs')
export const CLI = join(DIST, 'cli.js')
