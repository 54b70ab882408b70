import fs, { type Stats } from 'node:fs'
import type { Script } from 'node:vm'
import { COMPLETE, digestOf, stampOf } from './load-compiled.ts'

export interface Compiled {
  readonly script: Script
  /** Whether all of it has run that as a rule does. */
  readonly complete: boolean
  /** The module's. */
  readonly source: string
  /** Of the file, as it was before it was read. */
  readonly stats: Stats
  /** Where the compiled code goes, for `loadCompiled` to find. */
  readonly compiled: string
}

/**
 * At the end of a process: by then V8 has compiled what a connection needs. Throws nothing: it would be the
 * program's exit status.
 */
export function saveCompiled({ script, complete, source, stats, compiled }: Compiled): void {
  const temporary = `${compiled}.${Math.random().toString(36).slice(2)}`
  let isOurs = false
  try {
    const { uid, mode } = stats
    if (uid !== (process.geteuid?.() ?? uid)) return
    // First, since on a read-only file system every process comes as far as this.
    const fd = fs.openSync(temporary, 'wx', 0o600)
    isOurs = true
    try {
      const state = complete ? COMPLETE : ''.padEnd(COMPLETE.length)
      const head = digestOf(source) + stampOf(stats) + state
      const content = Buffer.concat([Buffer.from(head), script.createCachedData()])
      fs.writeFileSync(fd, digestOf(content))
      fs.writeFileSync(fd, content)
      fs.fchmodSync(fd, mode & 0o644)
    } finally {
      fs.closeSync(fd)
    }
    fs.renameSync(temporary, compiled)
  } catch {
    try {
      if (isOurs) fs.unlinkSync(temporary)
    } catch {}
  }
}
