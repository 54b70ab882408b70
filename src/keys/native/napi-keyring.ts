import { SERVICE } from '../keychain-account.ts'

type Keyring = typeof import('@napi-rs/keyring')

declare const __filename: string | undefined

/**
 * Not loaded by a literal `require`, which bundlers follow: they cannot bundle a native module. It is resolved relative
 * to the bundle.
 */
function loadKeyring(): Keyring {
  if (typeof __filename !== 'string') throw new Error('a bundle that is an ES module has no native module')
  return process.getBuiltinModule('node:module').createRequire(__filename)('@napi-rs/keyring') as Keyring
}

export type Entry = InstanceType<Keyring['Entry']>

/**
 * The entry of a user in a native store. Loading the module takes 3 to 10 ms. On Linux its default store uses the
 * session bus. `keyutils` is the kernel keyring. Never use `Entry.withTarget`: on Windows its constructor overwrites
 * the secret.
 */
export function nativeEntry(account: string, store?: 'keyutils'): Entry {
  const { Entry } = loadKeyring()
  return store === undefined ? new Entry(SERVICE, account) : new Entry(SERVICE, account, { linux: { store } })
}

/**
 * The secret, in memory that can be wiped. Undefined if there is none.
 *
 * @throws if the store is locked or fails (version 1 of the module returned null for that too)
 */
export function getSecret(entry: Entry): Uint8Array | undefined {
  const secret = entry.getSecret()
  if (secret === null) return undefined
  const bytes = Uint8Array.from(secret)
  secret.fill(0)
  return bytes
}
