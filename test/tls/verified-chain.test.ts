import { createPrivateKey, sign, X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { BIT_STRING, parseDer, SEQUENCE } from '../../src/tls/der.ts'
import { rootsOf } from '../../src/tls/trusted-roots.ts'
import { endOfTrust } from '../../src/tls/verified-chain.ts'
import { certify, type Entity, entity, pem, type Validity } from '../support/certificates.ts'

const DAY = 86_400
const now = Math.floor(Date.now() / 1000)
const inDays = (days: number) => now + days * DAY
const NOT_PROVEN = undefined

let server: Entity
let root: Entity
let otherRoot: Entity
let middle: Entity
let upper: Entity
/** A certificate of each entity. */
let leaf: Uint8Array
let leafOfRoot: Uint8Array
let rootCert: Uint8Array
let otherRootCert: Uint8Array
let middleCert: Uint8Array

beforeAll(async () => {
  server = await entity('a.test')
  root = await entity('root')
  otherRoot = await entity('other root')
  middle = await entity('middle')
  upper = await entity('upper')
  leaf = await certify(server, middle, { to: inDays(30), ca: false })
  leafOfRoot = await certify(server, root, { to: inDays(30), ca: false })
  rootCert = await certify(root, root, { to: inDays(1000) })
  otherRootCert = await certify(otherRoot, otherRoot, { to: inDays(1000) })
  middleCert = await certify(middle, root, { to: inDays(100) })
})

interface Options {
  readonly partial?: boolean
  readonly at?: number
}

const end = (sent: Uint8Array[], trusted: Uint8Array[], { partial = false, at = now }: Options = {}) =>
  endOfTrust(sent, rootsOf(trusted.map(pem)), partial, at)

const issued = (subject: Entity, issuer: Entity, days: number, more: Partial<Validity> = {}) =>
  certify(subject, issuer, { to: inDays(days), ...more })

describe('a plain chain', () => {
  it('ends with the first of its certificates', async () => {
    expect(end([leaf, middleCert], [rootCert])).toBe(inDays(30))
    expect(end([leafOfRoot], [rootCert])).toBe(inDays(30))
    expect(end([leaf, await issued(middle, root, 20)], [rootCert])).toBe(inDays(20))
    expect(end([leaf, middleCert], [await issued(root, root, 10)])).toBe(inDays(10))
  })

  it('is proven with or without its root and in any order', () => {
    expect(end([leaf, middleCert, rootCert], [rootCert])).toBe(inDays(30))
    expect(end([leaf, rootCert, middleCert], [otherRootCert, rootCert])).toBe(inDays(30))
  })

  it('is not proven without a trusted root or with a certificate missing', () => {
    expect(end([], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, middleCert, rootCert], [])).toBe(NOT_PROVEN)
    expect(end([leaf, middleCert, rootCert], [otherRootCert])).toBe(NOT_PROVEN)
    expect(end([leaf], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, otherRootCert], [otherRootCert])).toBe(NOT_PROVEN)
  })

  it('is proven with an intermediate that is only among the trusted certificates', () => {
    expect(end([leaf], [middleCert, rootCert])).toBe(inDays(30))
  })

  it('of a server certificate that is itself trusted is proven', async () => {
    const own = await issued(server, server, 5)
    expect(end([own], [own])).toBe(inDays(5))
    expect(end([own], [await issued(server, server, 5)])).toBe(inDays(5))
    expect(end([own], [rootCert])).toBe(NOT_PROVEN)
  })
})

describe('a signature decides, not a name', () => {
  it('a false root with the name of a trusted one proves nothing', async () => {
    const fake = { ...root, keys: (await entity('fake')).keys }
    const leafOfFake = await issued(server, fake, 30)
    expect(end([leafOfFake, await issued(fake, fake, 1000)], [rootCert])).toBe(NOT_PROVEN)
  })

  it('a false self-signed certificate does not hide the end of the root that has issued', async () => {
    const fake = { ...root, keys: (await entity('fake')).keys }
    const soon = await issued(root, root, 2)
    expect(end([leafOfRoot, await issued(fake, fake, 1000)], [soon])).toBe(inDays(2))
  })

  it('a certificate that was changed proves nothing', () => {
    const changed = new Uint8Array(middleCert)
    changed[changed.length - 1]! ^= 1
    expect(end([leaf, changed], [rootCert])).toBe(NOT_PROVEN)
  })

  it('a certificate that may not issue others proves nothing', async () => {
    expect(end([leaf, await issued(middle, root, 100, { ca: false })], [rootCert])).toBe(NOT_PROVEN)
  })
})

