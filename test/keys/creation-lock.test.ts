import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { lockCreation, STALE_AFTER } from '../../src/keys/creation-lock.ts'
import { scratch } from '../support/directories.ts'

describe('the creation lock', () => {
  const folder = scratch()
  const { signal } = new AbortController()
  /** Undefined if another process has it. */
  const lock = async (limit?: number) => {
    const got = await lockCreation(folder, { hold: true, signal }, limit)
    if (typeof got !== 'string') return got
    expect(got).toBe('another process is making the key')
    return undefined
  }

  test('has one holder at a time', async () => {
    const release = await lock()
    expect(await lock(50)).toBeUndefined()
    release!()
    const next = await lock(50)
    expect(next).toBeDefined()
    next!()
  })

  test('is broken if its process died or holds it far too long', async () => {
    const path = join(folder, 'create-key.lock')
    const past = Date.now() / 1000 - STALE_AFTER / 1000 - 1
    writeFileSync(path, '1 elsewhere')
    expect(await lock(50)).toBeUndefined()
    utimesSync(path, past, past)
    ;(await lock(500))!()
    const release = await lock()
    expect(await lock(50)).toBeUndefined()
    release!()
  })

  test.skipIf(process.platform === 'win32')(
    'is not waited for if it cannot be made, and says why',
    async () => {
      const nowhere = join(folder, 'none')
      const reason = `the lock for making a key cannot be created in ${nowhere} (ENOENT)`
      expect(await lockCreation(nowhere, { hold: true, signal })).toBe(reason)
    },
  )

  test('is released at once when its holder is cancelled', async () => {
    const controller = new AbortController()
    await lockCreation(folder, { hold: true, signal: controller.signal })
    expect(readdirSync(folder)).toEqual(['create-key.lock'])
    controller.abort()
    expect(readdirSync(folder)).toEqual([])
  })
})
