import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { MAX_FILE_BYTES } from '../seal/box.ts'

// Windows has neither flag, and its ordinary users cannot create symbolic links.
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const NON_BLOCK = constants.O_NONBLOCK ?? 0

/**
 * Makes a new file that only its owner can read, from its first byte and under any umask, which can only remove
 * permissions. No fsync: the content is authenticated, so a torn file is a miss.
 * @throws the error of `node:fs`; `EEXIST` if the name is taken, also by a dangling link
 */
export function writePrivateFile(path: string, content: string | Uint8Array): void {
  try {
    writeNewFile(path, typeof content === 'string' ? Buffer.from(content) : content)
  } catch (error) {
    // A part may have been written, for example on a full disk.
    if (!['EEXIST', 'ENOENT'].includes(codeOf(error))) removeFile(path)
    throw error
  }
}

/**
 * Not `writeFileSync`: it calls other `fs` functions by their public names, which a program's tests may have mocked.
 */
function writeNewFile(path: string, bytes: Uint8Array): void {
  // `wx` is O_CREAT with O_EXCL, which does not follow links.
  const fd = openSync(path, 'wx', 0o600)
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
  } finally {
    closeSync(fd)
  }
}

/**
 * The text (as latin1) of a sealed file. Undefined if it is empty, too long, or cannot be read. Does not follow links,
 * does not block on a pipe, and never throws.
 */
export function readPrivateFile(path: string): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | NO_FOLLOW | NON_BLOCK)
    // A single read without stat, because each call is a round trip on a network file system. Whatever the file is, no
    // more than the maximum is read. If the read is short, decryption fails.
    scratch ??= Buffer.allocUnsafe(MAX_FILE_BYTES + 1)
    const length = readSync(fd, scratch)
    return length > 0 && length <= MAX_FILE_BYTES ? scratch.toString('latin1', 0, length) : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** A reused buffer. It only ever contains what is in the files. */
let scratch: Buffer | undefined

/**
 * All bytes of a regular file of at most `maxBytes`, or undefined. Does not follow links, does not block on a pipe, and
 * never throws.
 * @param accept checks the stat of the open file before anything is read
 */
export function readRegularFile(
  path: string,
  maxBytes: number,
  accept: (stats: Stats) => boolean = () => true,
): Buffer | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | NO_FOLLOW | NON_BLOCK)
    const stats = fstatSync(fd)
    return stats.isFile() && stats.size <= maxBytes && accept(stats) ? readFileSync(fd) : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** The stat of a regular file. Undefined for a link, anything else, or nothing. */
export function regularFile(path: string): Stats | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats?.isFile() ? stats : undefined
  } catch {
    return undefined
  }
}

/** Removes a file. @returns whether this call removed it: if several processes remove one file, only one gets true */
export function removeFile(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch {
    return false
  }
}

export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? ''
