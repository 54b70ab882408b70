import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { afterEach, expect, test } from 'vitest'
import { askInProcess, IN_CONTAINER, IN_SESSION_KEYRING } from '../support/keychains.ts'
import { describeWith, missingCommands } from '../support/missing.ts'

const settings = { source: 'kernel' as const }
const description = `keyring:${userInfo().username}@ticketkeep`
const missing = () =>
  missingCommands('keyctl', 'unshare') ?? (isListed() ? 'this user has a key of ticketkeep there' : undefined)

const run = (...words: string[]) => spawnSync(words[0]!, words.slice(1), { encoding: 'utf8' })
const isListed = () => readFileSync('/proc/keys', 'utf8').includes(description)
/** In the keyrings of this process, and in the user's persistent one. The kernel takes a moment for it. */
async function purge() {
  const words = ['keyctl', 'purge', 'user', description] as const
  run(...words)
  run(...IN_SESSION_KEYRING, 'sh', '-c', `keyctl get_persistent @s; ${words.join(' ')}`)
  await expect.poll(isListed).toBe(false)
}

describeWith(
  process.platform === 'linux' ? missing() : 'there is no kernel keyring',
  'the kernel keyring',
  () => {
    afterEach(purge)

    test('of a session of its own holds a key, also for the next session of the user', async () => {
      const within = IN_SESSION_KEYRING
      expect(await askInProcess({ settings, within })).toMatchObject({ keys: undefined, creatable: true })
      const made = await askInProcess({ settings, within, task: 'create' })
      expect(made?.keys?.current).toHaveLength(32)
      expect((await askInProcess({ settings, within }))?.keys).toEqual(made?.keys)
      expect((await askInProcess({ settings, within, task: 'create' }))?.keys).toEqual(made?.keys)
    })

    test('is stepped over where no session keyring is possessed, and nothing is left there', async () => {
      const outcome = await askInProcess({ settings, task: 'create' })
      expect(outcome).toMatchObject({
        keys: undefined,
        creatable: false,
        considered: [{ state: 'unavailable', cause: 'no-session-keyring' }],
      })
      expect(isListed()).toBe(false)
    })

    test('with a half-made entry is stepped over and explained, and purged by what the doctor says', async () => {
      // what the native module leaves behind where no session keyring is possessed
      run(
        process.execPath,
        '-e',
        `const { Entry } = require('@napi-rs/keyring')
       const entry = new Entry('ticketkeep', ${JSON.stringify(userInfo().username)}, { linux: { store: 'keyutils' } })
       try { entry.setSecret(Buffer.alloc(9, 1)) } catch {}`,
      )
      expect(isListed()).toBe(true)
      const outcome = await askInProcess({ settings, within: IN_SESSION_KEYRING, task: 'create' })
      expect(outcome).toMatchObject({
        keys: undefined,
        creatable: false,
        considered: [{ state: 'unavailable', cause: 'half-made' }],
      })
      purge()
      expect(await askInProcess({ settings, within: IN_SESSION_KEYRING })).toMatchObject({ creatable: true })
    })

    test.skipIf(process.geteuid?.() !== 0)('is not used in a container', async () => {
      const within = [...IN_SESSION_KEYRING, ...IN_CONTAINER]
      expect(await askInProcess({ settings, within })).toMatchObject({
        considered: [{ state: 'unavailable', cause: 'container' }],
      })
    })
  },
)
