// The file of NODE_EXTRA_CA_CERTS, for Nodes that do not tell their CAs (before 22.15). The preload uses this file in every
// process, so it imports no module.

type Fs = Pick<
  typeof import('node:fs'),
  'closeSync' | 'constants' | 'fstatSync' | 'openSync' | 'readFileSync' | 'statSync'
>

/** A file, and what changes whenever its content does, whatever clock and utimes(2) say. */
export interface NotedFile {
  readonly path: string
  readonly identity: string
}

// On Windows `\\server\share` too; `\x` is a path on whatever drive is the current one.
const ABSOLUTE = process.platform === 'win32' ? /^([a-z]:[\\/]|\\\\)/i : /^\//

/** As the process starts, before Node reads the file: it does when it first needs its CAs. */
export function noteFile(path: string, fs: Fs): NotedFile | undefined {
  try {
    // Another folder's file may bear a relative path by the time that Node reads it.
    const stats = fs.statSync(path, { bigint: true })
    // A pipe gives its content once, and holds up whoever asks again.
    return ABSOLUTE.test(path) && stats.isFile() ? { path, identity: identityOf(stats) } : undefined
  } catch {
    return undefined
  }
}

/** The content, if it is what it was when the file was noted. Node has read the file in between. */
export function readUnchanged({ path, identity }: NotedFile, fs: Fs): string | undefined {
  let fd: number | undefined
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
    const before = identityOf(fs.fstatSync(fd, { bigint: true }))
    const text = fs.readFileSync(fd, 'latin1')
    const after = identityOf(fs.fstatSync(fd, { bigint: true }))
    return before === identity && after === identity ? text : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

const identityOf = ({ dev, ino, size, mtimeNs, ctimeNs }: import('node:fs').BigIntStats): string =>
  [dev, ino, size, mtimeNs, ctimeNs].join(' ')
