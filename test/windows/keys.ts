// A program for Node on Windows, run by windows.test.ts. It uses the keychain source with the real Credential Manager and
// prints one line of JSON for each step.
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { createKeysSoon, fetchKeys, removeKeys, rotateKeys } from '../../src/keys/chain.ts'
import { getSecret, nativeEntry } from '../../src/keys/native/napi-keyring.ts'
import { systemKeychain } from '../../src/keys/native/system-keychain.ts'
import { userFolder } from '../../src/keys/user-folder.ts'
import { KEY_TEXT, keySettings } from '../support/keychains.ts'

const settings = keySettings({ source: 'keychain' })
const { signal } = new AbortController()
const DAY = 86_400
const NOW = Math.floor(Date.now() / 1000)
const at = (days: number) => ({ hold: true, now: NOW + days * DAY })

const hex = (bytes?: Uint8Array) => bytes && Buffer.from(bytes).toString('hex')
const step = (name: string, task: typeof fetchKeys, days = 0, asked = settings) =>
  new Promise<void>((done) =>
    task(
      asked,
      ({ keys, ...outcome }) => {
        const words = { ...outcome, current: hex(keys?.current), previous: hex(keys?.previous?.[0]?.key) }
        console.log(JSON.stringify({ name, ...words }))
        done()
      },
      at(days),
    ),
  )

await new Promise<void>((done) => void removeKeys(settings, () => done()))
await step('virgin', fetchKeys)
await step('made', createKeysSoon)
await step('read', fetchKeys)
await step('made again', createKeysSoon)
// it never prompts, so it is asked synchronously in the process
const atOnce = systemKeychain().read({ now: NOW, hold: false, signal })
if (!(atOnce instanceof Promise)) console.log(JSON.stringify({ name: 'at once', reason: atOnce.reason }))
await step('a week later', fetchKeys, 7)
await step('renewed', createKeysSoon, 7)
await step('rotated', rotateKeys, 7)
const held = getSecret(nativeEntry(userInfo().username))
console.log(JSON.stringify({ name: 'held', current: hex(held) }))

const file = join(tmpdir(), 'key file')
writeFileSync(file, KEY_TEXT)
await step('file', fetchKeys, 0, keySettings({ source: 'file', file }))
await step('kernel', fetchKeys, 0, keySettings({ source: 'kernel' }))

// The rules of the macOS Keychain, which can prompt. Once it is known to be quick, it is asked synchronously. It is not asked
// while another process waits for it, or if that process never got an answer.
const keychain = systemKeychain(true)
const ask = async (name: string, direct = false) => {
  const { reason } = await keychain.read({ now: NOW, hold: false, direct, signal })
  console.log(JSON.stringify({ name, reason }))
}
await ask('helper', true)
await ask('quick')
const marker = { state: 'asking', at: NOW, runtime: `${process.execPath} ${process.version}` }
mkdirSync(userFolder()!, { recursive: true })
writeFileSync(join(userFolder()!, 'keychain.json'), JSON.stringify(marker))
await ask('asking')
writeFileSync(join(userFolder()!, 'keychain.json'), JSON.stringify({ ...marker, at: NOW - 60 }))
await ask('hung')

removeKeys(settings, ([removed]) => console.log(JSON.stringify({ name: 'removed', reason: removed?.state })))
await step('gone', fetchKeys)
