import { randomBytes, type webcrypto, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

// Certificates of the kinds that test/support/pki.ts does not make: weak, cross-signed, expired, forged.

export interface CertificateOptions {
  readonly subject: string
  /** Default: of its own, signed by itself. */
  readonly issuer?: Certified
  /** The names of a server; without any it is a CA. */
  readonly names?: readonly string[]
  readonly client?: boolean
  /** RSA of so many bits; default: ECDSA on P-256. */
  readonly bits?: number
  readonly signedWith?: 'SHA-1' | 'SHA-256'
  /** Seconds from now; default: an hour ago, and in 30 days. */
  readonly from?: number
  readonly until?: number
  /** The keys of an earlier certificate. */
  readonly keys?: webcrypto.CryptoKeyPair
  /** Claims to have the key of this one. */
  readonly keyIdOf?: Certified
}

export interface Certified {
  readonly subject: string
  /** PEM. */
  readonly cert: string
  /** PEM. */
  readonly key: string
  readonly keys: webcrypto.CryptoKeyPair
  readonly serial: string
  /** As `fingerprint256` of Node. */
  readonly fingerprint: string
}

const HOUR = 3600
const MONTH = 30 * 24 * HOUR

export async function certify(options: CertificateOptions): Promise<Certified> {
  const { subject, issuer, names, client = false, signedWith = 'SHA-256' } = options
  const keys = options.keys ?? (await generateKeys(options.bits))
  const signer = issuer?.keys ?? keys
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    subject: `CN=${subject}`,
    issuer: `CN=${issuer?.subject ?? subject}`,
    notBefore: fromNow(options.from ?? -HOUR),
    notAfter: fromNow(options.until ?? MONTH),
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: { ...signer.privateKey.algorithm, hash: signedWith },
    extensions: [
      ...(names || client ? ofLeaf(names ?? [], client) : ofAuthority()),
      await x509.SubjectKeyIdentifierExtension.create((options.keyIdOf?.keys ?? keys).publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  })
  const cert = `${certificate.toString('pem')}\n`
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    subject,
    cert,
    key: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
    keys,
    serial: certificate.serialNumber,
    fingerprint: new X509Certificate(cert).fingerprint256,
  }
}

/** A revocation list of `issuer`, in PEM. */
export async function revoke(issuer: Certified, ...revoked: Certified[]): Promise<string> {
  const list = await x509.X509CrlGenerator.create({
    issuer: `CN=${issuer.subject}`,
    thisUpdate: fromNow(-HOUR),
    nextUpdate: fromNow(24 * HOUR),
    entries: revoked.map(({ serial }) => ({ serialNumber: serial, revocationDate: fromNow(-60) })),
    signingAlgorithm: { ...issuer.keys.privateKey.algorithm, hash: 'SHA-256' },
    signingKey: issuer.keys.privateKey,
  })
  // The label that OpenSSL wants.
  return `${list.toString('pem').replaceAll(' CRL-', ' X509 CRL-')}\n`
}

function ofLeaf(names: readonly string[], client: boolean): x509.Extension[] {
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags
  const purpose = client ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(digitalSignature | keyEncipherment, true),
    new x509.ExtendedKeyUsageExtension([purpose]),
  ]
  if (names.length > 0) {
    const entries = names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }))
    extensions.push(new x509.SubjectAlternativeNameExtension(entries))
  }
  return extensions
}

function ofAuthority(): x509.Extension[] {
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags
  return [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
  ]
}

const fromNow = (seconds: number) => new Date(Date.now() + seconds * 1000)

function generateKeys(bits?: number): Promise<webcrypto.CryptoKeyPair> {
  const algorithm =
    bits === undefined
      ? { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
      : {
          name: 'RSASSA-PKCS1-v1_5',
          hash: 'SHA-256',
          modulusLength: bits,
          publicExponent: new Uint8Array([1, 0, 1]),
        }
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>
}
