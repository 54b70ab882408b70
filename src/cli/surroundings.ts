import { accessSync, constants, existsSync, lstatSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { asksForPermission, modulesLoadedBy, parseNodeOptions } from '../common/node-options.ts'
import { type Found, findDirectory, whyNotMade } from '../store/private-directory.ts'
import { packagePreload } from './preload-path.ts'
import { preloadOfLoader, setupFiles } from './setup-files.ts'

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
  const problem = whyNotUsable(path, found) ?? whyNotWritable(path) ?? null
  try {
    const stats = lstatSync(path)
    if (process.platform === 'win32') return { path, ...none, exists: true, problem }
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
    return { path, exists: true, mode, owner: stats.uid, problem }
  } catch {
    return { path, ...none, problem }
  }
}

function whyNotUsable(path: string, found: Found): string | undefined {
  if (found.state === 'unusable') return found.problem
  try {
    return found.state === 'absent' ? whyNotMade(path) : undefined
  } catch (error) {
    return `${path}: ${(error as Error).message}`
  }
}

export const whyNotReadable = (path: string) => whyNot(path, constants.R_OK, 'cannot be read')

/** Checks the directory, or the nearest existing one above it, in which it would be made. */
export function whyNotWritable(path: string): string | undefined {
  let nearest = path
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest)
  return whyNot(nearest, constants.W_OK, 'cannot be written to')
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
  const files = setupFiles()
  const behind = files && loaded.includes(files.loader) ? preloadOfLoader(files) : undefined
  if ([...loaded, behind].includes(preload)) return yes('yes, NODE_OPTIONS loads it')
  if (behind !== undefined && !existsSync(behind)) {
    return no(`no, ${files?.loader} names a copy that is gone; "ticketkeep init" writes it again`)
  }
  const other = behind ?? loaded.find((path) => /ticketkeep.*preload\.cjs$/.test(path))
  if (other) return yes(`yes, another copy: ${other}`)
  if (asksForPermission(words)) return no('no, NODE_OPTIONS asks for the permission model')
  return no('not in this environment; eval "$(ticketkeep env)" does it')
}
