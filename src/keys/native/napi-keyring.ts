import { dirname } from 'node:path'
import { installedBeside, isFrom } from '../../common/installed-beside.ts'
import { packageFolder } from '../../common/package-folder.ts'
import { SERVICE } from '../keychain-account.ts'

type Keyring = typeof import('@napi-rs/keyring')

declare const __filename: string | undefined

/**
 * Not loaded by a literal `require`, which bundlers follow: they cannot bundle a native module. It is resolved relative
 * to the bundle.
 */
function loadKeyring(): Keyring {
  if (typeof __filename !== 'string') throw new Error('a bundle that is an ES module has no native module')
  const { createRequire } = process.getBuiltinModule('node:module')
  const require = createRequire(__filename)
  const folder = packageFolder() ?? dirname(__filename)
  const path = installedBeside(require, NAME, folder)
  // It loads one of these by its name in turn, whichever is there.
  const { optionalDependencies = {} } = require(`${dirname(path)}/package.json`)
  const { resolve } = createRequire(path)
  for (const binary of Object.keys(optionalDependencies).filter((name) => name.includes(process.platform))) {
    const found = pathOf(binary, resolve)
    if (found !== undefined && !isFrom(found, folder)) {
      throw new Error(`${binary} was found at ${found}, where others may have put it`)
    }
  }
  return require(path) as Keyring
}

const NAME = '@napi-rs/keyring'

function pathOf(name: string, resolve: NodeJS.RequireResolve): string | undefined {
  try {
    return resolve(name)
  } catch {
    return undefined
  }
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
