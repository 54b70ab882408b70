import { hash, X509Certificate } from 'node:crypto'
import tls, { type PeerCertificate } from 'node:tls'
import { asBuffer, equal } from '../common/bytes.ts'
import { isPlainName } from '../host-port.ts'
import { BIT_STRING, explicit, INTEGER, OBJECT_IDENTIFIER, parseDer, SEQUENCE } from './der.ts'
import { isNodesOwn } from './node-tls.ts'
import { isPlainlyNamed } from './plain-certificate.ts'

/** What a stored session's peer certificate (RFC 5280) is asked, read without building a key from it. */
export interface Certificate {
  /** UNIX seconds. */
  readonly notBefore: number
  /** UNIX seconds. */
  readonly notAfter: number
  /** The SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** The content of the signature algorithm's OBJECT IDENTIFIER. */
  readonly signatureOid: Uint8Array
  /** See `spkiFingerprint`. */
  fingerprint?: Uint8Array
}

/** The certificate in `der`, or undefined if it is not one X.509 certificate in strict DER. */
export function readCertificate(der: Uint8Array): Certificate | undefined {
  if (!last || !equal(last.der, der)) {
    const copy = new Uint8Array(der)
    last = { der: copy, certificate: parse(copy) }
  }
  return last.certificate
}

/** A connection asks about one certificate several times, and a burst of them about one. */
let last: { readonly der: Uint8Array; readonly certificate: Certificate | undefined } | undefined

function parse(der: Uint8Array): Certificate | undefined {
  return parseDer(der, (reader) => {
    const certificate = reader.enter(SEQUENCE)
    const tbs = certificate.enter(SEQUENCE)
    if (tbs.nextTag === explicit(0)) tbs.read() // version
    tbs.read(INTEGER) // serialNumber
    tbs.read(SEQUENCE) // signature
    tbs.read(SEQUENCE) // issuer
    const validity = tbs.enter(SEQUENCE)
    const notBefore = validity.time()
    const notAfter = validity.time()
    validity.end()
    tbs.read(SEQUENCE) // subject
    const spki = tbs.read(SEQUENCE).whole
    const signatureOid = certificate.enter(SEQUENCE).read(OBJECT_IDENTIFIER).value
    certificate.read(BIT_STRING)
    certificate.end()
    return { notBefore, notAfter, spki, signatureOid }
  })
}

/** SHA-256 of the SubjectPublicKeyInfo: the key that a ticket is bound to. */
export const spkiFingerprint = (certificate: Certificate): Uint8Array =>
  (certificate.fingerprint ??= hash('sha256', certificate.spki, 'buffer'))

/**
 * Whether the certificate in `der` is named `name`, by Node's own rules (`tls.checkServerIdentity`). Node
 * asks this on a full handshake only: on a resumed one nobody would. False where the program has put a function of
 * its own in the place of that one.
 */
export function isNamed(der: Uint8Array, name: string): boolean {
  if (asked?.name !== name || !equal(asked.der, der)) {
    const isPlain = isPlainName(name) && isPlainlyNamed(der, name)
    asked = { der: der.slice(), name, answer: isPlain || askNode(der, name) }
  }
  return asked.answer
}

let asked: { readonly der: Uint8Array; readonly name: string; readonly answer: boolean } | undefined

function askNode(der: Uint8Array, name: string): boolean {
  const { checkServerIdentity } = tls
  if (!isNodesOwn('checkServerIdentity', checkServerIdentity)) return false
  try {
    const x509 = new X509Certificate(der)
    const { subjectAltName } = x509
    const certificate =
      subjectAltName === undefined ? x509.toLegacyObject() : { subject: {}, subjectaltname: subjectAltName }
    return checkServerIdentity(name, certificate as PeerCertificate) === undefined
  } catch {
    return false // strict DER, but no certificate to OpenSSL, or no names to Node
  }
}

const hex = (bytes: Uint8Array) => asBuffer(bytes).toString('hex')

const SHA2_SIGNATURES = new Set([
  '2a864886f70d01010b', // sha256WithRSAEncryption
  '2a864886f70d01010c', // sha384WithRSAEncryption
  '2a864886f70d01010d', // sha512WithRSAEncryption
  '2a8648ce3d040302', // ecdsa-with-SHA256
  '2a8648ce3d040303', // ecdsa-with-SHA384
  '2a8648ce3d040304', // ecdsa-with-SHA512
  '2b6570', // Ed25519
  '2b6571', // Ed448
])
const RSA_KEY = '2a864886f70d010101'
const EC_KEY = '2a8648ce3d0201'
const EC_CURVES = new Set([
  '2a8648ce3d030107', // P-256
  '2b81040022', // P-384
  '2b81040023', // P-521
])
const EDWARDS_KEYS = new Set(['2b6570', '2b6571'])

/** What a verified chain says of the connection that it was verified for. */
export interface Chain {
  /** When the first of its certificates ends, UNIX seconds: from then on no full handshake would pass. */
  readonly notAfter: number
  /**
   * Whether it would also have passed at OpenSSL's security level 2, which Node has by default since OpenSSL
   * 3.2 and had not before: keys of 112 bits' strength, no SHA-1 but in the root's own signature. What is not
   * known to be strong is not.
   */
  readonly strong: boolean
}

/** @param chain DER certificates from the server's own to the trusted one */
export function readChain(chain: readonly Uint8Array[]): Chain | undefined {
  let notAfter = Number.POSITIVE_INFINITY
  let strong = true
  for (const [i, der] of chain.entries()) {
    const certificate = i === 0 ? readCertificate(der) : parse(der)
    if (!certificate) return undefined
    notAfter = Math.min(notAfter, certificate.notAfter)
    const signed = i === chain.length - 1 || SHA2_SIGNATURES.has(hex(certificate.signatureOid))
    strong &&= signed && isStrongKey(certificate.spki)
  }
  return chain.length === 0 ? undefined : { notAfter, strong }
}

function isStrongKey(spki: Uint8Array): boolean {
  return (
    parseDer(spki, (reader) => {
      const info = reader.enter(SEQUENCE)
      const algorithm = info.enter(SEQUENCE)
      const key = hex(algorithm.read(OBJECT_IDENTIFIER).value)
      const bits = info.read(BIT_STRING).value
      if (EDWARDS_KEYS.has(key)) return true
      if (key === EC_KEY) return EC_CURVES.has(hex(algorithm.read(OBJECT_IDENTIFIER).value))
      if (key !== RSA_KEY) return false
      const modulus = parseDer(bits.subarray(1), (rsa) => {
        const numbers = rsa.enter(SEQUENCE)
        const { value } = numbers.read(INTEGER)
        numbers.read(INTEGER)
        return value[0] === 0 ? value.subarray(1) : value
      })
      return (
        modulus !== undefined && (modulus.length > 256 || (modulus.length === 256 && modulus[0]! >= 0x80))
      )
    }) ?? false
  )
}
