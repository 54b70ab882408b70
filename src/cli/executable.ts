import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'

/** What a shell's search for a command comes to, as execvp(3) does it. */
export type Lookup =
  | { readonly path: string }
  /** 127: not found; 126: found and not executable. */
  | { readonly status: 126 | 127 }

export function findExecutable(name: string, searchPath: string | undefined): Lookup {
  if (name === '') return { status: 127 }
  if (name.includes('/')) return check(name)
  let status: 126 | 127 = 127
  for (const directory of (searchPath ?? '/usr/local/bin:/bin:/usr/bin').split(':')) {
    const found = check(join(directory || '.', name))
    if ('path' in found) return { path: isAbsolute(found.path) ? found.path : `./${found.path}` }
    if (found.status === 126) status = 126
  }
  return { status }
}

function check(path: string): Lookup {
  try {
    if (!statSync(path).isFile()) return { status: 126 }
    accessSync(path, constants.X_OK)
    return { path }
  } catch (error) {
    return { status: (error as NodeJS.ErrnoException).code === 'EACCES' ? 126 : 127 }
  }
}

/**
 * Whether execve(2) of this file can be expected to succeed: up to Node 24 a failed `process.execve` aborts
 * the process. True for an ELF file of Node's own machine whose interpreter is there, and for a script whose
 * `#!` names such a file. Everything else is left to `spawn`, which fails politely.
 */
export function isPlainExecutable(path: string): boolean {
  try {
    const head = readAt(path, 0, 256)
    if (head[0] !== 0x23 || head[1] !== 0x21) return isElfOfOurs(path, head)
    // execve(2) on Linux: the line is cut off at 255 bytes.
    const line = /^#![ \t]*(\/[^ \t\n]+)[^\n]*\n/.exec(head.toString('latin1', 0, 255))
    const interpreter = line && Buffer.from(line[1]!, 'latin1').toString()
    return interpreter !== null && isExecutableElf(interpreter)
  } catch {
    return false
  }
}

function isExecutableElf(path: string): boolean {
  return 'path' in check(path) && isElfOfOurs(path, readAt(path, 0, 256))
}

/** elf(5), the 64-bit little-endian form; others are left to `spawn`. */
function isElfOfOurs(path: string, head: Buffer): boolean {
  const own = readAt(process.execPath, 0, 20)
  const isElf64 = head.length >= 64 && head.readUInt32BE(0) === 0x7f454c46 && head[4] === 2 && head[5] === 1
  if (!isElf64 || head.readUInt16LE(18) !== own.readUInt16LE(18)) return false
  const type = head.readUInt16LE(16)
  const entrySize = head.readUInt16LE(54)
  const count = head.readUInt16LE(56)
  if ((type !== 2 && type !== 3) || entrySize !== 56 || count === 0) return false
  const table = readAt(path, Number(head.readBigUInt64LE(32)), entrySize * count)
  if (table.length !== entrySize * count) return false
  for (let at = 0; at < table.length; at += entrySize) {
    if (table.readUInt32LE(at) !== 3) continue // PT_INTERP
    const length = Number(table.readBigUInt64LE(at + 32))
    if (length < 2 || length > 4096) return false
    const interpreter = readAt(path, Number(table.readBigUInt64LE(at + 8)), length - 1).toString()
    return 'path' in check(interpreter)
  }
  return true
}

function readAt(path: string, position: number, length: number): Buffer {
  const fd = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(length)
    return buffer.subarray(0, readSync(fd, buffer, 0, length, position))
  } finally {
    closeSync(fd)
  }
}
