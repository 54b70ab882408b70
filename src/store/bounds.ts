import { randomBytes } from 'node:crypto'
import { lstatSync, rmdirSync, utimesSync } from 'node:fs'
import { sep } from 'node:path'
import { elapsed } from '../common/clock.ts'
import { MAX_AGE } from '../ticket-entry.ts'
import {
  CACHEDIR_TAG,
  COUNTS,
  folderPrefix,
  isBatchName,
  isExpired,
  isFactName,
  isFolderName,
  isTemporaryName,
  kidOf,
  timeOf,
} from './names.ts'
import { namesIn } from './peer-folders.ts'
import { isTagged } from './private-directory.ts'
import { regularFile, removeFile } from './private-file.ts'

// Nothing here needs a key or decrypts a file.

/** The most peers that one key keeps tickets for. */
export const MAX_PEERS = 1024

/** How many folders a program checks, and how many it removes in addition to the number that it made. */
const LOOK = 16
const REMOVE = 16
/** After this many milliseconds it does only the minimum: it removes one folder for each one that it made. */
const TIME = 5

interface Folder {
  readonly path: string
  readonly kid: string
  /** When something was last stored in it or removed from it: UNIX seconds. */
  readonly changed: number
}

/**
 * Cleans up a little after a program has stored tickets of new peers. The cost to a program depends on what it adds,
 * not on the size of the store. It checks some folders, starting at a random one. It removes some that have not changed
 * for 24 hours and, if its key has too many, the least recently changed ones of its key.
 *
 * @param made how many folders the program made
 * @returns how many folders its key has left
 */
export function sweepSome(directory: string, kid: string, nowUnixSecs: number, made: number): number {
  const names = fromRandom(namesIn(directory))
  const end = elapsed() + TIME
  const hasTime = () => elapsed() < end
  const folders = names.filter(isFolderName)
  if (folders.length < names.length) removeExpired(directory, names, nowUnixSecs)
  const count = folders.filter((name) => name.startsWith(folderPrefix(kid))).length
  const surplus = Math.max(0, count - MAX_PEERS)
  const must = Math.min(surplus, made)
  const looked = lookAt(
    directory,
    folders.slice(0, Math.max(LOOK, 4 * surplus)),
    (n) => n < 4 * must || hasTime(),
  )
  const stale = looked.filter((folder) => isStale(folder, nowUnixSecs))
  const oldest = leastRecent(looked.filter((folder) => folder.kid === kid && !stale.includes(folder)))
  const going = [...oldest.slice(0, surplus), ...stale].slice(0, made + REMOVE)
  let left = count
  for (const [n, folder] of going.entries()) {
    if (n >= must && !hasTime()) break
    removeFolder(folder.path, stale.includes(folder) ? nowUnixSecs : Number.POSITIVE_INFINITY)
    // A folder that records a failure is kept.
    if (folder.kid === kid && !isThere(folder.path)) left--
  }
  return left
}

/** Marks the directory as just swept. */
export function touch(directory: string, nowUnixSecs: number): void {
  try {
    utimesSync(directory, nowUnixSecs, nowUnixSecs)
  } catch {
    // The directory is read-only, so nothing can be swept either.
  }
}

/**
 * Removes every file that can contain nothing fresh, whatever its key, empty folders, and the least recently stored
 * peers of each key that has more than `MAX_PEERS`. Leaves names that are not ours.
 * @returns how many batches were removed
 */
export function prune(directory: string, nowUnixSecs: number): number {
  const names = namesIn(directory)
  removeExpired(directory, names, nowUnixSecs)
  const perKid = new Map<string, Folder[]>()
  let removed = 0
  for (const folder of lookAt(directory, names.filter(isFolderName))) {
    if (isStale(folder, nowUnixSecs)) {
      removed += removeFolder(folder.path, nowUnixSecs)
      continue
    }
    removed += removeExpired(folder.path, namesIn(folder.path), nowUnixSecs)
    if (!removeEmpty(folder.path)) perKid.set(folder.kid, [...(perKid.get(folder.kid) ?? []), folder])
  }
  // Each key is counted separately, so that two keys in one directory never evict each other's tickets.
  for (const folders of perKid.values()) {
    const surplus = leastRecent(folders).slice(0, Math.max(0, folders.length - MAX_PEERS))
    for (const { path } of surplus) removed += removeFolder(path, Number.POSITIVE_INFINITY)
  }
  return removed
}

