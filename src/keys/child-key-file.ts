import { createHash, randomBytes } from 'node:crypto'
import { lstatSync, readdirSync, renameSync, statfsSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isRunning } from '../common/is-running.ts'
import type { KeySettings } from '../settings.ts'
import { fetchKeysSync } from './chain.ts'
import { wipeKeys } from './key-source.ts'

/** A key file in memory, from which child processes read the key that a key command gave. */
export interface ChildKeyFile {
  /** The variables to set in the environment of the children. */
  readonly variables: { readonly TICKETKEEP_KEY_FILE: string; readonly TICKETKEEP_KEY_SOURCE: 'file' }
  /** Removes the file. Calling it again does nothing. */
  remove(): void
}

/**
 * Runs `TICKETKEEP_KEY_COMMAND` once for a whole process tree, and puts its key into a private file in memory. So forty
 * scripts of one install do not make forty calls to a vault.
 *
 * @param lifetime `children`: a separate file, which the caller removes when the children have ended. `login`: one
 *   file per user and command, which the next call replaces. It is gone after logout or reboot.
 * @returns undefined if the policy does not allow files, another source comes first, the command gives no key, or the
 *   system has no memory file system: then every process runs the command itself
 */
export function writeChildKeyFile(
  settings: KeySettings,
  lifetime: 'children' | 'login',
): ChildKeyFile | undefined {
  const { command, allowed } = settings
  if (command === undefined || process.platform === 'win32') return undefined
  if (allowed && !allowed.includes('file')) return undefined
  const [folder] = memoryFolders(settings.runtimeDirectory)
  if (folder === undefined) return undefined
  removeLeftBehind(folder)
  const { source, keys } = fetchKeysSync(settings)
  let file = join(folder, `${PREFIX}${process.pid}-${randomBytes(12).toString('hex')}.key`)
  try {
    if (keys === undefined || source !== 'command') return undefined
    writeFileSync(file, keys.current, { flag: 'wx', mode: 0o600 })
  } catch {
    return undefined
  } finally {
    wipeKeys(keys)
  }
  if (lifetime === 'login')
    file = rename(
      file,
      loginNames(command).map((name) => join(folder, name)),
    )
  return {
    variables: { TICKETKEEP_KEY_FILE: file, TICKETKEEP_KEY_SOURCE: 'file' },
    remove: () => void removeFile(file),
  }
}

/**
 * Removes all such files of this user, whatever their command and lifetime.
 * @returns their paths
 */
export function removeChildKeyFiles(runtimeDirectory: string | undefined): string[] {
  if (process.platform === 'win32') return []
  return memoryFolders(runtimeDirectory).flatMap((folder) =>
    namesIn(folder)
      .filter((name) => LOGIN.test(name) || CHILDREN.test(name))
      .map((name) => join(folder, name))
      .filter(removeFile),
  )
}

const PREFIX = `ticketkeep-${process.geteuid?.()}-`
const LOGIN = new RegExp(`^${PREFIX}[0-9a-f]{16}\\.key$`)
/** The number in it is that of the process that made the file. */
const CHILDREN = new RegExp(`^${PREFIX}(\\d+)-[0-9a-f]{24}\\.key$`)

/** In a folder that all users share, another user may have taken some of these names. */
const LOGIN_NAMES = 8

const loginNames = (command: string): string[] =>
  Array.from({ length: LOGIN_NAMES }, (_, i) => {
    const digest = createHash('sha256')
      .update(`${command}${i || ''}`)
      .digest('hex')
    return `${PREFIX}${digest.slice(0, 16)}.key`
  })

/** In a sticky folder, a file of another user cannot be replaced. Then the next name is tried. */
function rename(from: string, names: readonly string[]): string {
  for (const to of names) {
    try {
      renameSync(from, to)
      return to
    } catch {}
  }
  return from
}

/** Milliseconds. In containers that share the folder, the processes of others seem to have ended. */
const LEFT_BEHIND_AFTER = 86_400_000

/** Removes the files for children of processes that were killed. */
function removeLeftBehind(folder: string): void {
  for (const name of namesIn(folder)) {
    const pid = Number(CHILDREN.exec(name)?.[1])
    const path = join(folder, name)
    if (pid > 0 && !isRunning(pid) && ageOf(path) > LEFT_BEHIND_AFTER) removeFile(path)
  }
}

const ageOf = (path: string): number =>
  Date.now() - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** File systems in memory, which reach a disk only through swap. Source: statfs(2). */
const TMPFS = 0x01021994
const RAMFS = 0x858458f6

function removeFile(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch {
    return false
  }
}

function memoryFolders(runtimeDirectory: string | undefined): string[] {
  const uid = process.geteuid!()
  return [runtimeDirectory, `/run/user/${uid}`, '/dev/shm'].filter((folder): folder is string => {
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
