import {
  linkSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Abandon } from './key-source.ts'

/** Milliseconds after which a lock counts as left behind, whoever holds it: a key is made in far less. */
export const STALE_AFTER = 10_000

/** Milliseconds for which others wait for it. */
const WAIT = 8_000

const NAME = 'create-key.lock'

/**
 * One creator of keys a user and machine: the holder of a file in the user's own folder, made with `O_EXCL`.
 * Held while a key is read again, written and read back. Readers never wait for it.
 *
 * @param locked called once, with what gives the lock back, or with nothing where it could not be had in time
 * @returns what gives the waiting up, and the lock back
 */
export function lockCreation(
  folder: string,
  hold: boolean,
  locked: (release: (() => void) | undefined) => void,
  waitLimit = WAIT,
): Abandon {
  const path = join(folder, NAME)
  const deadline = Date.now() + waitLimit
  let timer: NodeJS.Timeout | undefined
  let release: (() => void) | undefined

  const attempt = () => {
    release = tryLock(path)
    if (release !== undefined || Date.now() > deadline) return locked(release)
    timer = setTimeout(attempt, 5 + Math.random() * 20)
    if (!hold) timer.unref()
  }
  attempt()
  return () => {
    clearTimeout(timer)
    release?.()
  }
}

function tryLock(path: string): (() => void) | undefined {
  try {
    writeFileSync(path, `${process.pid} ${processNamespace()}`, { flag: 'wx', mode: 0o600 })
  } catch {
    breakStale(path)
    return undefined
  }
  let held = true
  return () => {
    if (!held) return
    held = false
    try {
      unlinkSync(path)
    } catch {}
  }
}

/** Moves a stale lock aside. If that caught a fresh one, which another process has just made, it is put back. */
function breakStale(path: string): void {
  const aside = `${path}.${process.pid}`
  try {
    const { ino, mtimeMs } = statSync(path)
    if (Date.now() - mtimeMs < STALE_AFTER && !holderIsDead(readFileSync(path, 'latin1'))) return
    renameSync(path, aside)
    const caught = statSync(aside)
    // By its time too: the number of a file that is gone is given to the next one.
    if (caught.ino !== ino || caught.mtimeMs !== mtimeMs) linkSync(aside, path)
    unlinkSync(aside)
  } catch {}
}

/** Known only of a holder that numbers processes as we do. */
function holderIsDead(content: string): boolean {
  const [pid, namespace] = content.split(' ')
  if (!pid || namespace !== processNamespace()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** On Linux, which processes a number means here; elsewhere every process sees the same ones. */
function processNamespace(): string {
  if (process.platform !== 'linux') return hostname()
  return `${hostname()}/${readlinkSync('/proc/self/ns/pid')}`
}
