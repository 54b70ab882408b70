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

// Windows has neither of these flags, nor links that a plain user could plant.
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const NON_BLOCK = constants.O_NONBLOCK ?? 0

/**
 * Makes a new file that only its owner can read, from its first byte and under any umask, which can only take
 * rights away. No fsync: what is written is authenticated, so a torn file is a miss.
 * @throws the error of `node:fs`; `EEXIST` where the name is taken, by a dangling link too
 */
export function writePrivateFile(path: string, content: string | Uint8Array): void {
  try {
    writeNewFile(path, typeof content === 'string' ? Buffer.from(content) : content)
  } catch (error) {
    // On a full disk, say, the first part of it is there.
    if (!['EEXIST', 'ENOENT'].includes(codeOf(error))) removeFile(path)
    throw error
  }
}

/** `writeFileSync` calls other functions of `fs` by their names, which a program's tests may have replaced. */
function writeNewFile(path: string, bytes: Uint8Array): void {
  // `wx` is O_CREAT and O_EXCL, which do not follow a link.
  const fd = openSync(path, 'wx', 0o600)
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
  } finally {
    closeSync(fd)
  }
}

/**
 * The text (as latin1) of a sealed file, or undefined where it is empty, longer than one can be, or cannot be
 * read. Follows no link, waits for no pipe, and never throws.
 */
export function readPrivateFile(path: string): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | NO_FOLLOW | NON_BLOCK)
    // One call and no stat: a round trip each on a network file system. Whatever it is, no more is read than
    // fits, and a file that comes in parts is torn, which its box tells.
    scratch ??= Buffer.allocUnsafe(MAX_FILE_BYTES + 1)
    const length = readSync(fd, scratch)
    return length > 0 && length <= MAX_FILE_BYTES ? scratch.toString('latin1', 0, length) : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** Only ever holds what is in files. */
let scratch: Buffer | undefined

/**
 * All bytes of a regular file of at most `maxBytes`, or undefined. Follows no link, waits for no pipe, and never throws.
 * @param accept looks at the open file's own stat before anything is read
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

/** The stat of a regular file; undefined for a link, anything else, or nothing. */
export function regularFile(path: string): Stats | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats?.isFile() ? stats : undefined
  } catch {
    return undefined
  }
}

/** Whether it was there and is gone now. Where several processes remove one file, one of them is told so. */
export function removeFile(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch {
    return false
  }
}

export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? ''
