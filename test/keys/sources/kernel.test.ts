import { execFileSync, spawnSync } from 'node:child_process'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import {
  type Ask,
  askInProcess,
  helperForEveryone,
  IN_CONTAINER,
  IN_SESSION_KEYRING,
  missingKernelKeyring,
} from '../../support/keychains.ts'
import { describeWith, missingCommands, runs } from '../../support/missing.ts'
import { missingUsers, useUser } from '../../support/users.ts'

const missing = [missingKernelKeyring(), missingUsers()]
const missingContainer =
  missingCommands('unshare') ?? (runs(...IN_CONTAINER, 'true') ? undefined : 'no unshare here')

describeWith(missing, 'the kernel keyring', () => {
  const user = useUser('tk-test-kernel')
  let folder: string
  let helper: string
  beforeAll(async () => {
    ;({ folder, helper } = helperForEveryone())
  })
  afterEach(() => user.purgeKeyring())
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true })
  })
  const ask = ({ within = [], ...more }: Ask) =>
    askInProcess({
      settings: { source: 'kernel' },
      helper,
      within: [...user.prefix, ...within],
      env: { ...process.env, NODE_PATH: join(folder, 'node_modules') },
      ...more,
    })
  const isListed = () => {
    const [program, ...args] = [...user.prefix, 'cat', '/proc/keys']
    return execFileSync(program!, args, { encoding: 'utf8' }).includes(`keyring:${user.name}@ticketkeep`)
  }

  test('of a separate session keeps a key for the next session of the user', async () => {
    const within = IN_SESSION_KEYRING
    expect(await ask({ within })).toMatchObject({ keys: undefined, creatable: true })
    const made = await ask({ within, task: 'create' })
    expect(made?.keys?.current).toHaveLength(32)
    expect((await ask({ within }))?.keys).toEqual(made?.keys)
    expect((await ask({ within, task: 'create' }))?.keys).toEqual(made?.keys)
  })

  test('is passed over without a possessed session keyring, and nothing is left in it', async () => {
    const outcome = await ask({ task: 'create' })
    expect(outcome).toMatchObject({
      keys: undefined,
      creatable: false,
      considered: [{ state: 'unavailable', cause: 'no-session-keyring' }],
    })
    expect(isListed()).toBe(false)
  })

  test('with a half-made entry is passed over, and the command that the doctor prints removes the entry', async () => {
    // what the native module leaves without a possessed session keyring
    const code = `const { Entry } = require('@napi-rs/keyring')
       const entry = new Entry('ticketkeep', '${user.name}', { linux: { store: 'keyutils' } })
       try { entry.setSecret(Buffer.alloc(9, 1)) } catch {}`
    const [program, ...args] = [...user.prefix, process.execPath, '-e', code]
    spawnSync(program!, args, { env: { ...process.env, NODE_PATH: join(folder, 'node_modules') } })
    expect(isListed()).toBe(true)
    const outcome = await ask({ within: IN_SESSION_KEYRING, task: 'create' })
    expect(outcome).toMatchObject({
      keys: undefined,
      creatable: false,
      considered: [{ state: 'unavailable', cause: 'half-made' }],
    })
    await user.purgeKeyring()
    expect(await ask({ within: IN_SESSION_KEYRING })).toMatchObject({ creatable: true })
  })

  test('holds a key encrypted with a file of the user, and gets a new key if that file is missing or replaced', async () => {
    const within = IN_SESSION_KEYRING
    const made = await ask({ within, task: 'create' })
    const file = join(user.home, '.cache/ticketkeep/kernel-keyring.key')
    expect(statSync(file)).toMatchObject({ uid: user.uid, size: 32, mode: 0o100600 })
    for (const spoil of [() => rmSync(file), () => writeFileSync(file, Buffer.alloc(32, 200))]) {
      spoil()
      expect(await ask({ within })).toMatchObject({
        keys: undefined,
        creatable: true,
        reason: expect.stringMatching(/cannot be opened any more/),
      })
      const again = await ask({ within, task: 'create' })
      expect(again?.keys?.current).toHaveLength(32)
      expect(again?.keys).not.toEqual(made?.keys)
      expect((await ask({ within }))?.keys).toEqual(again?.keys)
    }
  })

  describeWith(missingContainer, 'in a container', () => {
    test('is not used', async () => {
      const within = [...IN_SESSION_KEYRING, ...IN_CONTAINER]
      expect(await askInProcess({ settings: { source: 'kernel' }, within })).toMatchObject({
        considered: [{ state: 'unavailable', cause: 'container' }],
      })
    })
  })
})
