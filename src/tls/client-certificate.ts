import { createPrivateKey, createPublicKey, hash, X509Certificate } from 'node:crypto'
import { asBuffer } from '../common/bytes.ts'
import type { Options } from './call.ts'

/**
 * A client certificate as a binding holds it: digests of the certificate and of the private key's public half. A key
 * that does not fit the certificate must not get a session that one with the fitting key has made.
 *
 * Only one certificate with one key is of a listed kind. With several, OpenSSL chooses, and what it chose is not told.
 *
 * @returns undefined where the options hold anything else
 */
export function describeClientCertificate({ cert, key, passphrase, pfx }: Options): string | undefined {
  if (pfx || !isText(cert) || !isText(key) || (passphrase && typeof passphrase !== 'string')) return undefined
  try {
    const certificate = textOf(cert)
    const secret = { key: textOf(key), ...(passphrase ? { passphrase } : {}) }
    const privateKey = createPrivateKey(secret as Parameters<typeof createPrivateKey>[0])
    if (!new X509Certificate(certificate).checkPrivateKey(privateKey)) return undefined
    const publicKey = createPublicKey(privateKey as never).export({ type: 'spki', format: 'der' })
    return `${hash('sha256', certificate, 'base64url')} ${hash('sha256', publicKey, 'base64url')}`
  } catch {
    return undefined
  }
}

const isText = (value: unknown): value is string | Uint8Array =>
  (typeof value === 'string' || value instanceof Uint8Array) && value.length > 0

const textOf = (value: string | Uint8Array) =>
  typeof value === 'string' ? value : asBuffer(value).toString('utf8')