/**
 * Removes the batches of all other keys that were stored before the current key was: the key that sealed them has been
 * replaced. Batches that another key sealed later are still in use.
 * @param kids the key IDs of the current key and its predecessors
 * @param since UNIX seconds: when the current key was installed
 * @returns how many batches were removed
 */
export function pruneOtherKeys(directory: string, kids: readonly string[], since: number): number {
  let removed = 0
  for (const { path, kid } of lookAt(directory, namesIn(directory).filter(isFolderName))) {
    if (kids.includes(kid)) continue
    const old = namesIn(path).filter((name) => isBatchName(name) && timeOf(name) <= since)
    removed += old.filter((name) => removeFile(path + sep + name)).length
    removeEmpty(path)
  }
  return removed
}

/**
 * Removes every batch of every key, all other files of ticketkeep, and the directory if it is then empty.
 * @returns how many batches were removed
 */
export function purge(directory: string): number {
  let removed = 0
  const isTaggedByUs = isTagged(directory)
  for (const name of namesIn(directory)) {
    const path = directory + sep + name
    if (isFolderName(name)) removed += removeFolder(path, Number.POSITIVE_INFINITY)
    else if (
      isTemporaryName(name) ||
      isFactName(name) ||
      ((name === CACHEDIR_TAG || name === COUNTS) && isTaggedByUs)
    )
      removeFile(path)
  }
  // Remove only a directory that we have used. An empty one may have been made by somebody else on purpose.
  if (isTaggedByUs || removed > 0) removeEmpty(directory)
  return removed
}

/** The number of batches of all keys, and their total size in bytes. */
export function usage(directory: string): { readonly files: number; readonly bytes: number } {
  let [files, bytes] = [0, 0]
  for (const folder of namesIn(directory).filter(isFolderName)) {
    const path = directory + sep + folder
    for (const name of namesIn(path).filter(isBatchName)) {
      files++
      bytes += regularFile(path + sep + name)?.size ?? 0
    }
  }
  return { files, bytes }
}

/** Reads the stats of folders. Symbolic links are skipped. @param goesOn whether to continue after `n` folders */
function lookAt(
  directory: string,
  names: readonly string[],
  goesOn: (n: number) => boolean = () => true,
): Folder[] {
  const folders: Folder[] = []
  for (const [n, name] of names.entries()) {
    if (!goesOn(n)) break
    const path = directory + sep + name
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats?.isDirectory()) folders.push({ path, kid: kidOf(name), changed: stats.mtimeMs / 1000 })
  }
  return folders
}

// The contents of a folder are at least as old as its last change.
const isStale = ({ changed }: Folder, now: number) => Math.abs(now - changed) >= MAX_AGE

const leastRecent = (folders: readonly Folder[]) => folders.toSorted((a, b) => a.changed - b.changed)

/** Rotates a list to start at a random place. */
function fromRandom(names: readonly string[]): string[] {
  const start = randomBytes(4).readUInt32LE() % (names.length || 1)
  return [...names.slice(start), ...names.slice(0, start)]
}

/**
 * Removes all batches in a folder, other files that are expired at the given time, and the folder if it is then empty.
 * @returns how many batches were removed
 */
function removeFolder(path: string, nowUnixSecs: number): number {
  const names = namesIn(path)
  removeExpired(
    path,
    names.filter((name) => !isBatchName(name)),
    nowUnixSecs,
  )
  const removed = names.filter((name) => isBatchName(name) && removeFile(path + sep + name)).length
  removeEmpty(path)
  return removed
}

/** @returns how many batches were removed */
function removeExpired(folder: string, names: readonly string[], nowUnixSecs: number): number {
  const removed = names.filter((name) => isExpired(name, nowUnixSecs) && removeFile(folder + sep + name))
  return removed.filter(isBatchName).length
}

const isThere = (path: string) => lstatSync(path, { throwIfNoEntry: false }) !== undefined

function removeEmpty(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch {
    return false // another process has stored something there, or it contains other files
  }
}
