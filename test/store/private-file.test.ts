import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readPrivateFile, removeFile, writePrivateFile } from '../../src/store/private-file.ts'
import { isRoot, scratch } from '../support/directories.ts'

const posix = process.platform === 'win32' ? test.skip : test

describe('writing', () => {
  test('makes a new file, and never touches one that is there', () => {
    const path = join(scratch(), 'file')
    writePrivateFile(path, 'mine')
    expect(readFileSync(path, 'latin1')).toBe('mine')
    expect(() => writePrivateFile(path, 'other')).toThrow(/EEXIST/)
    expect(readFileSync(path, 'latin1')).toBe('mine')
  })

  posix('follows no link, dangling ones included', () => {
    const directory = scratch()
    symlinkSync('target', join(directory, 'link'))
    expect(() => writePrivateFile(join(directory, 'link'), 'x')).toThrow(/EEXIST|ELOOP/)
    expect(existsSync(join(directory, 'target'))).toBe(false)
  })

  test.skipIf(!canMount())('on a full disk leaves nothing behind (root only)', () => {
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

describe('reading', () => {
  test('gives the bytes as latin1, up to the limit', () => {
    const path = join(scratch(), 'file')
    writeFileSync(path, Buffer.of(0, 0x7f, 0x80, 0xff))
    expect(readPrivateFile(path, 4)).toBe('\0\x7f\x80\xff')
    expect(readPrivateFile(path, 3)).toBeUndefined()
    expect(readPrivateFile(path, 4, () => false)).toBeUndefined()
  })

  test('of nothing, or a directory, is a miss', () => {
    const directory = scratch()
    expect(readPrivateFile(join(directory, 'none'), 100)).toBeUndefined()
    expect(readPrivateFile(directory, 1e6)).toBeUndefined()
  })

  posix('follows no link, and does not wait for a pipe', () => {
    const directory = scratch()
    writeFileSync(join(directory, 'target'), 'x')
    symlinkSync('target', join(directory, 'link'))
    execFileSync('mkfifo', [join(directory, 'pipe')])
    expect(readPrivateFile(join(directory, 'link'), 100)).toBeUndefined()
    expect(readPrivateFile(join(directory, 'pipe'), 100)).toBeUndefined()
  })
})

test('removing says who removed it', () => {
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
