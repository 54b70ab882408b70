import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs'
import { dirname, isAbsolute } from 'node:path'
import { wipe } from '../../common/bytes.ts'
import type { KeyAnswer } from '../key-source.ts'
import { readKeyContent } from '../key-text.ts'

/**
 * Reads `TICKETKEEP_KEY_FILE` (a Docker or Kubernetes secret, or a file of the user), or else the file at the default
 * path, if there is one.
 */
export function readConfiguredFile(file: string | undefined, defaultFile: string | undefined): KeyAnswer {
  const notSet = 'TICKETKEEP_KEY_FILE is not set'
  if (file !== undefined) return readKeyFile(file)
  if (defaultFile === undefined) return { state: 'not set', reason: notSet }
  return readKeyFileIfThere(defaultFile, `${notSet}, and there is no ${defaultFile}`)
}

/**
 * Reads a file that counts as set if anything is at its path, even a dangling link. It also counts as set if its folder
 * exists but cannot be searched.
 */
export function readKeyFileIfThere(path: string, reason: string): KeyAnswer {
  return isThere(path) ? readKeyFile(path) : { state: 'not set', reason }
}

function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' && isFolder(dirname(path))
  }
}

function isFolder(path: string): boolean {
  try {
    return lstatSync(path).isDirectory()
  } catch {
    return false
  }
}

/** More bytes than any key has, so that extra content after a key is noticed. */
const ENOUGH = 256

/**
 * Reads a key from a file that nobody else can write or read (`privacyOf`). Links are followed, since Kubernetes mounts
 * secrets as links. The checks are made on the opened file.
 */
export function readKeyFile(path: string): KeyAnswer {
  if (!isAbsolute(path)) return { state: 'refused', reason: `${path} is not an absolute path` }
  let fd: number
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for its writer.
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return { state: 'absent', creatable: false, reason: `${path} does not exist` }
    return { state: 'refused', reason: `${path} cannot be opened (${code})` }
  }
  const content = Buffer.alloc(ENOUGH)
  try {
    const stat = fstatSync(fd)
    const privacy = privacyOf(stat, fd)
    if (!privacy.ok) return { state: 'refused', reason: `${path} ${privacy.reason}` }
    const key = readKeyContent(content.subarray(0, readSync(fd, content, 0, ENOUGH, 0)))
    if (typeof key === 'string') return { state: 'refused', reason: `${path} holds no key: ${key}` }
    const createdAt = Math.floor(stat.ctimeMs / 1000)
    return { state: 'found', keys: { current: key, createdAt }, reason: `${path}${privacy.reason}` }
  } catch (error) {
    return { state: 'refused', reason: `${path} cannot be read (${(error as NodeJS.ErrnoException).code})` }
  } finally {
    wipe(content)
    closeSync(fd)
  }
}

interface Privacy {
  readonly ok: boolean
  readonly reason: string
}

/**
 * The file must belong to this user or root, and be writable by nobody else. Others may read it only if it is root's
 * and on a mount like those that container engines make for secrets: read-only or in memory, which only root can
 * create. Windows has no such modes. There the access rights of the folder decide.
 */
function privacyOf(stat: Stats, fd: number): Privacy {
  if (!stat.isFile()) return { ok: false, reason: 'is not a regular file' }
  if (process.platform === 'win32') return { ok: true, reason: ' (its access rights are not checked)' }
  const mode = `mode ${(stat.mode & 0o7777).toString(8).padStart(4, '0')}`
  const ours = stat.uid === process.geteuid!()
  if (!ours && stat.uid !== 0) {
    return { ok: false, reason: `belongs to user ${stat.uid}, neither to this user nor to root` }
  }
  if ((stat.mode & 0o022) !== 0) {
    return { ok: false, reason: `can be written by others (${mode}): chmod go-w` }
  }
  if ((stat.mode & 0o044) === 0) return { ok: true, reason: '' }
  if (stat.uid !== 0) return { ok: false, reason: `can be read by others (${mode}): chmod 600` }
  const mount = secretMountOf(fd)
  if (mount === undefined) {
    return {
      ok: false,
      reason: `can be read by others (${mode}), and is on neither a read-only nor a memory mount: ${ours ? 'chmod 600' : 'it should be this user’s, with mode 0600'}`,
    }
  }
  return {
    ok: true,
    reason: ` (${mode}: every user who can enter ${mount} can read it, so it must be a secret of one job)`,
  }
}

/**
 * The mount point of the file, if the mount is read-only or in memory. Kubernetes mounts secrets in memory with mode
 * 1777, where only root can replace root's file. Linux only.
 *
 * Source: proc(5), "mountinfo".
 */
function secretMountOf(fd: number): string | undefined {
  try {
    const id = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      const [before = '', after = ''] = line.split(' - ')
      const [mountId, , , , point = '', options = ''] = before.split(' ')
      if (mountId !== id) continue
      const type = after.split(' ')[0] ?? ''
      if (options.split(',').includes('ro')) return point
      const inMemory = type === 'tmpfs' || type === 'ramfs'
      const { mode } = statSync(point)
      const isSafe = (mode & 0o002) === 0 || (mode & 0o1000) !== 0
      return inMemory && isSafe ? point : undefined
    }
  } catch {}
  return undefined
}
