import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'

/**
 * A folder that only this user can write to. Every process of the user on this machine finds the same one, whatever its
 * environment: below `/run/user`, or in the home directory of the passwd entry. (Never `$HOME`: root with another
 * user's HOME would leave files there.)
 *
 * @param kind `lasting`: prefer the home directory, since files below `/run/user` are removed at logout
 * @param make whether to make the folder if it is missing
 */
export function userFolder(kind: 'any' | 'lasting' = 'any', make = true): string | undefined {
  const places = candidates()
  if (kind === 'lasting') places.reverse()
  for (const [base, ...names] of places) {
    try {
      let folder = base
      if (!isOurs(folder)) continue
      for (const name of names) {
        folder = join(folder, name)
        if (make) mkdirSync(folder, { mode: 0o700, recursive: true })
      }
      if (isOurs(folder)) return folder
    } catch {}
  }
  return undefined
}

/**
 * Reads what `writeUserFile` wrote.
 * @throws if there is no such file
 */
export const readUserFile = <T>(name: string): T =>
  JSON.parse(readFileSync(join(userFolder('any', false)!, name), 'utf8'))

/** @throws if there is no folder, or it cannot be written to */
export function writeUserFile(name: string, value: object): void {
  const file = join(userFolder()!, name)
  writeFileSync(`${file}.${process.pid}`, JSON.stringify(value), { mode: 0o600 })
  renameSync(`${file}.${process.pid}`, file)
}

/** The paths of all files in the folders that `userFolder` gives. */
export function userFiles(): string[] {
  return candidates().flatMap(([base, ...names]) => filesIn(join(base, ...names)))
}

function filesIn(folder: string): string[] {
  try {
    if (!isOurs(folder)) return []
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => join(folder, name))
  } catch {
    return []
  }
}

/**
 * Removes every file in the folders that `userFolder` can return, and the folders if they are then empty.
 * @returns the paths of the files
 */
export function removeUserFiles(): string[] {
  const removed: string[] = []
  for (const [base, ...names] of candidates()) {
    const folder = join(base, ...names)
    try {
      for (const file of filesIn(folder)) {
        unlinkSync(file)
        removed.push(file)
      }
      if (isOurs(folder)) for (let at = folder; at !== base; at = dirname(at)) rmdirSync(at)
    } catch {}
  }
  return removed
}

export const NO_USER_FOLDER =
  'no key can be made: its lock needs a folder that only this user can write to, in /run/user or in the home directory'

/** Why no file can be made in the user's folder, as a phrase for people. Undefined if one can. Makes nothing. */
export function whyNoUserFolder(): string | undefined {
  const folder = userFolder('any', false)
  const places = folder === undefined ? candidates().map(nearestOf) : [folder]
  const ours = places.filter(isOurs)
  if (ours.length === 0) return NO_USER_FOLDER
  if (ours.some(isWritable)) return undefined
  return `no key can be made: its lock needs ${ours[0]}, which cannot be written to`
}

/** The deepest existing folder of a place, in which the next one would be made. */
function nearestOf([base, ...names]: readonly [string, ...string[]]): string {
  const paths = names.map((_, i) => join(base, ...names.slice(0, i + 1)))
  return paths.findLast((path) => existsSync(path)) ?? base
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

function candidates(): [base: string, ...names: string[]][] {
  let home: string | undefined
  try {
    home = userInfo().homedir
  } catch {}
  if (process.platform === 'win32') return home ? [[join(home, 'AppData', 'Local'), 'ticketkeep']] : []
  const places: [string, ...string[]][] = []
  if (process.platform === 'linux') places.push([`/run/user/${process.geteuid!()}`, 'ticketkeep'])
  if (home) places.push([home, '.cache', 'ticketkeep'])
  return places
}

function isOurs(folder: string): boolean {
  try {
    const stat = lstatSync(folder)
    if (process.platform === 'win32') return stat.isDirectory()
    return stat.isDirectory() && stat.uid === process.geteuid!() && (stat.mode & 0o022) === 0
  } catch {
    return false
  }
}
