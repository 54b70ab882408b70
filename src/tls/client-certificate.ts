import { createPrivateKey, hash, X509Certificate } from 'node:crypto'
import { asBuffer, wipe } from '../common/bytes.ts'
import type { Options } from './call.ts'
import { readCertificate } from './certificate.ts'
import { certificatesIn } from './trusted-roots.ts'

export interface ClientCertificate {
  /** For the binding. */
  readonly description: string
  /** When the first certificate of its chain ends: UNIX seconds. */
  readonly notAfter: number
}

/**
 * A client certificate as a binding holds it: digests of the certificate and of the whole private key. Another key must not
 * get a session that the fitting key has made, and its public half proves nothing: a key may be put together of two.
 *
 * Only one certificate with one key is of a listed kind. With several, OpenSSL chooses, and what it chose is not told.
 *
 * @returns undefined where the options hold anything else
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
    // Those above it are sent with it.
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
