import { accessSync, constants, existsSync, lstatSync, statfsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { asksForPermission, modulesLoadedBy, parseNodeOptions } from '../common/node-options.ts'
import { type Found, findDirectory, whyNotMade } from '../store/private-directory.ts'
import { packagePreload } from './preload-path.ts'
import { possibleLoaders, preloadOfLoader, setupFiles } from './setup-files.ts'
import { loginShell } from './shells.ts'

/** The ticket directory, in the JSON form of `status` and `doctor`. */
export interface Place {
  readonly path: string | null
  readonly exists: boolean
  /** Four octal digits. Null if the system has no modes. */
  readonly mode: string | null
  /** The owner's uid. Null if the system has none. */
  readonly owner: number | null
  /** Why nothing can be kept there: a sentence without its full stop. */
  readonly problem: string | null
}

export function inspectDirectory(path: string | undefined): Place {
  const none = { exists: false, mode: null, owner: null }
  if (path === undefined) {
    const problem =
      'this user has no cache directory (by XDG_CACHE_HOME or HOME, as an absolute path); name one in TICKETKEEP_DIR'
    return { path: null, ...none, problem }
  }
  const found = findDirectory(path, 'leave')
  const problem = whyNotUsable(path, found) ?? elsewhere(whyNotWritable(path) ?? whyFull(path)) ?? null
  try {
    const stats = lstatSync(path)
    if (process.platform === 'win32') return { path, ...none, exists: true, problem }
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
    return { path, exists: true, mode, owner: stats.uid, problem }
  } catch {
    return { path, ...none, problem }
  }
}

const elsewhere = (problem: string | undefined) =>
  problem && `${problem}; name another directory in TICKETKEEP_DIR`

function whyNotUsable(path: string, found: Found): string | undefined {
  if (found.state === 'unusable') return found.problem
  try {
    return found.state === 'absent' ? whyNotMade(path) : undefined
  } catch (error) {
    return `${path}: ${(error as Error).message}`
  }
}

export const whyNotReadable = (path: string) => whyNot(path, constants.R_OK, 'cannot be read')

export const whyNotWritable = (path: string) => whyNot(nearest(path), constants.W_OK, 'cannot be written to')

/** A directory, or the nearest existing one above it, in which it would be made. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path))
}

/** Root may also use the blocks that a file system reserves. */
function whyFull(path: string): string | undefined {
  try {
    const { blocks, bavail, bfree } = statfsSync(nearest(path))
    const free = process.geteuid?.() === 0 ? bfree : bavail
    return blocks > 0 && free <= 0 ? `the file system of ${nearest(path)} is full` : undefined
  } catch {
    return undefined
  }
}

function whyNot(path: string, mode: number, words: string): string | undefined {
  try {
    accessSync(path, mode | constants.X_OK)
    return undefined
  } catch (error) {
    return `${path} ${words} (${(error as NodeJS.ErrnoException).code})`
  }
}

/** `/home/ann/.cache/…, mode 0700, of ann`. */
export function spellDirectory({ path, exists, mode, owner }: Place): string {
  if (path === null) return 'none'
  if (!exists) return `${path} (not made yet)`
  return mode === null ? path : `${path}, mode ${mode}, of ${ownerName(owner)}`
}

/** A uid without a passwd entry, as in containers, has no name. */
function ownerName(uid: number | null): string {
  try {
    const own = userInfo()
    if (own.uid === uid) return own.username
  } catch {}
  return `uid ${uid}`
}

/** Whether Node programs started from this environment load the preload. If not, the reason as a phrase for people. */
export function inspectActivity(disabledBy: string | undefined) {
  const preload = packagePreload() ?? null
  const yes = (words: string) => ({ active: true, preload, words })
  const no = (words: string) => ({ active: false, preload, words })
  if (disabledBy !== undefined) return no(`no, ${disabledBy}`)
  if (preload === null) return no('no, the preload is missing; install ticketkeep again')
  const words = parseNodeOptions(process.env.NODE_OPTIONS ?? '')
  if (words === undefined) return no('no, NODE_OPTIONS is malformed, and no Node program starts with it')
  const loaded = modulesLoadedBy(words)
  const loader = possibleLoaders().find((path) => loaded.includes(path))
  const behind = loader && preloadOfLoader(loader)
  if ([...loaded, behind].includes(preload)) return yes('yes, NODE_OPTIONS loads it')
  if (behind !== undefined && !existsSync(behind)) {
    const whose = loader === setupFiles()?.loader ? '"ticketkeep init"' : '"ticketkeep env" run by root'
    return no(`no, ${loader} names a copy that is gone; ${whose} writes it again`)
  }
  const other = behind ?? loaded.find((path) => /ticketkeep.*preload\.cjs$/.test(path))
  if (other) return yes(`yes, another copy: ${other}`)
  if (asksForPermission(words)) return no('no, NODE_OPTIONS asks for the permission model')
  return no(`not in this environment; ${loginShell().evaluate('')} does it`)
}
