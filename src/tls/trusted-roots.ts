import { hash } from 'node:crypto'
import { asBuffer } from '../common/bytes.ts'
import { canonical } from '../common/canonical.ts'

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

/**
 * Those that Node trusts by default, as it tells them: PEM, one certificate a text. Node gives the same list until its
 * CAs change.
 *
 * @param bundled the roots that Node comes with, `tls.rootCertificates`
 */
export function defaultRoots(list: readonly string[], bundled: readonly string[]): TrustedRoots {
  if (last?.list !== list) last = { list, roots: roots(list, describe(list, bundled)) }
  return last.roots
}

/** The roots of an official build are told by its version: to digest them takes a short process a millisecond. */
function describe(list: readonly string[], bundled: readonly string[]): string {
  const official = process.release.headersUrl?.startsWith('https://nodejs.org/download/release/')
  const isBundled = official && list.length >= bundled.length && bundled.every((root, i) => root === list[i])
  const others = isBundled ? list.slice(bundled.length) : list
  return canonical([process.version, String(isBundled), hash('sha256', others.join('\n'))])
}

function roots(texts: readonly string[], description = canonical(texts.map(digestOf))): TrustedRoots {
  const digest = hash('sha256', description, 'base64url')
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
