import { hash } from 'node:crypto'
import { asBuffer } from '../common/bytes.ts'
import { canonical } from '../common/canonical.ts'

/** The CA certificates that a connection trusts, by content. */
export interface TrustedRoots {
  /** A SHA-256 digest that identifies the set, in base64url. */
  readonly digest: string
  /** DER. Parsed at the first call, which a resumption does not make. */
  certificates(): readonly Uint8Array[]
}

/** The certificates of the option `ca`: PEM in strings and buffers. Each may contain several certificates. */
export function rootsOf(ca: readonly (string | Uint8Array)[]): TrustedRoots {
  const texts = ca.map((one) => (typeof one === 'string' ? one : asBuffer(one).toString('latin1')))
  return roots(texts, canonical(ca.map(digestOf)))
}

let last: { readonly list: readonly string[]; readonly roots: TrustedRoots } | undefined

/**
 * The certificates that Node trusts by default, as Node lists them: PEM, one certificate per string. Node returns the
 * same array until its CAs change.
 *
 * @param bundled the roots that Node ships with, `tls.rootCertificates`
 */
export function defaultRoots(list: readonly string[], bundled: readonly string[]): TrustedRoots {
  if (last?.list !== list) last = { list, roots: roots(list, describe(list, bundled)) }
  return last.roots
}

/**
 * Whether the Node project made this build. Other builds may have other roots, or an OpenSSL with other compile-time
 * settings.
 */
export function isOfficialBuild(): boolean {
  const { node_release_urlbase: builtBy } = process.config.variables as { node_release_urlbase?: string }
  return builtBy === 'https://nodejs.org/download/release/'
}

/**
 * The version identifies the roots of an official build. To digest them would cost a short-lived process a millisecond.
 */
function describe(list: readonly string[], bundled: readonly string[]): string {
  const isBundled =
    isOfficialBuild() && list.length >= bundled.length && bundled.every((root, i) => root === list[i])
  const others = isBundled ? list.slice(bundled.length) : list
  return canonical([process.version, String(isBundled), hash('sha256', others.join('\n'))])
}

function roots(texts: readonly string[], description: string): TrustedRoots {
  const digest = hash('sha256', description, 'base64url')
  let known = bySet.get(digest)
  if (!known) {
    let certificates: readonly Uint8Array[] | undefined
    known = { digest, certificates: () => (certificates ??= allCertificatesIn(texts)) }
    remember(bySet, digest, known)
  }
  return known
}

/**
 * All certificates, or none if one of the texts cannot be fully parsed. With none, no chain can be verified, and
 * nothing is stored.
 */
function allCertificatesIn(texts: readonly string[]): Uint8Array[] {
  const all = texts.map(certificatesIn)
  return all.every((some) => some !== undefined) ? all.flat() : []
}

const bySet = new Map<string, TrustedRoots>()
const MOST = 64

function remember<V>(map: Map<string, V>, name: string, value: V): void {
  if (map.size >= MOST) map.delete(map.keys().next().value!)
  map.set(name, value)
}

const byText = new Map<string, string>()

/**
 * The digest of the bytes that Node passes to OpenSSL (a string is passed as UTF-8). Cached, because programs pass the
 * same strings, such as bundles of 200 KB, with each connection.
 */
function digestOf(text: string | Uint8Array): string {
  if (typeof text !== 'string') return hash('sha256', text, 'base64url')
  let digest = byText.get(text)
  if (digest === undefined) {
    digest = hash('sha256', text, 'base64url')
    remember(byText, text, digest)
  }
  return digest
}

/** RFC 7468. Does not match `TRUSTED CERTIFICATE`, OpenSSL's own form, whose restrictions we do not read. */
const PEM = /-----BEGIN (?:X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END (?:X509 )?CERTIFICATE-----/g

const BEGIN = /-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/g

/** All certificates in a text. Undefined if one cannot be parsed: OpenSSL might be able to parse it, and use it. */
export function certificatesIn(text: string): Uint8Array[] | undefined {
  const blocks = [...text.matchAll(PEM)]
  if (blocks.length !== (text.match(BEGIN)?.length ?? 0)) return undefined
  return blocks.map(([, base64 = '']) => new Uint8Array(Buffer.from(base64, 'base64')))
}
