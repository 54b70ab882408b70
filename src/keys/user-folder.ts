import { lstatSync, mkdirSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'

/**
 * A folder that only this user can write to. Every process of the user on this machine finds the same one,
 * whatever its environment says: below `/run/user`, or in the home of the passwd entry. (Never `$HOME`: root
 * with another user's HOME would leave files there.)
 *
 * @param kind `lasting`: preferably in the home, since files below `/run/user` are removed at logout
 * @param make whether to make it where it is missing
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

/** Whether there is one, or can be. */
export function canHaveUserFolder(): boolean {
  return candidates().some(([base]) => {
    try {
      return isOurs(base)
    } catch {
      return false
    }
  })
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
  const stat = lstatSync(folder)
  if (process.platform === 'win32') return stat.isDirectory()
  return stat.isDirectory() && stat.uid === process.geteuid!() && (stat.mode & 0o022) === 0
}
