import { createHash, randomBytes } from 'node:crypto'
import { lstatSync, renameSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { wipe } from '../common/bytes.ts'
import type { KeySettings } from '../settings.ts'
import { fetchKeysSync } from './chain.ts'

/** A key that children find without asking for it themselves. */
export interface HandedOn {
  /** What to set in the environment of the children. */
  readonly variables: { readonly TICKETKEEP_KEY_FILE: string; readonly TICKETKEEP_KEY_SOURCE: 'file' }
  /** Takes the file away again; does nothing if that is done already. */
  remove(): void
}

/**
 * Fetches the key by `TICKETKEEP_KEY_COMMAND` and hands it on to a process tree by a private file in memory,
 * so that forty scripts of one install are not forty calls to a vault.
 *
 * @param lifetime `children`: a file of its own, which the caller removes when they have ended. `login`: one
 *   file a user and command, which the next call replaces, and which goes with the login or the machine.
 * @returns undefined where another source comes first, the command gives no key, or the system has no memory
 *   file system to put it on: then every process asks for itself
 */
export function handOnKey(settings: KeySettings, lifetime: 'children' | 'login'): HandedOn | undefined {
  if (settings.command === undefined || process.platform === 'win32') return undefined
  const folder = memoryFolder(settings.runtimeDirectory)
  if (folder === undefined) return undefined
  const { source, keys } = fetchKeysSync(settings)
  if (keys === undefined) return undefined
  if (source !== 'command') {
    wipe(keys.current)
    return undefined
  }
  const random = randomBytes(12).toString('hex')
  let file = join(folder, `ticketkeep-${random}.key`)
  try {
    writeFileSync(file, keys.current, { flag: 'wx', mode: 0o600 })
  } catch {
    return undefined
  } finally {
    wipe(keys.current)
  }
  if (lifetime === 'login') file = rename(file, join(folder, fixedName(settings.command)))
  return {
    variables: { TICKETKEEP_KEY_FILE: file, TICKETKEEP_KEY_SOURCE: 'file' },
    remove() {
      try {
        unlinkSync(file)
      } catch {}
    },
  }
}

const fixedName = (command: string) =>
  `ticketkeep-${process.geteuid!()}-${createHash('sha256').update(command).digest('hex').slice(0, 16)}.key`

/** In a sticky folder a name that somebody else has taken cannot be replaced: then the random one stays. */
function rename(from: string, to: string): string {
  try {
    renameSync(from, to)
    return to
  } catch {
    return from
  }
}

/** File systems that never reach a disk but by swap (statfs(2)). */
const TMPFS = 0x01021994
const RAMFS = 0x858458f6

function memoryFolder(runtimeDirectory: string | undefined): string | undefined {
  const uid = process.geteuid!()
  return [runtimeDirectory, `/run/user/${uid}`, '/dev/shm'].find((folder) => {
    if (folder === undefined) return false
    try {
      const { uid: owner, mode } = lstatSync(folder)
      const isPrivate = owner === uid && (mode & 0o077) === 0
      const isShared = owner === 0 && (mode & 0o1777) === 0o1777
      return (isPrivate || isShared) && [TMPFS, RAMFS].includes(statfsSync(folder).type)
    } catch {
      return false
    }
  })
}
