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
# This directory holds encrypted TLS session tickets of ticketkeep, which can be deleted at any time.
# About cache directory tags: https://bford.info/cachedir/
`

/**
 * Where tickets are stored: the configured directory, or `tls-tickets` in ticketkeep's folder in the user's cache
 * directory. Undefined if the user has none.
 */
export function storeDirectory(configured: string | undefined): string | undefined {
  if (configured !== undefined) {
    // Loading and running `resolve` takes a tenth of a millisecond.
    return sep === '/' && configured.startsWith('/') ? configured : resolve(configured)
  }
  try {
    // `env-paths` reads the home directory when it is loaded, which throws for a uid without a passwd entry.
    const { default: envPaths } = require('env-paths') as typeof import('env-paths')
    const { cache } = envPaths('ticketkeep', { suffix: '' })
    return isAbsolute(cache) ? join(cache, 'tls-tickets') : undefined
  } catch {
    return undefined
  }
}

/**
 * What to do if other users can enter a directory of ours: remove their access, or leave it and report no problem if it
 * could be removed. The access to a directory that also contains other files is never changed.
 */
export type IfOpen = 'close' | 'leave'

/** The result of checking the path of a directory. */
export type Found =
  | { readonly state: 'absent' }
  | { readonly state: 'usable'; readonly mtimeMs: number }
  /** `problem`: a phrase for people, without a full stop. */
  | { readonly state: 'unusable'; readonly problem: string }

/** Checks whether there is a directory that only this user can access. */
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

/** Why a directory must not be touched at all, as a phrase for people. Undefined if it may be, or does not exist. */
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

/** A file or directory of this user, not a link. Its mode is not checked: a CI cache may not preserve modes. */
const isOwn = (stats: Stats, uid: number) => stats.uid === uid && (stats.isFile() || stats.isDirectory())

/**
 * Closes the folders inside too: who has one of them open could still write to it. Files that others put there before
 * are harmless: they are not encrypted with our key.
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

// Uses a descriptor, so that the directory that is checked is the one that is changed.
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
 * Makes the directory, mode 0700, and missing directories above it. Undefined if it now exists and is usable, else the
 * problem as a phrase for people.
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

/** Why a missing directory may not be made, as a phrase for people. Undefined if it may. */
export function whyNotMade(path: string): string | undefined {
  const { above, missing } = firstMissing(path)
  // Root with another user's HOME must not leave anything behind that this user could not remove.
  const uid = process.geteuid?.()
  // `stat` and `lstat`: another user's link must not decide where it is made.
  for (const { uid: owner } of [lstatSync(above), statSync(above)]) {
    if (uid !== undefined && owner !== uid && owner !== 0)
      return `${above} belongs to another user (uid ${owner})`
  }
  // A missing home directory is not made: it may be mounted at login, for example.
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
      // At most 0700: a umask can only remove permissions.
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
    return undefined // neither HOME nor a passwd entry
  }
}

// Not in a directory that contains other files: backups would skip those as well.
function tag(path: string): void {
  const file = path + sep + CACHEDIR_TAG
  if (lstatSync(file, { throwIfNoEntry: false }) !== undefined || !holdsOnlyOurs(path)) return
  try {
    writePrivateFile(file, TAG_TEXT)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}

/** Whether we wrote the tag in a directory. */
export function isTagged(path: string): boolean {
  return readPrivateFile(path + sep + CACHEDIR_TAG)?.includes('ticketkeep') === true
}

function holdsOnlyOurs(path: string): boolean {
  const isOurs = (name: string) =>
    [CACHEDIR_TAG, COUNTS].includes(name) || isFolderName(name) || isTemporaryName(name) || isFactName(name)
  return readdirSync(path).every(isOurs)
}
