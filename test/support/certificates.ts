import { randomBytes, type webcrypto } from 'node:crypto'
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

/** A certificate authority or a server: a name and keys. */
export interface Entity {
  /** The spelling in certificates. */
  readonly name: string | x509.JsonNameParams
  readonly keys: webcrypto.CryptoKeyPair
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export async function entity(name: Entity['name']): Promise<Entity> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  return { name: typeof name === 'string' ? `CN=${name}` : name, keys: keys as webcrypto.CryptoKeyPair }
}

export interface Validity {
  /** UNIX seconds. */
  readonly from?: number
  /** UNIX seconds. */
  readonly to: number
  /** Default: true. */
  readonly ca?: boolean
}

/** A certificate (DER) for `subject`, signed by `issuer`, without key identifiers. */
export async function certify(subject: Entity, issuer: Entity, validity: Validity): Promise<Uint8Array> {
  const { ca = true } = validity
  const usage = ca ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    subject: new x509.Name(subject.name),
    issuer: new x509.Name(issuer.name),
    notBefore: new Date((validity.from ?? 0) * 1000),
    notAfter: new Date(validity.to * 1000),
    publicKey: subject.keys.publicKey,
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(ca, undefined, true),
      new x509.KeyUsagesExtension(usage, true),
    ],
  })
  return new Uint8Array(certificate.rawData)
}

export const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`
