import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  type Stats,
  statSync,
} from 'node:fs'
import { dirname, isAbsolute, join, resolve, sep } from 'node:path'
import { CACHEDIR_TAG, COUNTS, isFactName, isFolderName, isTemporaryName } from './names.ts'
import { codeOf, readPrivateFile, writePrivateFile } from './private-file.ts'

const TAG_TEXT = `Signature: 8a477f597d28d172789f06886806bc55
# This directory holds encrypted TLS session tickets of ticketkeep, which can go at any time.
# About cache directory tags: https://bford.info/cachedir/
`

/**
 * Where tickets are stored: the directory asked for, or `tls-tickets` in ticketkeep's folder in the user's cache
 * directory. Undefined where the user has none.
 */
export function storeDirectory(configured: string | undefined): string | undefined {
  if (configured !== undefined) {
    // Loading and running `resolve` takes a tenth of a millisecond.
    return sep === '/' && configured.startsWith('/') ? configured : resolve(configured)
  }
  try {
    // It asks for the home directory as it is loaded, which throws for a uid without a passwd entry.
    const { default: envPaths } = require('env-paths') as typeof import('env-paths')
    const { cache } = envPaths('ticketkeep', { suffix: '' })
    return isAbsolute(cache) ? join(cache, 'tls-tickets') : undefined
  } catch {
    return undefined
  }
}

/**
 * A directory of ours that others can enter is closed to them, or left as it is, which is no problem where it could be
 * closed. One that holds other things too is never closed.
 */
export type IfOpen = 'close' | 'leave'

/** What was found at the path of a directory. */
export type Found =
  | { readonly state: 'absent' }
  | { readonly state: 'usable'; readonly mtimeMs: number }
  /** `problem`: in words, without a full stop. */
  | { readonly state: 'unusable'; readonly problem: string }

/** Whether there is a directory that is ours alone. */
export function findDirectory(path: string, ifOpen: IfOpen): Found {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) return { state: 'absent' }
    const uid = process.geteuid?.()
    const problem = whoseProblem(path, stats, uid) ?? openProblem(path, stats, uid, ifOpen)
    return problem === undefined
      ? { state: 'usable', mtimeMs: stats.mtimeMs }
      : { state: 'unusable', problem }
  } catch (error) {
    return { state: 'unusable', problem: `${path}: ${(error as Error).message}` }
  }
}

/** Why nothing in a directory is ours to touch, in words; undefined where it is, or is not there. */
export function foreignProblem(path: string): string | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats && whoseProblem(path, stats, process.geteuid?.())
  } catch (error) {
    return codeOf(error) === 'ENOTDIR' ? undefined : `${path}: ${(error as Error).message}`
  }
}

function whoseProblem(path: string, stats: Stats, uid: number | undefined): string | undefined {
  if (stats.isSymbolicLink()) return `${path} is a symbolic link`
  if (!stats.isDirectory()) return `${path} is not a directory`
  return uid === undefined || stats.uid === uid
    ? undefined
    : `${path} belongs to another user (uid ${stats.uid})`
}

function openProblem(path: string, { mode }: Stats, uid: number | undefined, ifOpen: IfOpen) {
  if (uid === undefined || (mode & 0o077) === 0) return undefined
  if (!holdsOnlyOurs(path)) return `${path} is open to other users, and holds files that are not tickets`
  const foreign = readdirSync(path).find((name) => !isOwn(lstatSync(path + sep + name), uid))
  if (foreign !== undefined) return `${path} is open to other users, and ${foreign} in it is not this user's`
  return ifOpen === 'close' ? closeToOthers(path, uid) : undefined
}

/** Not a link. Its mode may be that of a cache that keeps none. */
const isOwn = (stats: Stats, uid: number) => stats.uid === uid && (stats.isFile() || stats.isDirectory())

/**
 * With the folders in it: who has one of them open could still write to it. What others have put there meanwhile is no
 * danger: it is not encrypted with our key.
 */
function closeToOthers(path: string, uid: number): string | undefined {
  const problem = closeFolder(path, uid)
  if (problem !== undefined) return problem
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inside = entry.isDirectory() ? closeFolder(path + sep + entry.name, uid) : undefined
    if (inside !== undefined) return inside
  }
  return undefined
}

// By its descriptor, so that the directory that was looked at is the one that is changed.
function closeFolder(path: string, uid: number): string | undefined {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const { uid: owner, mode } = fstatSync(fd)
    if (owner !== uid) return `${path} belongs to another user`
    if ((mode & 0o077) !== 0) fchmodSync(fd, 0o700)
    return undefined
  } finally {
    closeSync(fd)
  }
}

/**
 * Makes the directory, mode 0700, and those above it that are missing. Undefined where it is now there and
 * usable, else what is wrong, in words.
 */
export function makeDirectory(path: string): string | undefined {
  try {
    let found = findDirectory(path, 'close')
    if (found.state === 'absent') {
      const problem = makeMissing(path)
      if (problem !== undefined) return problem
      found = findDirectory(path, 'close')
    }
    if (found.state === 'absent') return `${path} cannot be made`
    if (found.state === 'unusable') return found.problem
    tag(path)
    return undefined
  } catch (error) {
    return `${path}: ${(error as Error).message}`
  }
}

/** Why a directory that is not there may not be made either, in words; undefined where it may. */
export function whyNotMade(path: string): string | undefined {
  const { above, missing } = firstMissing(path)
  // Root with another user's HOME must leave nothing behind that this user could not remove.
  const uid = process.geteuid?.()
  // Nor may another user's link choose where it is made.
  for (const { uid: owner } of [lstatSync(above), statSync(above)]) {
    if (uid !== undefined && owner !== uid && owner !== 0)
      return `${above} belongs to another user (uid ${owner})`
  }
  // Nor a home that is somebody's to make: one that is mounted at login, say.
  const home = homeOrNone()
  return home !== undefined && missing.includes(home)
    ? `the home directory ${home} does not exist`
    : undefined
}

function makeMissing(path: string): string | undefined {
  const problem = whyNotMade(path)
  if (problem !== undefined) return problem
  for (const directory of firstMissing(path).missing) {
    try {
      // Never more than 0700: a umask can only take rights away.
      mkdirSync(directory, 0o700)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
  }
  return undefined
}

function firstMissing(path: string): { above: string; missing: string[] } {
  const missing: string[] = []
  let above = path
  for (; lstatSync(above, { throwIfNoEntry: false }) === undefined; above = dirname(above))
    missing.unshift(above)
  return { above, missing }
}

function homeOrNone(): string | undefined {
  const { homedir } = require('node:os') as typeof import('node:os')
  try {
    return resolve(homedir())
  } catch {
    return undefined // no HOME, and no passwd entry
  }
}

// Never in a directory that holds other things too: backups would pass by those as well.
function tag(path: string): void {
  const file = path + sep + CACHEDIR_TAG
  if (lstatSync(file, { throwIfNoEntry: false }) !== undefined || !holdsOnlyOurs(path)) return
  try {
    writePrivateFile(file, TAG_TEXT)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}

/** Whether the tag in a directory is one that we have put there. */
export function isTagged(path: string): boolean {
  return readPrivateFile(path + sep + CACHEDIR_TAG)?.includes('ticketkeep') === true
}

function holdsOnlyOurs(path: string): boolean {
  const isOurs = (name: string) =>
    [CACHEDIR_TAG, COUNTS].includes(name) || isFolderName(name) || isTemporaryName(name) || isFactName(name)
  return readdirSync(path).every(isOurs)
}
