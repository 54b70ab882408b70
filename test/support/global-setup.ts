import { existsSync, rmdirSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { buildIfStale } from './build.ts'
import { whatIsMissing } from './missing.ts'
import { install } from './pinned.ts'

/**
 * Before any test: what is run is what is in src, and what can be had for the tests is there.
 * @returns what tidies up after all of them
 */
export default function setup() {
  const missing = userFolders().filter((folder) => !existsSync(folder))
  try {
    buildIfStale()
  } catch (error) {
    // A failed build leaves no dist, so what needs it fails; what does not can still be tested.
    console.error(error)
  }
  const reasons = [install('nodes'), install('clients')].filter((reason) => reason !== undefined)
  for (const line of [...reasons, ...whatIsMissing()]) console.log(`some tests are skipped: ${line}`)
  return () => {
    for (const folder of missing) removeIfEmpty(folder)
  }
}

/**
 * Where the lock rests under which a key is made. No setting moves it: whatever their environments say, all
 * processes of a user have to meet there, those of the tests too.
 */
function userFolders(): string[] {
  if (process.platform === 'win32') return []
  const { homedir, uid } = userInfo()
  const cache = join(homedir, '.cache')
  return [join('/run/user', String(uid), 'ticketkeep'), join(cache, 'ticketkeep'), cache]
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {}
}
