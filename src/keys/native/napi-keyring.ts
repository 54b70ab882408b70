import { SERVICE } from '../keychain-account.ts'

type Keyring = typeof import('@napi-rs/keyring')

export type Entry = InstanceType<Keyring['Entry']>

/**
 * The entry of a user in a native store. Loading the module takes 3 to 10 ms, and on Linux its default store
 * talks to the bus: `keyutils` pins it to the kernel. Never `Entry.withTarget`: on Windows that overwrites.
 */
export function nativeEntry(account: string, store?: 'keyutils'): Entry {
  const { Entry } = require('@napi-rs/keyring') as Keyring
  return store === undefined ? new Entry(SERVICE, account) : new Entry(SERVICE, account, { linux: { store } })
}

/**
 * The secret, in memory that can be wiped; undefined: there is none.
 *
 * @throws where the store is locked or fails (from version 2 of the module on; before, that was null too)
 */
export function getSecret(entry: Entry): Uint8Array | undefined {
  const secret = entry.getSecret()
  if (secret === null) return undefined
  const bytes = Uint8Array.from(secret)
  secret.fill(0)
  return bytes
}
