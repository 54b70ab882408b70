import { lstatSync, mkdirSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'

/** Under which account our key is kept: the user's name, or the number of one without a passwd entry. */
export function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid-${process.geteuid!()}`
  }
}

/**
 * A folder that only this user can enter, the same one for every process of the user on this machine, whatever
 * its environment says: below `/run/user`, or in the home of the passwd entry (never `$HOME`: root with another
 * user's would leave files there).
 *
 * @param kind `lasting`: in the home, if there is one, since what is below `/run/user` goes at logout
 * @param make whether it may be made where it is not there
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
