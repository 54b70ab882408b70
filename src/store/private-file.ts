import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs'

// Windows has neither of these flags, nor links that a plain user could plant.
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const NON_BLOCK = constants.O_NONBLOCK ?? 0

/**
 * Makes a new file that only its owner can read, from its first byte and under any umask. On an error nothing
 * is left behind. No fsync: what is written is authenticated, so a torn file is a miss.
 * @throws the error of `node:fs`; `EEXIST` where the name is taken, by a dangling link too
 */
export function writePrivateFile(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW, 0o600)
  try {
    try {
      // A umask can only have taken bits away: the owner's too, in which case they are given back.
      if ((fstatSync(fd).mode & 0o777) !== 0o600) fchmodSync(fd, 0o600)
      for (let at = 0; at < text.length; )
        at += writeSync(fd, at === 0 ? text : text.slice(at), null, 'latin1')
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    removeFile(path)
    throw error
  }
}

/**
 * The text (as latin1) of a regular file of at most `maxBytes`, or undefined. Follows no link, waits for no
 * pipe, and never throws.
 * @param accept looks at the open file's own stat before anything is read
 */
export function readPrivateFile(
  path: string,
  maxBytes: number,
  accept: (stats: Stats) => boolean = () => true,
): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | NO_FOLLOW | NON_BLOCK)
    const stats = fstatSync(fd)
    if (!stats.isFile() || stats.size > maxBytes || !accept(stats)) return undefined
    const bytes = Buffer.allocUnsafe(stats.size)
    let length = 0
    while (length < bytes.length) {
      const read = readSync(fd, bytes, length, bytes.length - length, null)
      if (read === 0) break
      length += read
    }
    return bytes.toString('latin1', 0, length)
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
