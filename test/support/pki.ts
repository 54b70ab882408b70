import { randomBytes, type webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

export type KeyType = 'ecdsa' | 'rsa' | 'weak rsa'

export interface CertificateOptions {
  /** DNS names, wildcards included, and IP addresses. Default: this machine by all its names. */
  readonly names?: readonly string[]
  readonly commonName?: string
  /** ECDSA on P-256, RSA of 2,048 bits, or of 1,024. */
  readonly keyType?: KeyType
  /** Default: an hour ago. */
  readonly notBefore?: Date
  /** Default: in 30 days. */
  readonly notAfter?: Date
  /** Whether it is for a client instead of a server. */
  readonly client?: boolean
  /** The key pair of an earlier certificate, for a renewal that keeps its key. */
  readonly keys?: webcrypto.CryptoKeyPair
}

/** A certificate and its key, in PEM, as `tls` takes them. */
export interface Identity {
  /** The leaf, then the intermediates, without the root. */
  readonly cert: string
  readonly key: string
  /** Hexadecimal. */
  readonly serial: string
  readonly keys: webcrypto.CryptoKeyPair
}

export interface Authority {
  /** The CA's own certificate, in PEM. */
  readonly cert: string
  readonly keys: webcrypto.CryptoKeyPair
  issue(options?: CertificateOptions): Promise<Identity>
  /** A CA below this one. Its certificate is the chain of those that it issues. */
  intermediate(
    options?: Pick<CertificateOptions, 'commonName' | 'keyType' | 'notBefore' | 'notAfter' | 'keys'>,
  ): Promise<Authority>
  /** A certificate revocation list, in PEM, that names these. */
  revoke(...identities: Identity[]): Promise<string>
}

const HOUR = 3_600_000
const LOOPBACK = ['localhost', '127.0.0.1', '::1']

const ALGORITHMS = {
  ecdsa: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
  'weak rsa': {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 1024,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
} as const

/** A new root, which nobody else has ever trusted. */
export async function createAuthority(
  options: Pick<CertificateOptions, 'commonName' | 'keyType'> = {},
): Promise<Authority> {
  const keys = await generateKeys(options.keyType ?? 'ecdsa')
  const name = `CN=${options.commonName ?? 'ticketkeep test root'}`
  const cert = await certify({ subject: name, issuer: name, keys, signingKey: keys.privateKey, ca: true })
  return authority(cert, keys, '')
}

function authority(cert: x509.X509Certificate, keys: webcrypto.CryptoKeyPair, chain: string): Authority {
  const signer = { issuer: cert.subject, signingKey: keys.privateKey, issuerKey: keys.publicKey }
  return {
    cert: `${cert.toString('pem')}\n`,
    keys,
    async issue(options = {}) {
      const names = options.names ?? LOOPBACK
      const pair = options.keys ?? (await generateKeys(options.keyType ?? 'ecdsa'))
      const subject = `CN=${options.commonName ?? names[0] ?? 'nobody'}`
      const leaf = await certify({ ...options, ...signer, names, subject, keys: pair })
      const pkcs8 = await crypto.subtle.exportKey('pkcs8', pair.privateKey)
      return {
        cert: `${leaf.toString('pem')}\n${chain}`,
        key: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
        serial: leaf.serialNumber,
        keys: pair,
      }
    },
    async intermediate(options = {}) {
      const pair = options.keys ?? (await generateKeys(options.keyType ?? 'ecdsa'))
      const subject = `CN=${options.commonName ?? 'ticketkeep test intermediate'}`
      const lower = await certify({ ...options, ...signer, subject, keys: pair, ca: true })
      return authority(lower, pair, `${lower.toString('pem')}\n${chain}`)
    },
    async revoke(...identities) {
      const list = await x509.X509CrlGenerator.create({
        issuer: cert.subject,
        thisUpdate: new Date(Date.now() - HOUR),
        nextUpdate: new Date(Date.now() + 24 * HOUR),
        entries: identities.map(({ serial }) => ({ serialNumber: serial, revocationDate: new Date() })),
        signingAlgorithm: { hash: 'SHA-256', ...keys.privateKey.algorithm },
        signingKey: keys.privateKey,
      })
      return `${list.toString('pem')}\n`
    },
  }
}

interface Certified extends CertificateOptions {
  readonly subject: string
  readonly issuer: string
  readonly keys: webcrypto.CryptoKeyPair
  readonly signingKey: webcrypto.CryptoKey
  readonly issuerKey?: webcrypto.CryptoKey
  readonly ca?: boolean
}

async function certify(made: Certified): Promise<x509.X509Certificate> {
  const { digitalSignature, keyEncipherment, keyCertSign, cRLSign } = x509.KeyUsageFlags
  const purpose = made.client ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(made.ca ?? false, undefined, true),
    new x509.KeyUsagesExtension(made.ca ? keyCertSign | cRLSign : digitalSignature | keyEncipherment, true),
    await x509.SubjectKeyIdentifierExtension.create(made.keys.publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(made.issuerKey ?? made.keys.publicKey),
  ]
  if (!made.ca) extensions.push(new x509.ExtendedKeyUsageExtension([purpose]))
  if (made.names?.length) {
    extensions.push(
      new x509.SubjectAlternativeNameExtension(
        made.names.map((value) => ({ type: isIP(value) ? 'ip' : 'dns', value })),
      ),
    )
  }
  return x509.X509CertificateGenerator.create({
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    subject: made.subject,
    issuer: made.issuer,
    notBefore: made.notBefore ?? new Date(Date.now() - HOUR),
    notAfter: made.notAfter ?? new Date(Date.now() + 30 * 24 * HOUR),
    publicKey: made.keys.publicKey,
    signingKey: made.signingKey,
    signingAlgorithm: { hash: 'SHA-256', ...made.signingKey.algorithm },
    extensions,
  })
}

function generateKeys(type: KeyType): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHMS[type], true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>
}
