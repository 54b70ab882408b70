import type { KeySettings } from '../../settings.ts'
import type { Keychain } from '../key-source.ts'
import { accountName } from '../keychain-account.ts'
import { SecretService } from '../linux/secret-service.ts'
import { systemKeychain } from '../native/system-keychain.ts'

/** The system's store for secrets: macOS Keychain, Windows Credential Manager, or a Secret Service. */
export function keychainSource(settings: KeySettings): Keychain {
  if (process.platform === 'darwin' || process.platform === 'win32') return systemKeychain()
  return new SecretService(settings, accountName())
}
