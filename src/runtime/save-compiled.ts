import { randomBytes } from 'node:crypto'
import fs, { type Stats } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Script } from 'node:vm'
import { isCompiledFile } from '../store/file-names.ts'
import { makeDirectory } from '../store/private-directory.ts'
import { digestOf, partsOf, stampOf } from './load-compiled.ts'

export interface Compiled {
  readonly script: Script
  /** Of the module, that have run. */
  readonly parts: number
  /** Bytes of the code that this process itself was given: with less, V8 has thrown some of it away. */
  readonly atLeast?: number
  /** The module's. */
  readonly source: string
  /** Of the file, as it was before it was read. */
  readonly stats: Stats
  /** Where the compiled code goes, for `loadCompiled` to find. */
  readonly compiled: string
  /** The folder for it, where that is the user's own and not the package's. */
  readonly own?: string | undefined
}

/** Code that was written so long ago goes with the next that is written, of another Node say: milliseconds. */
const OLD = 90 * 86_400_000

/**
 * At the end of a process: by then V8 has compiled what a connection needs. Throws nothing: it would be the
 * program's exit status.
 */
export function saveCompiled(options: Compiled): void {
  const { script, parts, atLeast = 0, source, stats, compiled, own } = options
  const temporary = `${compiled}.${randomBytes(6).toString('hex')}`
  let isOurs = false
  try {
    const { uid, mode } = stats
    if (own ? makeDirectory(own) !== undefined : uid !== (process.geteuid?.() ?? uid)) return
    // First, since on a read-only file system every process comes as far as this.
    const fd = fs.openSync(temporary, 'wx', 0o600)
    isOurs = true
    try {
      const head = digestOf(source) + stampOf(stats) + partsOf(parts)
      const code = script.createCachedData()
      if (code.length < atLeast) throw new Error('V8 has thrown code away')
      const content = Buffer.concat([Buffer.from(head), code])
      fs.writeFileSync(fd, digestOf(content))
      fs.writeFileSync(fd, content)
      if (!own) fs.fchmodSync(fd, mode & 0o644)
    } finally {
      fs.closeSync(fd)
    }
    fs.renameSync(temporary, compiled)
    isOurs = false
    sweep(dirname(compiled))
  } catch {
    try {
      if (isOurs) fs.unlinkSync(temporary)
    } catch {}
  }
}

function sweep(folder: string): void {
  for (const name of fs.readdirSync(folder)) {
    const path = join(folder, name)
    if (isCompiledFile(name) && Date.now() - fs.lstatSync(path).mtimeMs > OLD) fs.unlinkSync(path)
  }
}
