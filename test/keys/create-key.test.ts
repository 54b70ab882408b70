import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createKeysSoon } from '../../src/keys/chain.ts'
import { createKey } from '../../src/keys/create-key.ts'
import { decodeKeyBlob, isOverdue, MAX_PREVIOUS } from '../../src/keys/key-blob.ts'
import type { KeyAnswer, KeySource, MasterKeys, Written } from '../../src/keys/key-source.ts'
import {
  askInProcess,
  KEY,
  keySettings,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith } from '../support/missing.ts'

const DAY = 86_400
const NOW = 1_800_000_000
/** Set this variable to run all rounds instead of a few. */
const LONG = process.env.TICKETKEEP_TEST_LONG === '1'

describe('making a key', () => {
  /** A source in memory, whose answers a test can change. */
  function source(bend: Partial<KeySource> = {}) {
    let held: Uint8Array | undefined
    return {
      name: 'keychain',
      read({ now }): KeyAnswer {
        if (held === undefined) return { state: 'absent', creatable: true, reason: '' }
        const keys = decodeKeyBlob(held)!
        return { state: 'found', overdue: isOverdue(keys, now), reason: '', keys }
      },
      write(blob): Written {
        held = Uint8Array.from(blob)
        return { state: 'written', reason: 'it' }
      },
      ...bend,
    } satisfies KeySource as KeySource & Required<Pick<KeySource, 'write'>>
  }
  const { signal } = new AbortController()
  const create = (of: ReturnType<typeof source>, now = NOW, always = false) =>
    createKey(of, { now, hold: true, signal }, always)

  test('reads again, writes, and reads back', async () => {
    const one = source()
    const made = await create(one)
    expect(made).toMatchObject({ state: 'found', keys: { createdAt: NOW } })
    expect(await create(one, NOW + DAY)).toEqual(made)
    expect(await create(one, NOW + 7 * DAY)).toMatchObject({
      keys: { createdAt: NOW + 7 * DAY, previous: [{ retiredAt: NOW + 7 * DAY }] },
    })
  })

  test('fails if so many keys in one day would lose tickets', async () => {
    const one = source()
    for (let i = 0; i <= MAX_PREVIOUS; i++) await create(one, NOW + i, true)
    expect(await create(one, NOW + DAY, true)).toMatchObject({
      state: 'unavailable',
      reason: expect.stringMatching(/replaced 15 times within a day/),
    })
    expect(await create(one, NOW + DAY + 1, true)).toMatchObject({ state: 'found' })
  })

  test.each(['unavailable', 'refused'] as const)('does not happen if the source is %s', async (state) => {
    const silent = source({ read: () => ({ state, reason: 'no' }), write: () => expect.unreachable() })
    expect(await create(silent)).toEqual({ state, reason: 'no' })
    expect(await create(silent, NOW, true)).toEqual({ state, reason: 'no' })
  })

  test('fails if the source returns something else than was stored', async () => {
    const liar = source({ write: () => ({ state: 'written', reason: 'it' }) })
    expect(await create(liar)).toMatchObject({
      state: 'unavailable',
      reason: 'it returned something else than was stored',
    })
  })

  test('wipes keys that the source returns instead of those that were written', async () => {
    const foreign = Uint8Array.from(KEY)
    let reads = 0
    const liar = source({
      read: () =>
        reads++ === 0
          ? { state: 'absent', creatable: true, reason: '' }
          : { state: 'found', keys: { current: foreign }, reason: '' },
    })
    expect(await create(liar)).toMatchObject({ state: 'unavailable' })
    expect(foreign).toEqual(new Uint8Array(32))
  })
})

describeWith(missingSecretService(), 'many processes and one keychain', () => {
  let bus: SecretServiceBus
  const ask = (task: 'fetch' | 'create' | 'rotate', more = {}) =>
    askInProcess({ task, settings: { ...bus.settings, source: 'keychain' }, ...more })
  beforeEach(async () => {
    bus = await startSecretService('unlocked')
  })
  afterEach(() => bus.close())

  test.each(Array.from({ length: LONG ? 50 : 2 }, (_, i) => i + 1))(
    '32 processes that start at once with an empty keychain make one key (round %i)',
    async () => {
      const outcomes = await Promise.all(Array.from({ length: 32 }, () => ask('create')))
      expect(outcomes.map((o) => o?.reason)).toEqual(outcomes.map(() => 'the Secret Service'))
      const keys = new Set(outcomes.map((o) => Buffer.from(o!.keys!.current).toString('hex')))
      expect(keys.size).toBe(1)
      expect(Buffer.from((await ask('fetch'))!.keys!.current).toString('hex')).toBe([...keys][0])
      expect(bus.search().match(/^attribute\.service = ticketkeep$/gm)).toHaveLength(1)
    },
  )

  test('a program that ends before its key is made leaves that to a helper', async () => {
    const settings = keySettings({ ...bus.settings, source: 'keychain' })
    createKeysSoon(settings, () => expect.unreachable())()
    const made = async () => (await ask('fetch'))?.keys?.current.length
    await expect.poll(made, { timeout: 20_000 }).toBe(32)
    expect(bus.search().match(/^attribute\.service = ticketkeep$/gm)).toHaveLength(1)
  })

  test('a rotation that is killed at any point leaves the old key, or the next one with the earlier keys', async () => {
    let before = (await ask('create'))!.keys!
    const began = performance.now()
    before = (await ask('rotate'))!.keys!
    const whole = performance.now() - began
    const keysBefore = (keys: MasterKeys) => keys.previous!.map(({ key }) => key)
    let rotations = 0
    for (let round = 0; round < (LONG ? 200 : 15); round++) {
      // an hour and forty minutes apart, so that each rotation is allowed
      const now = NOW + round * 6_000
      await ask('rotate', { now, killAfter: whole * (0.5 + Math.random()) })
      const after = (await ask('fetch', { now }))!.keys!
      const inTime = before.previous!.filter(({ retiredAt }) => now - retiredAt < DAY)
      if (Buffer.from(after.current).equals(before.current)) {
        expect(after.previous).toEqual(inTime)
      } else {
        rotations++
        expect(keysBefore(after)).toEqual([before.current, ...inTime.map(({ key }) => key)])
      }
      before = after
    }
    console.log(`rotation killed: ${rotations} had been done`)
    // and the lock of the killed processes blocks nobody
    const last = (await ask('rotate', { now: NOW + 200 * 6_000 }))!.keys!
    expect(keysBefore(last)[0]).toEqual(before.current)
  })

  test('a process that saves rotates a key that is a week old, and the old key is removed a day later', async () => {
    const at = (days: number) => ({ now: NOW + days * DAY })
    const first = (await ask('create', at(0)))!
    expect((await ask('fetch', at(6.9)))!.overdue).toBe(false)
    expect(await ask('fetch', at(7))).toMatchObject({ overdue: true, keys: { current: first.keys!.current } })
    const second = (await ask('create', at(7)))!
    expect(second).toMatchObject({ overdue: false, keys: { previous: [{ key: first.keys!.current }] } })
    expect((await ask('fetch', at(8)))!).toMatchObject({
      overdue: true,
      keys: { current: second.keys!.current },
    })
    expect((await ask('fetch', at(8)))!.keys!.previous).toEqual([])
    await ask('create', at(8))
    expect(bus.search()).not.toContain(Buffer.from(first.keys!.current).toString('latin1'))
    expect(await ask('fetch', at(8))).toMatchObject({
      overdue: false,
      keys: { current: second.keys!.current },
    })
  })
})
