import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readKeyFile } from '../../../src/keys/sources/file.ts'
import { scratch } from '../../support/directories.ts'
import { KEY, KEY_TEXT } from '../../support/keychains.ts'

const folder = scratch()

let count = 0
function file(mode: number, content: string | Uint8Array = `${KEY_TEXT}\n`, directory = folder) {
  const path = join(directory, `key-${count++}`)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

const isRoot = process.geteuid?.() === 0

describe.skipIf(process.platform === 'win32')('a key file', () => {
  test('that only its user can read is accepted as text or raw bytes, also through links', () => {
    for (const path of [file(0o600), file(0o400), file(0o600, KEY)]) {
      expect(readKeyFile(path)).toMatchObject({ state: 'found', keys: { current: KEY } })
      symlinkSync(path, `${path}.link`)
      expect(readKeyFile(`${path}.link`)).toMatchObject({ state: 'found' })
    }
  })

  test('that others can read or write is refused with advice', () => {
    for (const mode of [0o640, 0o604, 0o644]) {
      expect(readKeyFile(file(mode))).toMatchObject({
        state: 'refused',
        reason: expect.stringMatching(/read by others.*chmod 600/),
      })
    }
    for (const mode of [0o620, 0o602, 0o666]) {
      expect(readKeyFile(file(mode))).toMatchObject({
        state: 'refused',
        reason: expect.stringMatching(/written by others/),
      })
    }
  })

  test('that is short, empty, a folder, a pipe or missing is refused, each with its own reason', () => {
    expect(readKeyFile(file(0o600, 'c2hvcnQ='))).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/8 characters/),
    })
    expect(readKeyFile(file(0o600, ''))).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/empty/),
    })
    expect(readKeyFile(file(0o600, KEY_TEXT.repeat(9)))).toMatchObject({ state: 'refused' })
    expect(readKeyFile(folder)).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/not a regular file/),
    })
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', ['-m', '600', pipe])
    expect(readKeyFile(pipe)).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/not a regular file/),
    })
    expect(readKeyFile(join(folder, 'none'))).toMatchObject({ state: 'absent', creatable: false })
  })
})

describe.skipIf(!isRoot)('a key file of another user (needs root)', () => {
  test('is refused, even to root', () => {
    const path = file(0o600)
    chownSync(path, 65534, 65534)
    expect(readKeyFile(path)).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/belongs to user 65534/),
    })
  })

  test('is accepted if it is of root and on a memory or read-only mount, even if others can read it', () => {
    const mounts = join(folder, 'mounts')
    mkdirSync(mounts)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', mounts])
    if (mounted.status !== 0) return console.log('skipped: no right to mount here')
    try {
      const path = file(0o444, `${KEY_TEXT}\n`, mounts)
      expect(readKeyFile(path)).toMatchObject({
        state: 'found',
        reason: expect.stringMatching(/every user who can enter/),
      })
      // As Kubernetes mounts secrets: others can add files there but cannot replace this one.
      chmodSync(mounts, 0o1777)
      expect(readKeyFile(path)).toMatchObject({
        state: 'found',
        reason: expect.stringMatching(/every user who can enter .*one job/),
      })
      chmodSync(mounts, 0o777)
      expect(readKeyFile(path)).toMatchObject({ state: 'refused' })
      chmodSync(mounts, 0o755)
      chownSync(path, 65534, 65534)
      expect(readKeyFile(path)).toMatchObject({ state: 'refused' })
      expect(readKeyFile(file(0o664, KEY, mounts))).toMatchObject({ state: 'refused' })
    } finally {
      execFileSync('umount', [mounts])
    }
    const plain = join(folder, 'plain')
    mkdirSync(plain)
    const path = file(0o444, `${KEY_TEXT}\n`, plain)
    expect(readKeyFile(path)).toMatchObject({ state: 'refused' })
    execFileSync('mount', ['--bind', plain, plain])
    try {
      execFileSync('mount', ['-o', 'remount,bind,ro', plain])
      expect(readKeyFile(path)).toMatchObject({ state: 'found' })
    } finally {
      execFileSync('umount', [plain])
    }
  })
})
