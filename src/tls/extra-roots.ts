// Reads the file of NODE_EXTRA_CA_CERTS, for Node before 22.15, which does not list its default CAs. The preload loads
// this file in every process, so it imports no module.

type Fs = Pick<
  typeof import('node:fs'),
  'closeSync' | 'constants' | 'fstatSync' | 'openSync' | 'readFileSync' | 'statSync'
>

/** A file and an identity that changes whenever its content does, even if the clock or utimes(2) set a time back. */
export interface NotedFile {
  readonly path: string
  readonly identity: string
}

// On Windows also `\\server\share`. `\x` is not absolute: it is relative to the current drive.
const ABSOLUTE = process.platform === 'win32' ? /^([a-z]:[\\/]|\\\\)/i : /^\//

/** Records the file as the process starts, before Node reads it. Node reads it when it first needs its CAs. */
export function noteFile(path: string, fs: Fs): NotedFile | undefined {
  try {
    // Relative paths are refused: the working directory may change before Node reads the file.
    const stats = fs.statSync(path, { bigint: true })
    // Pipes are refused: their content can be read only once, and a second reader would block.
    return ABSOLUTE.test(path) && stats.isFile() ? { path, identity: identityOf(stats) } : undefined
  } catch {
    return undefined
  }
}

/** The content, if the file is unchanged since it was recorded. Node has read it in between. */
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
