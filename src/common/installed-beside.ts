import { join, sep } from 'node:path'
import { isOursAlone } from './ours-alone.ts'

/**
 * The path of a package that is not bundled. Node searches all folders above, where another user may have put one. So it is
 * accepted only from the `node_modules` in which `folder` is installed, or from where nobody else can write.
 *
 * @param require Node's, of the code that needs the package
 * @param folder that of our package, or of the bundle that our code is part of
 * @throws if there is none
 */
export function installedBeside(
  require: Pick<NodeJS.Require, 'resolve'>,
  name: string,
  folder: string,
): string {
  const path = require.resolve(name)
  if (isFrom(path, folder)) return path
  throw new Error(`${name} was found at ${path}, where others may have put it`)
}

/** Whether something that was found there may be loaded. */
export function isFrom(path: string, folder: string): boolean {
  const at = folder.indexOf(`${sep}node_modules${sep}`)
  const modules = at < 0 ? join(folder, 'node_modules') : folder.slice(0, at + `${sep}node_modules`.length)
  return path.startsWith(modules + sep) || (process.platform !== 'win32' && isOursAlone(join(path, '..')))
}
