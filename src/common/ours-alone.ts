import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** As Linux follows (path_resolution(7)). */
const MOST_LINKS = 40

/**
 * Whether only this user and root can change what is in a folder: the folder, all above it and all links on the way belong
 * to this user or root, and no one else can write there. sshd checks its files in the same way (`StrictModes`).
 */
export function isOursAlone(folder: string): boolean {
  if (process.platform === 'win32') return true
  try {
    const end = follow(resolve(folder))
    return end !== undefined && isSafe(end.uid, end.mode)
  } catch {
    return false
  }
}

/**
 * Whether a folder that may not exist yet would be made where this user or root wants it: others cannot change where the
 * existing part of its path leads.
 */
export function isOursToMake(folder: string): boolean {
  if (process.platform === 'win32') return true
  let nearest = resolve(folder)
  while (lstatSync(nearest, { throwIfNoEntry: false }) === undefined) nearest = dirname(nearest)
  try {
    return follow(nearest) !== undefined
  } catch {
    return false
  }
}

/** Whether a folder, all above it and all links on the way belong to this user or root, whoever else can write there. */
export function isOfOurs(folder: string): boolean {
  if (process.platform === 'win32') return true
  try {
    return follow(resolve(folder), ({ uid }) => isOwner(uid)) !== undefined
  } catch {
    return false
  }
}

/** The folder at the end of a path. Undefined if a folder on the way is not to be passed, or a link is another user's. */
function follow(path: string, mayPass = isSafeToPass): Stats | undefined {
  const names = path.split('/').filter(Boolean)
  let folder = '/'
  let stats = lstatSync(folder)
  for (let links = 0; ; ) {
    if (!mayPass(stats)) return undefined
    const name = names.shift()
    if (name === undefined) return stats
    // Links are resolved by then, so this is the parent that the kernel finds.
    if (name === '..') folder = dirname(folder)
    const next = name === '.' || name === '..' ? folder : join(folder, name)
    stats = lstatSync(next)
    if (!stats.isSymbolicLink()) folder = next
    else {
      if (++links > MOST_LINKS || !isOwner(stats.uid)) return undefined
      const target = readlinkSync(next)
      names.unshift(...target.split('/').filter(Boolean))
      if (target.startsWith('/')) folder = '/'
      stats = lstatSync(folder)
    }
  }
}

/** In a sticky folder (/tmp) nobody can replace the files of others. */
const isSafeToPass = ({ uid, mode }: Stats) => isSafe(uid, (mode & 0o1000) !== 0 ? 0 : mode)

const isOwner = (uid: number) => uid === 0 || uid === process.geteuid!()

export function isSafe(owner: number, mode: number): boolean {
  if (process.platform === 'win32') return true
  return isOwner(owner) && (mode & 0o022) === 0
}
