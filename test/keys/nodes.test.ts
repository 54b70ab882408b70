import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  askInProcess,
  IN_SESSION_KEYRING,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'

const missing = [missingSecretService(), missingCommands('keyctl'), ...NODE_LINES.map(missingNode)]

describeWith(missing, 'the same key on every Node', () => {
  let bus: SecretServiceBus
  beforeAll(async () => {
    bus = await startSecretService('unlocked')
    const made = await askInProcess({ task: 'create', settings: { ...bus.settings, source: 'keychain' } })
    expect(made?.keys).toBeDefined()
  })
  afterAll(() => bus.close())

  test.each(NODE_LINES)(
    'Node %s reads and rotates it in the Secret Service, and finds the kernel keyring',
    async (line) => {
      const node = nodeBinary(line)
      const settings = { ...bus.settings, source: 'keychain' as const }
      const before = await askInProcess({ settings })
      expect((await askInProcess({ settings, node }))?.keys).toEqual(before?.keys)
      const rotated = await askInProcess({ settings, node, task: 'rotate' })
      expect(rotated?.keys?.previous?.[0]?.key).toEqual(before?.keys?.current)
      expect((await askInProcess({ settings }))?.keys).toEqual(rotated?.keys)
      // with a session keyring and without one
      const kernel = { settings: { source: 'kernel' as const }, node }
      expect((await askInProcess(kernel))?.considered).toMatchObject([{ cause: 'no-session-keyring' }])
      const possessed = await askInProcess({ ...kernel, within: IN_SESSION_KEYRING })
      expect(possessed?.considered).toMatchObject([{ state: expect.stringMatching(/absent|found/) }])
    },
  )
})
