import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeKeys } from '../../../src/keys/chain.ts'
import { scratch } from '../../support/directories.ts'
import { askInProcess, keySettings } from '../../support/keychains.ts'
import { type KWallet, missingKWallet, startKWallet } from '../../support/kwallet.ts'
import { describeWith } from '../../support/missing.ts'
import { CLI } from '../../support/places.ts'

describeWith(missingKWallet(), 'KWallet', () => {
  let wallet: KWallet
  beforeAll(async () => {
    wallet = await startKWallet()
  })
  afterAll(() => wallet?.close())
  const ask = (task: 'fetch' | 'create' | 'rotate') => askInProcess({ task, settings: wallet.settings })

  test('that was opened at login but not unlocked for the Secret Service is reported as locked', async () => {
    for (const task of ['fetch', 'create', 'rotate'] as const) {
      expect(await ask(task)).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: 'the Secret Service is locked',
      })
    }
    expect(wallet.windows()).toEqual([])
  })

  /** Runs the commands with no setting but the bus. */
  const ticketkeep = (name: string) => {
    const home = scratch()
    const bus = { DBUS_SESSION_BUS_ADDRESS: wallet.settings.sessionBus }
    const own = { HOME: home, XDG_CONFIG_HOME: home, TICKETKEEP_DIR: join(home, 'tickets') }
    const env = { PATH: process.env.PATH, ...own, ...bus }
    const { stdout, stderr } = spawnSync(process.execPath, [CLI, name], { env, encoding: 'utf8' })
    return stdout + stderr
  }

  test('that is locked shows no window, and status and doctor say what to do', () => {
    expect(ticketkeep('status')).toMatch(/keychain +unavailable +the Secret Service is locked/)
    expect(ticketkeep('doctor')).toMatch(
      /KWallet stays locked for the Secret Service until a program unlocks it/,
    )
    for (const name of ['init', 'rotate-key', 'purge']) ticketkeep(name)
    expect(wallet.windows()).toEqual([])
  })

  test('that another program has unlocked stores, returns, rotates and removes a key', async () => {
    wallet.unlock()
    expect(await ask('fetch')).toMatchObject({ keys: undefined, creatable: true })
    const made = await ask('create')
    expect(made?.keys?.current).toHaveLength(32)
    expect((await ask('fetch'))?.keys).toEqual(made?.keys)
    expect((await ask('create'))?.keys).toEqual(made?.keys)
    const rotated = await ask('rotate')
    expect(rotated?.keys?.previous?.[0]?.key).toEqual(made?.keys?.current)
    expect((await ask('fetch'))?.keys).toEqual(rotated?.keys)
    expect(ticketkeep('init')).toMatch(/^There is a key \(keychain: the Secret Service\)\.\n/)
    expect(ticketkeep('status')).toMatch(/^tickets kept +yes$/m)
    const removed = await new Promise((done) => void removeKeys(keySettings(wallet.settings), done))
    expect(removed).toMatchObject([{ state: 'removed' }])
    expect(await ask('fetch')).toMatchObject({ keys: undefined, creatable: true })
    expect(wallet.windows()).toEqual([])
  })
})
