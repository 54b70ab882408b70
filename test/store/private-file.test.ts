import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MAX_FILE_BYTES } from '../../src/seal/box.ts'
import {
  readPrivateFile,
  readRegularFile,
  removeFile,
  writePrivateFile,
} from '../../src/store/private-file.ts'
import { isRoot, scratch } from '../support/directories.ts'

const posix = process.platform === 'win32' ? test.skip : test

describe('writing', () => {
  test('makes a new file and never changes an existing one', () => {
    const path = join(scratch(), 'file')
    writePrivateFile(path, 'mine')
    expect(readFileSync(path, 'latin1')).toBe('mine')
    expect(() => writePrivateFile(path, 'other')).toThrow(/EEXIST/)
    expect(readFileSync(path, 'latin1')).toBe('mine')
  })

  posix('follows no link, not even a broken one', () => {
    const directory = scratch()
    symlinkSync('target', join(directory, 'link'))
    expect(() => writePrivateFile(join(directory, 'link'), 'x')).toThrow(/EEXIST|ELOOP/)
    expect(existsSync(join(directory, 'target'))).toBe(false)
  })

  test.skipIf(!canMount())('leaves nothing behind on a full disk (root only)', () => {
    const directory = scratch()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'none', directory])
    try {
      const path = join(directory, 'file')
      expect(() => writePrivateFile(path, 'x'.repeat(100_000))).toThrow(/ENOSPC/)
      expect(existsSync(path)).toBe(false)
    } finally {
      execFileSync('umount', [directory])
    }
  })
})

describe('reading a private file', () => {
  test('returns its bytes as latin1', () => {
    const path = join(scratch(), 'file')
    writeFileSync(path, Buffer.of(0, 0x7f, 0x80, 0xff))
    expect(readPrivateFile(path)).toBe('\0\x7f\x80\xff')
    writeFileSync(path, Buffer.alloc(MAX_FILE_BYTES, 'x'))
    expect(readPrivateFile(path)).toHaveLength(MAX_FILE_BYTES)
  })

  test('is a miss if it is missing, empty, too long or a directory', () => {
    const directory = scratch()
    const path = join(directory, 'file')
    expect(readPrivateFile(path)).toBeUndefined()
    expect(readPrivateFile(directory)).toBeUndefined()
    writeFileSync(path, '')
    expect(readPrivateFile(path)).toBeUndefined()
    writeFileSync(path, Buffer.alloc(MAX_FILE_BYTES + 1, 'x'))
    expect(readPrivateFile(path)).toBeUndefined()
  })
})

test('reading a regular file returns its bytes, up to the limit', () => {
  const path = join(scratch(), 'file')
  writeFileSync(path, Buffer.of(0, 0x7f, 0x80, 0xff))
  expect(readRegularFile(path, 4)).toEqual(Buffer.of(0, 0x7f, 0x80, 0xff))
  expect(readRegularFile(path, 3)).toBeUndefined()
  expect(readRegularFile(path, 4, () => false)).toBeUndefined()
  expect(readRegularFile(join(path, '..'), 1e6)).toBeUndefined()
})

posix('reading neither follows a link nor waits for a pipe', () => {
  const directory = scratch()
  writeFileSync(join(directory, 'target'), 'x')
  symlinkSync('target', join(directory, 'link'))
  execFileSync('mkfifo', [join(directory, 'pipe')])
  for (const name of ['link', 'pipe']) {
    expect(readPrivateFile(join(directory, name))).toBeUndefined()
    expect(readRegularFile(join(directory, name), 100)).toBeUndefined()
  }
})

test('removing a file says whether it was there', () => {
  const path = join(scratch(), 'file')
  writeFileSync(path, '')
  expect([removeFile(path), removeFile(path)]).toEqual([true, false])
})

function canMount(): boolean {
  if (!isRoot || process.platform !== 'linux') return false
  const directory = scratch()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', directory], { stdio: 'ignore' })
    execFileSync('umount', [directory])
    return true
  } catch {
    return false
  }
}
