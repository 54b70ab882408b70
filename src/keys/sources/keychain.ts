import type { KeySettings } from '../../settings.ts'
import type { Keychain } from '../key-source.ts'
import { SecretService } from '../linux/secret-service.ts'
import { busSocket } from '../linux/session-bus.ts'
import { nativeKeychain } from '../native/system-keychain.ts'
import { accountName } from '../user-folder.ts'

/** What the system itself has for secrets: macOS Keychain, Windows Credential Manager, or a Secret Service. */
export function keychainSource(settings: KeySettings): Keychain {
  if (process.platform === 'darwin' || process.platform === 'win32') return nativeKeychain()
  const service = () => new SecretService(settings, accountName())
  return {
    name: 'keychain',
    get waits() {
      return 'path' in busSocket(settings)
    },
    read: (asking, done) => service().read(asking, done),
    write: (blob, asking, done) => service().write(blob, asking, done),
    remove: (asking, done) => service().remove(asking, done),
  }
}
