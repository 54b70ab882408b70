import { dirname, isAbsolute, join, sep } from 'node:path'
import { withoutModules } from './node-options.ts'

/**
 * The folder of the installed package. It asks for itself by name, so the answer does not depend on the working
 * directory, where a hostile `node_modules` may wait. Undefined where its code has been moved into somebody's bundle: what is
 * found by name is another copy then, which anybody may have put into a folder above.
 */
export function packageFolder(): string | undefined {
  try {
    const path: unknown = require.resolve('ticketkeep/package.json')
    // webpack puts a number or a name of its own in the place of the path.
    if (typeof path !== 'string' || !isAbsolute(path) || typeof __filename !== 'string') return undefined
    const folder = dirname(path)
    return __filename.startsWith(folder + sep) ? folder : undefined
  } catch {
    return undefined
  }
}

/**
 * The environment for a child process that must run without us: a key command written in Node would otherwise
 * ask for the key, for ever. Passed on whole; no setting is read from it here.
 */
export function environmentWithoutUs(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: options, ...others } = env
  const kept = options && withoutPreload(options, packageFolder())
  return { ...others, ...(kept && { NODE_OPTIONS: kept }), TICKETKEEP_DISABLE: '1' }
}

/** `NODE_OPTIONS` without our preload: that of the package in this folder, and of any folder named `ticketkeep`, and our loader. */
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
