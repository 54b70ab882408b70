import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeKeys } from '../../../src/keys/chain.ts'
import { askInProcess, keySettings } from '../../support/keychains.ts'
import { type KWallet, missingKWallet, startKWallet } from '../../support/kwallet.ts'
import { describeWith } from '../../support/missing.ts'

describeWith(missingKWallet(), 'KWallet', () => {
  let wallet: KWallet
  beforeAll(async () => {
    wallet = await startKWallet()
  })
  afterAll(() => wallet?.close())
  const ask = (task: 'fetch' | 'create' | 'rotate') => askInProcess({ task, settings: wallet.settings })

  test('that was opened at login and not unlocked for the Secret Service counts as locked', async () => {
    for (const task of ['fetch', 'create', 'rotate'] as const) {
      expect(await ask(task)).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: 'the Secret Service is locked',
      })
    }
    expect(wallet.windows()).toEqual([])
  })

  test('that another program has unlocked takes a key, gives it, rotates it and lets it go', async () => {
    wallet.unlock()
    expect(await ask('fetch')).toMatchObject({ keys: undefined, creatable: true })
    const made = await ask('create')
    expect(made?.keys?.current).toHaveLength(32)
    expect((await ask('fetch'))?.keys).toEqual(made?.keys)
    expect((await ask('create'))?.keys).toEqual(made?.keys)
    const rotated = await ask('rotate')
    expect(rotated?.keys?.previous?.[0]?.key).toEqual(made?.keys?.current)
    expect((await ask('fetch'))?.keys).toEqual(rotated?.keys)
    const removed = await new Promise((done) => void removeKeys(keySettings(wallet.settings), done))
    expect(removed).toMatchObject([{ state: 'removed' }])
    expect(await ask('fetch')).toMatchObject({ keys: undefined, creatable: true })
    expect(wallet.windows()).toEqual([])
  })
})