describe('the first end of all possible paths counts with', () => {
  it('a sent chain that ends at one root and a trusted root that has also signed', async () => {
    const crossed = await issued(middle, otherRoot, 100)
    expect(end([leaf, crossed, otherRootCert], [otherRootCert])).toBe(inDays(30))
    expect(end([leaf, crossed], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, crossed, middleCert], [rootCert])).toBe(inDays(30))
    expect(end([leaf, await issued(middle, otherRoot, 3), middleCert], [rootCert])).toBe(inDays(3))
  })

  it('two roots with the same name and key', async () => {
    const early = await issued(root, root, 7)
    for (const trusted of [
      [rootCert, early],
      [early, rootCert],
    ]) {
      expect(end([leaf, middleCert], trusted)).toBe(inDays(7))
    }
    expect(end([leaf, middleCert, early], [rootCert])).toBe(inDays(7))
  })

  it('two intermediates with the same name and key', async () => {
    const early = await issued(middle, root, 7)
    expect(end([leaf, early, middleCert], [rootCert])).toBe(inDays(7))
    expect(end([leaf, middleCert, early], [rootCert])).toBe(inDays(7))
    expect(end([leaf, middleCert], [rootCert, early])).toBe(inDays(7))
  })

  it('certificates that are part of no path, which are ignored', async () => {
    const foreign = await issued(upper, otherRoot, 2)
    expect(end([leaf, middleCert, foreign], [rootCert, otherRootCert, foreign])).toBe(inDays(30))
  })
})

describe('an expired certificate', () => {
  it('proves nothing if it is needed', async () => {
    const expired = await issued(middle, root, -1)
    expect(end([leaf, expired], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, middleCert], [await issued(root, root, -1)])).toBe(NOT_PROVEN)
    expect(end([await issued(server, root, -1)], [rootCert])).toBe(NOT_PROVEN)
  })

  it('is ignored if it is not needed', async () => {
    const expired = await issued(middle, root, -1)
    expect(end([leaf, expired, middleCert], [rootCert])).toBe(inDays(30))
    expect(end([leaf, middleCert], [await issued(root, root, -1), rootCert])).toBe(inDays(30))
  })

  it('proves nothing from its last second on, even if it proved something before', () => {
    expect(end([leaf, middleCert], [rootCert], { at: inDays(30) - 1 })).toBe(inDays(30))
    expect(end([leaf, middleCert], [rootCert], { at: inDays(30) })).toBe(NOT_PROVEN)
  })

  it('leaves the certificates that end later', async () => {
    const early = await issued(middle, root, 7)
    expect(end([leaf, early, middleCert], [rootCert])).toBe(inDays(7))
    expect(end([leaf, early, middleCert], [rootCert], { at: inDays(8) })).toBe(inDays(30))
  })

  it('and one that begins tomorrow are not part of what was verified today', async () => {
    const future = await issued(middle, root, 100, { from: inDays(1) })
    expect(end([leaf, future], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, future, middleCert], [rootCert])).toBe(inDays(1))
    expect(end([leaf, future, await issued(middle, otherRoot, 9)], [otherRootCert, rootCert])).toBe(inDays(1))
  })
})

describe('a partial chain', () => {
  it('is proven only if partial chains are allowed', () => {
    expect(end([leaf, middleCert], [middleCert])).toBe(NOT_PROVEN)
    expect(end([leaf, middleCert], [middleCert], { partial: true })).toBe(inDays(30))
    expect(end([leaf], [middleCert], { partial: true })).toBe(inDays(30))
    expect(end([leaf], [leaf], { partial: true })).toBe(inDays(30))
    expect(end([leaf], [leaf])).toBe(NOT_PROVEN)
  })

  it('is checked again if that changes', () => {
    expect(end([leaf, middleCert], [middleCert], { partial: true })).toBe(inDays(30))
    expect(end([leaf, middleCert], [middleCert])).toBe(NOT_PROVEN)
  })

  it('ends also with the certificates above the trusted one, which OpenSSL may have used', async () => {
    const soon = await issued(root, root, 4)
    expect(end([leaf, middleCert], [middleCert, soon], { partial: true })).toBe(inDays(4))
  })
})

