import { lstatSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Whether only this user and root can change what is in a folder: the folder and all above it belong to this user or
 * root, and no one else can write to them. sshd checks its files in the same way (`StrictModes`).
 */
export function isOursAlone(folder: string): boolean {
  if (process.platform === 'win32') return true
  try {
    const { uid, mode } = lstatSync(realpathSync(folder))
    return isSafe(uid, mode) && [folder, realpathSync(folder)].every(areSafeAbove)
  } catch {
    return false
  }
}

function areSafeAbove(path: string): boolean {
  const { uid, mode } = lstatSync(path)
  // A symbolic link has no mode of its own. In a sticky folder (/tmp) nobody can replace the files of others.
  const isSticky = (mode & 0o1000) !== 0 || lstatSync(path).isSymbolicLink()
  return isSafe(uid, isSticky ? 0 : mode) && (dirname(path) === path || areSafeAbove(dirname(path)))
}

export function isSafe(owner: number, mode: number): boolean {
  if (process.platform === 'win32') return true
  return (owner === 0 || owner === process.geteuid!()) && (mode & 0o022) === 0
}
