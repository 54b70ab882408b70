import {
  chmodSync,
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
import { CACHEDIR_TAG, isCompiledFile, isTemporaryFile, isTicketFile } from './file-names.ts'
import { readPrivateFile, writePrivateFile } from './private-file.ts'

const TAG_TEXT = `Signature: 8a477f597d28d172789f06886806bc55
# This directory holds sealed TLS session tickets of ticketkeep, or its compiled code, which can go at any time.
# About cache directory tags: https://bford.info/cachedir/
`

/**
 * Where tickets rest: the directory asked for, or `tls-tickets` in ticketkeep's folder in the user's cache
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

/** What is done about a directory of ours that others can enter; one that holds other things too is never closed. */
export type IfOpen =
  /** It is a problem. */
  | 'refuse'
  /** It is closed to them. */
  | 'close'
  /** It is no problem where it could be closed to them. */
  | 'allow'

/** What keeps a directory from being used, in words; undefined where nothing does. `absent`: there is none (yet). */
export function directoryProblem(path: string, ifOpen: IfOpen): 'absent' | string | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) return 'absent'
    const uid = process.geteuid?.()
    const problem = whoseProblem(path, stats, uid)
    if (problem !== undefined || uid === undefined || (stats.mode & 0o077) === 0) return problem
    if (ifOpen === 'refuse') return `${path} is open to other users`
    if (!holdsOnlyOurs(path)) return `${path} is open to other users, and holds files that are not tickets`
    return ifOpen === 'close' ? closeToOthers(path, uid) : undefined
  } catch (error) {
    return `${path}: ${(error as Error).message}`
  }
}

/** Why nothing in a directory is ours to touch, in words; undefined where it is, or is not there. */
export function foreignProblem(path: string): string | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats && whoseProblem(path, stats, process.geteuid?.())
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ENOTDIR' ? undefined : `${path}: ${message}`
  }
}

function whoseProblem(path: string, stats: Stats, uid: number | undefined): string | undefined {
  if (stats.isSymbolicLink()) return `${path} is a symbolic link`
  if (!stats.isDirectory()) return `${path} is not a directory`
  return uid === undefined || stats.uid === uid
    ? undefined
    : `${path} belongs to another user (uid ${stats.uid})`
}

/**
 * Makes the directory, mode 0700, and those above it that are missing. Undefined where it is now there and
 * usable, else what is wrong, in words.
 */
export function makeDirectory(path: string): string | undefined {
  const problem = directoryProblem(path, 'close')
  try {
    if (problem === 'absent') {
      const wrong = makeMissing(path)
      if (wrong !== undefined) return wrong
    } else if (problem !== undefined) {
      return problem
    }
    tag(path)
    return problem === 'absent' ? directoryProblem(path, 'close') : undefined
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
      mkdirSync(directory, 0o700)
      // A umask may have taken the owner's own bits away.
      chmodSync(directory, 0o700)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
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

// By its descriptor, so that the directory that was looked at is the one that is changed.
function closeToOthers(path: string, uid: number): string | undefined {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    if (fstatSync(fd).uid !== uid) return `${path} belongs to another user`
    fchmodSync(fd, 0o700)
    return undefined
  } finally {
    closeSync(fd)
  }
}

// Never in a directory that holds other things too: backups would pass by those as well.
function tag(path: string): void {
  const file = path + sep + CACHEDIR_TAG
  if (lstatSync(file, { throwIfNoEntry: false }) !== undefined || !holdsOnlyOurs(path)) return
  try {
    writePrivateFile(file, TAG_TEXT)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** Whether the tag in a directory is one that we have put there. */
export function isTagged(path: string): boolean {
  return readPrivateFile(path + sep + CACHEDIR_TAG, 1024)?.includes('ticketkeep') === true
}

function holdsOnlyOurs(path: string): boolean {
  return readdirSync(path).every(
    (name) => name === CACHEDIR_TAG || isTicketFile(name) || isTemporaryFile(name) || isCompiledFile(name),
  )
}
