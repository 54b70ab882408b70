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
  return roots(texts, canonical(ca.map(digestOf)))
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

/** A build of the Node project's own. Others may have other roots, and an OpenSSL that was compiled otherwise. */
export function isOfficialBuild(): boolean {
  const { node_release_urlbase: builtBy } = process.config.variables as { node_release_urlbase?: string }
  return builtBy === 'https://nodejs.org/download/release/'
}

/** The roots of an official build are told by its version: to digest them takes a short process a millisecond. */
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

/** None where one of the texts is not read in full: then nothing is proven, and nothing stored. */
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
 * Of the bytes that Node hands to OpenSSL: a text goes there as UTF-8. Programs pass the same texts, bundles of 200 KB among
 * them, with each connection.
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

/** RFC 7468. Not `TRUSTED CERTIFICATE`, OpenSSL's own form: what it restricts we do not read. */
const PEM = /-----BEGIN (?:X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END (?:X509 )?CERTIFICATE-----/g

const BEGIN = /-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/g

/** All or none: OpenSSL may read what this does not, and use it. */
export function certificatesIn(text: string): Uint8Array[] | undefined {
  const blocks = [...text.matchAll(PEM)]
  if (blocks.length !== (text.match(BEGIN)?.length ?? 0)) return undefined
  return blocks.map(([, base64 = '']) => new Uint8Array(Buffer.from(base64, 'base64')))
}
