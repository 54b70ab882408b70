import { hash, X509Certificate } from 'node:crypto'
import type { PeerCertificate } from 'node:tls'
import { equal } from '../common/bytes.ts'
import type { CheckServerIdentity } from './call.ts'
import { BIT_STRING, explicit, INTEGER, parseDer, SEQUENCE } from './der.ts'

/** The parts of a certificate (RFC 5280) that are used here. */
export interface Certificate {
  readonly der: Uint8Array
  readonly x509: X509Certificate
  /** UNIX seconds. */
  readonly notBefore: number
  /** UNIX seconds. */
  readonly notAfter: number
  /** The SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** The issuer's distinguished name, DER. */
  readonly issuer: Uint8Array
  /** See `spkiFingerprint`. */
  fingerprint?: Uint8Array
}

/** The certificate in `der`. Undefined unless it is one X.509 certificate in strict DER that OpenSSL can also parse. */
export function readCertificate(der: Uint8Array): Certificate | undefined {
  const known = recent.find((one) => equal(one.der, der))
  if (known) return known
  const certificate = parse(new Uint8Array(der))
  if (certificate && recent.push(certificate) > MAX_RECENT) recent.shift()
  return certificate
}

/** A connection reads the same chain several times, and a burst of connections reads the same one. */
const recent: Certificate[] = []
const MAX_RECENT = 8

function parse(der: Uint8Array): Certificate | undefined {
  try {
    const fields = parseFields(der)
    return fields && { der, x509: new X509Certificate(der), ...fields }
  } catch {
    return undefined // strict DER, but OpenSSL does not accept it as a certificate
  }
}

/** Parsed by hand: to get the SPKI from Node, by building and exporting a key, takes most of a millisecond. */
function parseFields(der: Uint8Array): Omit<Certificate, 'der' | 'x509'> | undefined {
  return parseDer(der, (reader) => {
    const certificate = reader.enter(SEQUENCE)
    const tbs = certificate.enter(SEQUENCE)
    if (tbs.nextTag === explicit(0)) tbs.read() // version
    tbs.read(INTEGER) // serialNumber
    tbs.read(SEQUENCE) // signature
    const issuer = tbs.read(SEQUENCE).whole
    const validity = tbs.enter(SEQUENCE)
    const notBefore = validity.time()
    const notAfter = validity.time()
    validity.end()
    tbs.read(SEQUENCE) // subject
    const spki = tbs.read(SEQUENCE).whole
    certificate.read(SEQUENCE) // signatureAlgorithm
    certificate.read(BIT_STRING)
    certificate.end()
    return { notBefore, notAfter, spki, issuer }
  })
}

/** SHA-256 of the SubjectPublicKeyInfo. A ticket is bound to this public key. */
export const spkiFingerprint = (certificate: Certificate): Uint8Array =>
  (certificate.fingerprint ??= hash('sha256', certificate.spki, 'buffer'))

interface Question {
  readonly certificate: Certificate
  readonly name: string
  readonly check: CheckServerIdentity
}

let asked: (Question & { readonly answer: boolean }) | undefined

/**
 * Whether a certificate is valid for `name`, by Node's own rules. Node checks this only in a full handshake, so we
 * check it before a resumption. The last answer is kept, because a burst of connections asks the same question.
 */
export function isNamed(certificate: Certificate, name: string, check: CheckServerIdentity): boolean {
  if (asked?.name !== name || asked.certificate !== certificate || asked.check !== check) {
    asked = { certificate, name, check, answer: ask({ certificate, name, check }) }
  }
  return asked.answer
}

function ask({ certificate, name, check }: Question): boolean {
  try {
    return check(name, certificate.x509.toLegacyObject() as PeerCertificate) === undefined
  } catch {
    return false // Node cannot read its names
  }
}
