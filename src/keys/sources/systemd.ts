import { join } from 'node:path'
import type { KeyAnswer } from '../key-source.ts'
import { readKeyFileIfThere } from './file.ts'

/** The name of the credential, as in `LoadCredentialEncrypted=ticketkeep.key:…`. */
const CREDENTIAL = 'ticketkeep.key'

/**
 * A credential that systemd gives to a service: `$CREDENTIALS_DIRECTORY/ticketkeep.key`.
 *
 * Source: systemd.exec(5), "Credentials".
 */
export function readCredential(directory: string | undefined): KeyAnswer {
  if (directory === undefined) return { state: 'not set', reason: 'CREDENTIALS_DIRECTORY is not set' }
  return readKeyFileIfThere(join(directory, CREDENTIAL), `CREDENTIALS_DIRECTORY holds no ${CREDENTIAL}`)
}
