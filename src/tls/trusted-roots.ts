import { hash } from 'node:crypto'
import { asBuffer } from '../common/bytes.ts'

/** The certificates that a connection trusts, by content. */
export interface TrustedRoots {
  /** SHA-256 of them all, in base64url. */
  readonly digest: string
  /** DER. Worked out when it is first asked for, which a resumption does not need. */
  certificates(): readonly Uint8Array[]
}

/** Those of the option `ca`: PEM in strings and buffers, of which each may hold several certificates. */
export function rootsOf(ca: readonly (string | Uint8Array)[]): TrustedRoots {
  const texts = ca.map((one) => (typeof one === 'string' ? one : asBuffer(one).toString('latin1')))
  return roots(texts)
}

let last: { readonly list: readonly string[]; readonly roots: TrustedRoots } | undefined

/** Those of a list that Node has made: one PEM text a certificate. Node gives the same list until its CAs change. */
export function rootsOfList(list: readonly string[]): TrustedRoots {
  if (last?.list !== list) last = { list, roots: roots(list) }
  return last.roots
}

function roots(texts: readonly string[]): TrustedRoots {
  const digest = hash('sha256', JSON.stringify(texts.map(digestOf)), 'base64url')
  let known = bySet.get(digest)
  if (!known) {
    let certificates: readonly Uint8Array[] | undefined
    known = { digest, certificates: () => (certificates ??= texts.flatMap(certificatesIn)) }
    remember(bySet, digest, known)
  }
  return known
}

const bySet = new Map<string, TrustedRoots>()
const MOST = 64

function remember<V>(map: Map<string, V>, name: string, value: V): void {
  if (map.size >= MOST) map.delete(map.keys().next().value!)
  map.set(name, value)
}

const byText = new Map<string, string>()

/** Programs pass the same texts, bundles of 200 KB among them, with each connection. */
function digestOf(text: string): string {
  let digest = byText.get(text)
  if (digest === undefined) {
    digest = hash('sha256', text, 'base64url')
    remember(byText, text, digest)
  }
  return digest
}

/** RFC 7468. Not `TRUSTED CERTIFICATE`, OpenSSL's own form: what it restricts we do not read. */
const PEM = /-----BEGIN (?:X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END (?:X509 )?CERTIFICATE-----/g

const certificatesIn = (text: string): Uint8Array[] =>
  [...text.matchAll(PEM)].map(([, base64 = '']) => new Uint8Array(Buffer.from(base64, 'base64')))
