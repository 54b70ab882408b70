import { dirname, isAbsolute, join, sep } from 'node:path'
import { withoutModules } from './node-options.ts'

/**
 * The folder of the installed package. The package resolves its own name, so the result does not depend on the working
 * directory, which may contain a hostile `node_modules`. Undefined if the code was bundled into another program: the
 * name would then resolve to another copy, which anybody might have put into a folder above.
 */
export function packageFolder(): string | undefined {
  try {
    const path: unknown = require.resolve('ticketkeep/package.json')
    // webpack replaces the path by a number or a name.
    if (typeof path !== 'string' || !isAbsolute(path) || typeof __filename !== 'string') return undefined
    const folder = dirname(path)
    return __filename.startsWith(folder + sep) ? folder : undefined
  } catch {
    return undefined
  }
}

/**
 * The environment for a child process that must run without our preload: a key command written in Node would otherwise
 * ask for the key again, endlessly. Everything else is passed on. No setting is read from it here.
 */
export function environmentWithoutUs(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: options, ...others } = env
  const kept = options && withoutPreload(options, packageFolder())
  return { ...others, ...(kept && { NODE_OPTIONS: kept }), TICKETKEEP_DISABLE: '1' }
}

/** `NODE_OPTIONS` without our loader and without the preload of this folder or of any folder named `ticketkeep`. */
export function withoutPreload(options: string, folder: string | undefined): string {
  return withoutModules(
    options,
    (path) =>
      path === 'ticketkeep/preload' ||
      /[\\/]ticketkeep[\\/](Config[\\/])?loader\.cjs$/.test(path) ||
      /[\\/]ticketkeep[\\/]dist[\\/]preload\.cjs$/.test(path) ||
      (folder !== undefined && path === join(folder, 'dist', 'preload.cjs')),
  )
}
