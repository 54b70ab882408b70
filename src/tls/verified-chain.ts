import { asBuffer, equal } from '../common/bytes.ts'
import { MAX_SKEW } from '../ticket-entry.ts'
import { type Certificate, readCertificate } from './certificate.ts'
import { type DerReader, parseDer, SEQUENCE, SET } from './der.ts'
import type { TrustedRoots } from './trusted-roots.ts'

/** More certificates than any real chain has. */
const MOST = 16

/**
 * When the trust in a server's certificate ends at the latest: UNIX seconds. Undefined if no path of signatures leads
 * from it to a trusted root.
 *
 * Node shows the chain that the server sent, but OpenSSL may have verified another. The server could thus choose which
 * certificates we check. So each step is checked by signature here, and every certificate that can be part of a path
 * counts: the trust ends when the first of them expires.
 *
 * @param sent DER, the server's own certificate first
 * @param partial whether a trusted certificate that is not self-signed may end a path (`allowPartialTrustChain`)
 * @param now UNIX seconds
 */
export function endOfTrust(
  sent: readonly Uint8Array[],
  trusted: TrustedRoots,
  partial: boolean,
  now: number,
): number | undefined {
  if (sent.length === 0 || sent.length > MOST) return undefined
  const isSame = last?.roots === trusted.digest && last.partial === partial && areSame(last.sent, sent)
  if (!last || !isSame || last.end === undefined || last.end <= now) {
    last = { sent, roots: trusted.digest, partial, end: follow(sent, trusted, partial, now) }
  }
  return last.end
}

/** The last result. A burst of connections has the same chain. */
let last:
  | {
      readonly sent: readonly Uint8Array[]
      readonly roots: string
      readonly partial: boolean
      readonly end: number | undefined
    }
  | undefined

const areSame = (a: readonly Uint8Array[], b: readonly Uint8Array[]) =>
  a.length === b.length && a.every((one, i) => equal(one, b[i]!))

function follow(
  sent: readonly Uint8Array[],
  trusted: TrustedRoots,
  partial: boolean,
  now: number,
): number | undefined {
  const path = [readCertificate(sent[0]!)]
  let isAnchored = false
  let end = Number.POSITIVE_INFINITY
  for (let i = 0; i < path.length; i++) {
    const one = path[i]
    if (!one) return undefined // our parser rejects it
    // OpenSSL skips expired certificates, so the path that it verified is among the others.
    if (one.notAfter <= now) continue
    // A program whose clock is slightly behind would reject it as not yet valid.
    if (now < one.notBefore + MAX_SKEW) return undefined
    end = Math.min(end, one.notAfter)
    if (isTrusted(one, trusted) && (partial || one.x509.verify(one.x509.publicKey))) isAnchored = true
    for (const der of [...sent, ...candidates(one, trusted)]) {
      if (path.some((known) => equal(known!.der, der))) continue
      const issuer = readCertificate(der)
      if (!issuer) return undefined // OpenSSL might be able to parse it, and use it
      if (!one.x509.checkIssued(issuer.x509)) continue
      // Once this issuer becomes valid, OpenSSL may choose it by name alone and then fail to verify.
      if (now < issuer.notBefore) end = Math.min(end, issuer.notBefore)
      if (now < issuer.notBefore || !one.x509.verify(issuer.x509.publicKey)) continue
      if (path.length === MOST) return undefined // one of the others might expire earlier
      path.push(issuer)
    }
  }
  return isAnchored ? end : undefined
}

/** With more trusted certificates than this, only likely issuers are parsed. */
const FEW = 32

/**
 * The trusted certificates that may have issued a certificate. OpenSSL compares names regardless of case, string type
 * and white space. So from a long list, a certificate is left out only if it lacks a whole word of the issuer's name.
 */
function candidates({ issuer }: Certificate, trusted: TrustedRoots): readonly Uint8Array[] {
  const all = trusted.certificates()
  if (all.length <= FEW) return all
  const words = valuesIn(issuer).flatMap((value) => textOf(value).match(/[a-z0-9]+/g) ?? [])
  const word = words.reduce((longest, one) => (one.length > longest.length ? one : longest), '')
  return all.filter((der) => textOf(der).includes(word))
}

/** The strings of a distinguished name (RFC 5280, 4.1.2.4). Empty if it is malformed. */
function valuesIn(name: Uint8Array): Uint8Array[] {
  const read = (reader: DerReader) => {
    const values: Uint8Array[] = []
    for (const sets = reader.enter(SEQUENCE); !sets.done; ) {
      for (const pairs = sets.enter(SET); !pairs.done; ) {
        const pair = pairs.enter(SEQUENCE)
        pair.read() // which attribute
        values.push(pair.read().value)
      }
    }
    return values
  }
  return parseDer(name, read) ?? []
}

/**
 * Removes NUL bytes, so that strings with two or four bytes per character (BMPString, UniversalString) compare equal.
 */
const textOf = (bytes: Uint8Array) => asBuffer(bytes).toString('latin1').replaceAll('\0', '').toLowerCase()

const isTrusted = ({ der }: Certificate, trusted: TrustedRoots) =>
  trusted.certificates().some((one) => equal(one, der))
