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
import { setTimeout } from 'node:timers'
import { isRunning } from '../common/is-running.ts'
import { onAbort } from '../common/on-abort.ts'
import type { Asking } from './key-source.ts'

/** Milliseconds after which a lock counts as stale, whoever holds it: making a key takes far less. */
export const STALE_AFTER = 10_000

/** Milliseconds for which other processes wait. */
const WAIT = 8_000

const NAME = 'create-key.lock'

/** Releases the lock. Calling it again does nothing. */
export type Release = () => void

/**
 * Lets only one process per user and machine make a key: the one that creates a file in the user's own folder
 * (`O_EXCL`). It holds the lock while it reads the source again, writes, and reads back. Readers never wait.
 *
 * @returns a function that releases the lock, or a phrase for people if the lock could not be taken. The lock is also
 *   released when `signal` is aborted.
 */
export async function lockCreation(
  folder: string,
  { hold, signal }: Pick<Asking, 'hold' | 'signal'>,
  waitLimit = WAIT,
): Promise<Release | string> {
  const path = join(folder, NAME)
  const deadline = Date.now() + waitLimit
  for (;;) {
    if (signal.aborted) return 'the request for the key was cancelled'
    const found = tryLock(path)
    if (found === 'locked') return releaseOf(path, signal)
    if (found !== 'taken') return `the lock for making a key cannot be created in ${folder} (${found})`
    if (Date.now() > deadline) return 'another process is making the key'
    await pause(5 + Math.random() * 20, hold)
  }
}

function pause(milliseconds: number, hold: boolean): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds)
    if (!hold) timer.unref()
  })
}

/** @returns `locked`, `taken` by another process, or the code of an error that waiting does not resolve */
function tryLock(path: string): 'locked' | 'taken' | string {
  try {
    writeFileSync(path, `${process.pid} ${processNamespace()}`, { flag: 'wx', mode: 0o600 })
    return 'locked'
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    // Windows answers with EPERM while the last holder's file is being deleted.
    if (code !== 'EEXIST' && process.platform !== 'win32') return code
    breakStale(path)
    return 'taken'
  }
}

function releaseOf(path: string, signal: AbortSignal): Release {
  let isHeld = true
  const release = () => {
    doneWithSignal()
    if (!isHeld) return
    isHeld = false
    try {
      unlinkSync(path)
    } catch {}
  }
  const doneWithSignal = onAbort(signal, release)
  return release
}

/**
 * Moves a stale lock aside. If the moved lock turns out to be a fresh one that another process has just made, it is put
 * back.
 */
function breakStale(path: string): void {
  const aside = `${path}.${process.pid}`
  try {
    const { ino, mtimeMs } = statSync(path)
    if (Date.now() - mtimeMs < STALE_AFTER && !holderIsDead(readFileSync(path, 'latin1'))) return
    renameSync(path, aside)
    const caught = statSync(aside)
    // The time is compared too, because a new file may reuse an inode number.
    if (caught.ino !== ino || caught.mtimeMs !== mtimeMs) linkSync(aside, path)
    unlinkSync(aside)
  } catch {}
}

/** False if it cannot be known: process IDs of another PID namespace mean nothing here. */
function holderIsDead(content: string): boolean {
  const [pid, namespace] = content.split(' ')
  if (!pid || namespace !== processNamespace()) return false
  return !isRunning(Number(pid))
}

/** Identifies the PID namespace that a process ID belongs to. */
function processNamespace(): string {
  if (process.platform !== 'linux') return hostname()
  return `${hostname()}/${readlinkSync('/proc/self/ns/pid')}`
}
