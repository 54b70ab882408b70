import { existsSync, rmdirSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { buildIfStale } from './build.ts'
import { whatIsMissing } from './missing.ts'
import { install } from './pinned.ts'

/**
 * Runs before all tests: builds `dist` if it is stale, and installs what the tests need and can get.
 * @returns the function that cleans up after all tests
 */
export default function setup() {
  const missing = userFolders().filter((folder) => !existsSync(folder))
  try {
    buildIfStale()
  } catch (error) {
    // A failed build leaves no dist, so tests that need it fail. The others can still run.
    console.error(error)
  }
  const reasons = [install('nodes'), install('clients')].filter((reason) => reason !== undefined)
  for (const line of [...reasons, ...whatIsMissing()]) console.log(`some tests are skipped: ${line}`)
  return () => {
    for (const folder of missing) removeIfEmpty(folder)
  }
}

/**
 * The folders of the lock under which a key is made. No setting moves it, since all processes of a user must use the same one,
 * those of the tests too.
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
