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

// What is done here needs no key, and opens nothing.

/** How many peers one key keeps tickets of. */
export const MAX_PEERS = 1024

/** How many folders a program looks at, and how many it removes beyond those that it has made. */
const LOOK = 16
const REMOVE = 16
/** After so many milliseconds it does only what it must: it removes one folder for each that it has made. */
const TIME = 5

interface Folder {
  readonly path: string
  readonly kid: string
  /** When something was last stored in it or taken out: UNIX seconds. */
  readonly changed: number
}

/**
 * What a program does after it has stored tickets of new peers, so that every program pays for what it adds and none
 * for all that is there: it looks at some of the folders, those after a random one, and removes some in which
 * nothing has changed for 24 hours, and the least recently changed of its key where that has too many.
 *
 * @param made how many folders it has made
 * @returns how many folders its key is left with
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
    // One in which a failure is remembered stays.
    if (folder.kid === kid && !isThere(folder.path)) left--
  }
  return left
}

/** Makes the directory one that was swept just now. */
export function touch(directory: string, nowUnixSecs: number): void {
  try {
    utimesSync(directory, nowUnixSecs, nowUnixSecs)
  } catch {
    // Read-only: then nothing can be swept either.
  }
}

/**
 * Removes every file in which nothing can be fresh, of whatever key, empty folders, and the peers least recently
 * stored where one key has more than `MAX_PEERS`. Names that are not of our form are left alone.
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
  // Each key by itself, so that two keys in one directory never fight.
  for (const folders of perKid.values()) {
    const surplus = leastRecent(folders).slice(0, Math.max(0, folders.length - MAX_PEERS))
    for (const { path } of surplus) removed += removeFolder(path, Number.POSITIVE_INFINITY)
  }
  return removed
}

/**
 * Removes the batches of all keys but these that were stored before the present key was: the key that sealed them has been
 * replaced. What another key has sealed since is in use.
 * @param kids of the present key, and of those that it followed
 * @param since UNIX seconds: when the present key was put in place
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
 * Removes every batch of every key, what ticketkeep put there besides, and the directory if it is then empty.
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
  // Only one that we have used: an empty one may be somebody's plan.
  if (isTaggedByUs || removed > 0) removeEmpty(directory)
  return removed
}

/** How many batches of any key there are, and how many bytes they have. */
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

/** Links are not followed: they are no folders. @param goesOn whether to look at another one after `n` */
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

// Whatever was stored in it is as old at least.
const isStale = ({ changed }: Folder, now: number) => Math.abs(now - changed) >= MAX_AGE

const leastRecent = (folders: readonly Folder[]) => folders.toSorted((a, b) => a.changed - b.changed)

/** A list from a random place on, the rest at its end. */
function fromRandom(names: readonly string[]): string[] {
  const start = randomBytes(4).readUInt32LE() % (names.length || 1)
  return [...names.slice(start), ...names.slice(0, start)]
}

/**
 * Removes all batches in a folder, what else has expired at the given time, and the folder if it is then empty.
 * @returns how many batches
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

/** @returns how many batches */
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
    return false // somebody has stored something there, or it holds other things
  }
}
