import {
  BIT_STRING,
  BOOLEAN,
  type DerElement,
  DerError,
  type DerReader,
  explicit,
  IA5_STRING,
  INTEGER,
  implicit,
  NULL,
  OBJECT_IDENTIFIER,
  OCTET_STRING,
  PRINTABLE_STRING,
  parseDer,
  SEQUENCE,
  SET,
  UTF8_STRING,
} from './der.ts'

const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11] // 2.5.29.17
const DNS_NAME = implicit(2)
const IP_ADDRESS = implicit(7)

/**
 * Whether the certificate in `der` is of the plainest kind and is named `name`, in full or by a wildcard for the
 * first label. False says nothing: then Node has to be asked, which takes a short process several times as long.
 *
 * Plain is what nearly all certificates are, and a part of what OpenSSL can read (X.509 v3, RFC 5280): names of
 * printable ASCII, no unique identifiers, one subjectAltName with nothing but DNS names and addresses.
 *
 * @param name a DNS name in lower case
 */
export function isPlainlyNamed(der: Uint8Array, name: string): boolean {
  const isNamed = parseDer(der, (reader) => {
    const certificate = reader.enter(SEQUENCE)
    const tbs = certificate.enter(SEQUENCE)
    const version = tbs.enter(explicit(0))
    expect(version.integer() === 2)
    version.end()
    readSerialNumber(tbs)
    readAlgorithm(tbs)
    readName(tbs) // issuer
    const validity = tbs.enter(SEQUENCE)
    validity.time()
    validity.time()
    validity.end()
    readName(tbs) // subject
    const key = tbs.enter(SEQUENCE)
    readAlgorithm(key)
    readBits(key)
    key.end()
    const extensions = tbs.enter(explicit(3))
    const names = readExtensions(extensions.enter(SEQUENCE))
    extensions.end()
    tbs.end()
    readAlgorithm(certificate)
    readBits(certificate)
    certificate.end()
    return names !== undefined && holdsName(names, name)
  })
  return isNamed === true
}

/** Whatever is not plain. */
function expect(isPlain: boolean): void {
  if (!isPlain) throw new DerError('not plain')
}

function readSerialNumber(reader: DerReader): void {
  const number = reader.read(INTEGER)
  const first = number.octet(0)
  expect(first !== undefined && first < 0x80)
  expect(first !== 0 || number.length === 1 || number.octet(1)! >= 0x80)
}

/** AlgorithmIdentifier: parameters that are there are NULL, or the name of a curve. */
function readAlgorithm(reader: DerReader): void {
  const algorithm = reader.enter(SEQUENCE)
  readOid(algorithm)
  if (algorithm.done) return
  if (algorithm.nextTag === NULL) expect(algorithm.read().length === 0)
  else readOid(algorithm)
  algorithm.end()
}

function readOid(reader: DerReader): DerElement {
  const oid = reader.read(OBJECT_IDENTIFIER)
  let isStart = true
  for (let i = 0; i < oid.length; i++) {
    const octet = oid.octet(i)!
    expect(!(isStart && octet === 0x80)) // a leading zero
    isStart = octet < 0x80
  }
  expect(oid.length > 0 && isStart)
  return oid
}

function readName(reader: DerReader): void {
  for (const name = reader.enter(SEQUENCE); !name.done; ) {
    const attributes = name.enter(SET)
    const attribute = attributes.enter(SEQUENCE)
    readOid(attribute)
    const value = attribute.read()
    expect([UTF8_STRING, PRINTABLE_STRING, IA5_STRING].includes(value.tag) && isPrintable(value))
    attribute.end()
    attributes.end()
  }
}

/** Whole octets, as keys and signatures are. */
function readBits(reader: DerReader): void {
  expect(reader.read(BIT_STRING).octet(0) === 0)
}

/** @returns the content of the subjectAltName, if there is one */
function readExtensions(extensions: DerReader): DerElement | undefined {
  let names: DerElement | undefined
  expect(!extensions.done)
  while (!extensions.done) {
    const extension = extensions.enter(SEQUENCE)
    const oid = readOid(extension)
    if (extension.nextTag === BOOLEAN) {
      const critical = extension.read()
      expect(critical.length === 1 && critical.octet(0) === 0xff)
    }
    const content = extension.read(OCTET_STRING)
    extension.end()
    if (oid.length !== 3 || !SUBJECT_ALT_NAME.every((octet, i) => oid.octet(i) === octet)) continue
    expect(names === undefined)
    names = content
  }
  return names
}

function holdsName(subjectAltName: DerElement, name: string): boolean {
  const rest = name.indexOf('.')
  // Node takes no wildcard right below a top-level domain.
  const wildcard = name.includes('.', rest + 1) ? `*${name.slice(rest)}` : name
  const content = subjectAltName.inside()
  const names = content.enter(SEQUENCE)
  content.end()
  let found = false
  while (!names.done) {
    const one = names.read()
    if (one.tag === IP_ADDRESS) expect(one.length === 4 || one.length === 16)
    else expect(one.tag === DNS_NAME && isPrintable(one))
    found ||= one.tag === DNS_NAME && (isSame(one, name) || isSame(one, wildcard))
  }
  return found
}

function isPrintable(text: DerElement): boolean {
  for (let i = 0; i < text.length; i++) if (text.octet(i)! < 0x20 || text.octet(i)! > 0x7e) return false
  return text.length > 0
}

function isSame(text: DerElement, name: string): boolean {
  if (text.length !== name.length) return false
  for (let i = 0; i < name.length; i++) if (text.octet(i) !== name.charCodeAt(i)) return false
  return true
}