describe('in a hostile chain', () => {
  it('a loop of certificates is no endless loop', async () => {
    const one = await issued(middle, upper, 50)
    const two = await issued(upper, middle, 40)
    expect(end([leaf, one, two], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, one, two, middleCert], [rootCert])).toBe(inDays(30))
    expect(end([leaf, one, two, leaf, one], [two])).toBe(NOT_PROVEN)
  })

  it('16 certificates are checked, and a 17th proves nothing', async () => {
    const foreign = await Promise.all(Array.from({ length: 14 }, () => issued(upper, otherRoot, 50)))
    expect(end([leaf, middleCert, ...foreign], [rootCert])).toBe(inDays(30))
    expect(end([leaf, middleCert, ...foreign, rootCert], [rootCert])).toBe(NOT_PROVEN)
  })

  it('more than 16 possible certificates of a path prove nothing, since one of the others may end earlier', async () => {
    const long = await issued(middle, upper, 100)
    const expired = await Promise.all(Array.from({ length: 12 }, () => issued(upper, otherRoot, -1)))
    const soon = await issued(upper, otherRoot, 1)
    const trusted = [rootCert, otherRootCert]
    // `middleCert` leads to a trusted root before the rest is checked.
    const sent = [leaf, middleCert, long, ...expired, soon]
    expect(sent.length).toBeLessThanOrEqual(16)
    expect(end(sent.slice(0, 10).concat(soon), trusted)).toBe(inDays(1))
    expect(end(sent, trusted)).toBe(NOT_PROVEN)
  })

  it('a certificate that only OpenSSL can read proves nothing and does not hide its end', async () => {
    const loose = await looselyEncoded(await issued(middle, root, 1), root)
    expect(new X509Certificate(loose).verify(new X509Certificate(rootCert).publicKey)).toBe(true)
    expect(end([leaf, loose], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, loose, middleCert], [rootCert])).toBe(NOT_PROVEN)
  })
})

/** The same certificate in BER, with a length that is not the shortest, signed again. OpenSSL accepts that. */
async function looselyEncoded(der: Uint8Array, issuer: Entity): Promise<Uint8Array> {
  const [tbs, algorithm] = parseDer(der, (reader) => {
    const fields = reader.enter(SEQUENCE)
    const read = [fields.read(SEQUENCE), fields.read(SEQUENCE).whole] as const
    fields.read(BIT_STRING)
    return read
  })!
  const looseTbs = Buffer.concat([sequenceHeader(tbs.length), tbs.value])
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', issuer.keys.privateKey))
  const signature = sign('sha256', looseTbs, createPrivateKey({ key, format: 'der', type: 'pkcs8' }))
  const content = Buffer.concat([
    looseTbs,
    algorithm,
    Buffer.of(BIT_STRING, signature.length + 1, 0),
    signature,
  ])
  return Buffer.concat([sequenceHeader(content.length), content])
}

/** With the length in three bytes. */
const sequenceHeader = (length: number) => Buffer.of(SEQUENCE, 0x83, 0, length >> 8, length & 0xff)

describe('names that OpenSSL considers equal despite their spelling', () => {
  it('match the name of a root, among few and among many trusted certificates', async () => {
    const named = (name: Entity['name']) => ({ ...root, name })
    const utf8 = named([{ CN: [{ utf8String: 'root' }] }])
    for (const other of [named('CN=ROOT'), named([{ CN: [{ printableString: 'root' }] }])]) {
      const certificate = await issued(server, utf8, 30, { ca: false })
      const [same, respelled] = [await issued(utf8, utf8, 1000), await issued(other, other, 20)]
      expect(new X509Certificate(certificate).checkIssued(new X509Certificate(respelled))).toBe(true)
      expect(end([certificate], [respelled])).toBe(inDays(20))
      expect(end([certificate], [same, respelled])).toBe(inDays(20))
      const many = rootsOf([...tls.rootCertificates, pem(same), pem(respelled)])
      expect(endOfTrust([certificate], many, false, now)).toBe(inDays(20))
    }
  })

  it('do not hide the end of a certificate that is sent', async () => {
    const respelled = await issued({ ...middle, name: 'CN=MIDDLE' }, root, 6)
    for (const sent of [
      [leaf, respelled, middleCert],
      [leaf, middleCert, respelled],
    ]) {
      expect(end(sent, [rootCert])).toBe(inDays(6))
    }
  })
})

