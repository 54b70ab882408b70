import { join } from 'node:path'
import { answered, type KeySource } from '../key-source.ts'
import { readKeyAt } from './file.ts'

/** The name of the credential, as in `LoadCredentialEncrypted=ticketkeep.key:…`. */
const CREDENTIAL = 'ticketkeep.key'

/** A credential that systemd gives to a service: `$CREDENTIALS_DIRECTORY/ticketkeep.key` (systemd.exec(5)). */
export function systemdSource(directory: string | undefined): KeySource {
  return {
    name: 'systemd',
    configured: directory !== undefined,
    setting: 'CREDENTIALS_DIRECTORY',
    read(_asking, done) {
      done(readKeyAt(join(directory ?? '', CREDENTIAL)))
      return answered
    },
  }
}
