import { spawnSync } from 'node:child_process'
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type NodeLine, nodeBinary } from '../test/support/pinned.ts'
import { CACHE, DIST, ROOT } from '../test/support/places.ts'

const FOLDER = join(CACHE, 'bench')
const preloadOf = (name: string) => join(FOLDER, name, 'dist/preload.cjs')

/** The preload of a copy of the package as installed. */
export const INSTALLED = preloadOf('installed')
/** The file that NODE_OPTIONS names: it loads the package, as written by `ticketkeep env`. */
export const LOADER = join(FOLDER, 'loader.cjs')
/** The preload of a copy after `ticketkeep precompile`. */
export const PRECOMPILED = preloadOf('precompiled')
/** A preload that does nothing. */
export const EMPTY = join(ROOT, 'bench/programs/silent.cjs')

/** Makes new copies, so that nothing depends on earlier runs in `dist`. */
export function copyPackages(lines: readonly NodeLine[]): void {
  for (const name of ['installed', 'precompiled']) {
    const copy = join(FOLDER, name)
    rmSync(copy, { recursive: true, force: true })
    cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'))
    const isOurs = (path: string) => path !== join(DIST, 'precompiled')
    cpSync(DIST, join(copy, 'dist'), { recursive: true, filter: isOurs })
  }
  writeFileSync(LOADER, `try {\n  require(${JSON.stringify(INSTALLED)})\n} catch {}\n`)
  for (const line of lines) precompile(line)
}

/** Does what `ticketkeep precompile` does for a given Node. */
function precompile(line: NodeLine): void {
  const script = join(FOLDER, 'precompiled/dist/precompile.cjs')
  const { status, stderr } = spawnSync(nodeBinary(line), [script], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`Node ${line} could not compile the package: ${stderr}`)
}