describe('the bundled roots', () => {
  const all = rootsOf(tls.rootCertificates)

  it('and one more are all searched', () => {
    const withOurs = rootsOf([...tls.rootCertificates, pem(rootCert)])
    expect(withOurs.certificates().length).toBeGreaterThan(100)
    expect(endOfTrust([leaf, middleCert], withOurs, false, now)).toBe(inDays(30))
    expect(endOfTrust([leaf, middleCert], all, false, now)).toBe(NOT_PROVEN)
  })

  it('are each proven by themselves', () => {
    for (const der of all.certificates()) {
      const { validTo } = new X509Certificate(der)
      const ends = endOfTrust([der], all, false, now) ?? 0
      expect(ends).toBeGreaterThan(now)
      expect(ends).toBeLessThanOrEqual(Date.parse(validTo) / 1000)
    }
  })
})

it('the answer for one chain is not given for another', () => {
  expect(end([leaf, middleCert], [rootCert])).toBe(inDays(30))
  expect(end([leaf, middleCert], [otherRootCert])).toBe(NOT_PROVEN)
  expect(end([leaf], [rootCert])).toBe(NOT_PROVEN)
  expect(end([leafOfRoot, middleCert], [rootCert])).toBe(inDays(30))
})

describe('among more trusted certificates than are all compared', () => {
  /** They have issued nothing. */
  const others = () =>
    Promise.all(
      [...Array(33).keys()].map((i) => issued({ ...server, name: `CN=one of many ${i}` }, otherRoot, 1000)),
    )
  const word = 'w'.repeat(43)

  it.each([
    ['a length before its longest word that looks like a digit', `${word} ab cd`, `${word}  ab cd`],
    ['other white space', `a ${word}`, `a  ${word}`],
    ['other case', `${word} ab`, `${word.toUpperCase()} AB`],
  ])('a root is found whose name has %s', async (_what, name, otherName) => {
    const signer = await entity(name)
    const soon = await issued(
      { ...signer, name: `CN=${otherName}` },
      { ...signer, name: `CN=${otherName}` },
      1,
    )
    const lasting = await issued(middle, otherRoot, 100)
    const crossed = await issued(middle, signer, 100)
    const trusted = [soon, otherRootCert, crossed, ...(await others())]
    expect(end([leaf, lasting], trusted)).toBe(inDays(1))
  })

  it('a root is found whose name is a string with two bytes for each character', async () => {
    const signer = await entity([{ CN: [{ bmpString: 'a long common name' }] }])
    const soon = await issued(signer, signer, 1)
    const crossed = await issued(middle, { ...signer, name: 'CN=a long common name' }, 100)
    const lasting = await issued(middle, otherRoot, 100)
    expect(end([leaf, lasting], [soon, otherRootCert, crossed, ...(await others())])).toBe(inDays(1))
  })
})

describe('a certificate that is not yet valid', () => {
  it('ends the trust when it becomes valid within a day, since OpenSSL may choose it', async () => {
    const later = await issued(middle, otherRoot, 100, { from: now + 3600 })
    expect(end([leaf, middleCert], [later, rootCert])).toBe(now + 3600)
  })

  it('ends the trust even if only its name matches', async () => {
    const fake = { ...middle, keys: (await entity('fake')).keys }
    expect(end([leaf, middleCert], [await issued(fake, otherRoot, 100, { from: now + 60 }), rootCert])).toBe(
      now + 60,
    )
  })

  it('proves nothing in its first minute either, since another clock may be behind', async () => {
    const fresh = await issued(middle, root, 100, { from: now - 30 })
    expect(end([leaf, fresh], [rootCert])).toBe(NOT_PROVEN)
    expect(end([leaf, fresh], [rootCert], { at: now + 31 })).toBe(inDays(30))
  })
})
