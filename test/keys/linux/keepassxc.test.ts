import { spawnSync } from 'node:child_process'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { diagnoseKeys } from '../../../src/keys/diagnose.ts'
import { scratch } from '../../support/directories.ts'
import { type KeePassXC, missingKeePassXC, startKeePassXC } from '../../support/keepassxc.ts'
import { askInProcess, keySettings } from '../../support/keychains.ts'
import { describeWith } from '../../support/missing.ts'
import { CLI } from '../../support/places.ts'

describeWith(missingKeePassXC(), 'KeePassXC', () => {
  let app: KeePassXC | undefined
  afterEach(() => app?.close())

  const tasks = ['fetch', 'create', 'rotate'] as const
  const doctor = async ({ settings }: KeePassXC) => {
    const { kept, sources } = await diagnoseKeys(keySettings(settings))
    return { kept, ...sources.find(({ source }) => source === 'keychain') }
  }

  /** Every command that asks for the key, and what it prints. KeePassXC must show no window for any of them. */
  const commands = (keepass: KeePassXC) => {
    const before = keepass.windows()
    const home = scratch()
    const env = {
      PATH: process.env.PATH,
      HOME: home,
      XDG_CONFIG_HOME: home,
      TICKETKEEP_DIR: join(home, 'tickets'),
      DBUS_SESSION_BUS_ADDRESS: keepass.settings.sessionBus,
      NODE: process.execPath,
      CLI,
    }
    const names = ['status', 'doctor', 'init', 'rotate-key', 'list', 'prune', 'purge', 'env']
    const said = names.map((name) => {
      const { stdout, stderr } = spawnSync(process.execPath, [CLI, name], { env, encoding: 'utf8' })
      expect([name, keepass.windows()]).toEqual([name, before])
      return [name, stdout + stderr] as const
    })
    return Object.fromEntries(said) as Record<string, string>
  }

  test('with a locked database is reported as locked and shows no window', async () => {
    app = await startKeePassXC({ isLocked: true })
    const before = app.windows()
    for (const task of tasks) {
      expect(await askInProcess({ task, settings: app.settings })).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: 'the Secret Service is locked',
      })
    }
    expect(await doctor(app)).toMatchObject({ kept: false, reason: 'the Secret Service is locked' })
    const said = commands(app)
    for (const name of ['status', 'doctor', 'purge'])
      expect(said[name]).toMatch(/the Secret Service is locked/)
    expect(app.windows()).toEqual(before)
    // A window would be noticed here: another program makes KeePassXC show it.
    app.searchEverywhere()
    await expect.poll(app.windows, { timeout: 20_000 }).toContain('Unlock Database - KeePassXC')
  })

  test('with a locked database and an unlocked one that exposes nothing is reported as locked and shows no window', async () => {
    app = await startKeePassXC({ isLocked: true, hasNeighbour: true })
    const before = app.windows()
    for (const task of tasks) {
      expect(await askInProcess({ task, settings: app.settings })).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: expect.stringMatching(/the Secret Service (is locked|has no default collection)/),
      })
    }
    commands(app)
    expect(app.windows()).toEqual(before)
  })

  test('with an unlocked database that exposes nothing is reported as having no collection', async () => {
    app = await startKeePassXC({ isExposed: false })
    const before = app.windows()
    for (const task of tasks) {
      expect(await askInProcess({ task, settings: app.settings })).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: 'the Secret Service has no default collection',
      })
    }
    expect(await doctor(app)).toMatchObject({ kept: false, state: 'unavailable' })
    const said = commands(app)
    for (const name of ['status', 'doctor', 'purge']) expect(said[name]).toMatch(/has no default collection/)
    expect(app.windows()).toEqual(before)
  })

  // A key that is being made is noted once for each user, and other test files run as the same user.
  test('with an unlocked database that exposes a group is not allowed to ask the user, so it takes no key', {
    retry: 2,
  }, async () => {
    app = await startKeePassXC()
    const before = app.windows()
    expect(await askInProcess({ settings: app.settings })).toMatchObject({ keys: undefined, creatable: true })
    for (const task of ['create', 'rotate'] as const) {
      expect(await askInProcess({ task, settings: app.settings })).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: 'the Secret Service wants to ask the user first',
      })
    }
    expect(await askInProcess({ settings: app.settings })).toMatchObject({ keys: undefined, creatable: true })
    expect(app.windows()).toEqual(before)
    // The program did not show the failure. The commands do.
    const reason =
      'the Secret Service holds no key yet, and making one failed: the Secret Service wants to ask the user first'
    expect(await doctor(app)).toMatchObject({ kept: false, usable: false, reason })
    const env = { PATH: process.env.PATH, HOME: scratch(), DBUS_SESSION_BUS_ADDRESS: app.settings.sessionBus }
    const { stdout } = spawnSync(process.execPath, [CLI, 'status', '--json'], { env, encoding: 'utf8' })
    expect(JSON.parse(stdout)).toMatchObject({ keeping: false, key: { source: 'keychain', reason } })
    const said = commands(app)
    for (const name of ['status', 'doctor', 'init', 'rotate-key'])
      expect(said[name]).toMatch(/the Secret Service wants to ask the user first/)
    expect(app.windows()).toEqual(before)
  })

  test('that guards its items is not allowed to ask the user, and the item stays unchanged', async () => {
    app = await startKeePassXC({ attributes: { service: 'ticketkeep', username: userInfo().username } })
    const before = app.windows()
    for (const task of tasks) {
      expect(await askInProcess({ task, settings: app.settings })).toMatchObject({
        keys: undefined,
        creatable: false,
        reason: 'the Secret Service wants to ask the user first',
      })
    }
    const said = commands(app)
    for (const name of ['status', 'doctor', 'purge'])
      expect(said[name]).toMatch(/the Secret Service wants to ask the user first/)
    expect(app.windows()).toEqual(before)
    // A question would be noticed here: another program makes KeePassXC ask.
    app.lookUp()
    await expect
      .poll(app.windows, { timeout: 20_000 })
      .toContainEqual(expect.stringMatching(/Access Request/))
  })
})
