import { createPrivateKey, hash, X509Certificate } from 'node:crypto'
import { asBuffer, wipe } from '../common/bytes.ts'
import type { Options } from './call.ts'
import { readCertificate } from './certificate.ts'
import { certificatesIn } from './trusted-roots.ts'

export interface ClientCertificate {
  /** Goes into the binding. */
  readonly description: string
  /** The earliest expiry in its chain: UNIX seconds. */
  readonly notAfter: number
}

/**
 * Describes a client certificate for the binding: digests of the certificate and of the whole private key. A connection
 * with another key must not get a session that was made with the right key. A digest of the public half alone would not
 * prove possession, because a key object can combine the public half of one key with the private half of another.
 *
 * Only one certificate with one key is supported. With several, OpenSSL chooses one and does not say which.
 *
 * @returns undefined if the options contain anything else
 */
export function describeClientCertificate({
  cert,
  key,
  passphrase,
  pfx,
}: Options): ClientCertificate | undefined {
  if (pfx || !isText(cert) || !isText(key) || (passphrase && typeof passphrase !== 'string')) return undefined
  try {
    const certificate = textOf(cert)
    const secret = { key: textOf(key), ...(passphrase ? { passphrase } : {}) }
    const privateKey = createPrivateKey(secret as Parameters<typeof createPrivateKey>[0])
    const x509 = new X509Certificate(certificate)
    if (!x509.checkPrivateKey(privateKey)) return undefined
    const secretBytes = privateKey.export({ type: 'pkcs8', format: 'der' })
    const description = [certificate, secretBytes].map((one) => hash('sha256', one, 'base64url')).join(' ')
    wipe(secretBytes)
    // The certificates above it in `cert` are sent with it.
    const ends = certificatesIn(certificate)?.map((der) => readCertificate(der)?.notAfter ?? 0)
    return ends?.length ? { description, notAfter: Math.min(...ends) } : undefined
  } catch {
    return undefined
  }
}

const isText = (value: unknown): value is string | Uint8Array =>
  (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0

const textOf = (value: string | Uint8Array) =>
  typeof value === 'string' ? value : asBuffer(value).toString('utf8')
