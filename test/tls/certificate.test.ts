import { X509Certificate } from 'node:crypto'
import tls, { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { isNamed, readCertificate, spkiFingerprint } from '../../src/tls/certificate.ts'
import { createAuthority } from '../support/pki.ts'
import { mutate, random } from './mutations.ts'

const derOf = async (names: string[], commonName?: string, keyType: 'ecdsa' | 'rsa' = 'ecdsa') => {
  const { cert } = await (await createAuthority()).issue({
    names,
    keyType,
    ...(commonName && { commonName }),
  })
  return new Uint8Array(new X509Certificate(cert).raw)
}

let plain: Uint8Array[]
beforeAll(async () => {
  const subject = 'a.test,O=Example,L=Cologne,C=DE'
  const names = ['*.b.test', '127.0.0.1', '::1', 'a.test']
  plain = [await derOf(names, subject), await derOf(names, subject, 'rsa'), await derOf(['a.test'])]
})

describe('reading a certificate', () => {
  it('reads the bundled roots as OpenSSL does', () => {
    for (const pem of tls.rootCertificates) {
      const { raw, validFrom, validTo, publicKey } = new X509Certificate(pem)
      const certificate = readCertificate(raw)!
      expect(certificate.notAfter).toBe(Date.parse(validTo) / 1000)
      expect(certificate.notBefore).toBe(Date.parse(validFrom) / 1000)
      expect(Buffer.from(certificate.spki)).toEqual(publicKey.export({ type: 'spki', format: 'der' }))
      expect(certificate.der).toEqual(new Uint8Array(raw))
    }
  })

  it('reads 30,000 mutated certificates as OpenSSL does, or not at all', () => {
    const below = random(2_026)
    let compared = 0
    for (let i = 0; i < 30_000; i++) {
      const der = mutate(plain[below(plain.length)]!, plain[below(plain.length)]!, below)
      const certificate = readCertificate(der)
      if (!certificate) continue
      const { validFrom, validTo } = new X509Certificate(der)
      const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
      if (Number.isNaN(from) || Number.isNaN(to)) continue
      expect([certificate.notBefore, certificate.notAfter]).toEqual([from / 1000, to / 1000])
      compared++
    }
    expect(compared).toBeGreaterThan(1000)
  }, 120_000)

  it('copies the bytes, which may change later', () => {
    const bytes = new Uint8Array(plain[0]!)
    const read = readCertificate(bytes)!
    const { spki, notAfter } = structuredClone({ spki: read.spki, notAfter: read.notAfter })
    bytes.fill(0)
    expect(read).toMatchObject({ spki, notAfter })
    expect(readCertificate(bytes)).toBeUndefined()
    expect(readCertificate(plain[0]!)?.notAfter).toBe(notAfter)
  })

  it('gives the same result again after many other certificates', async () => {
    const fingerprints = plain.map((der) => Buffer.from(spkiFingerprint(readCertificate(der)!)))
    for (const pem of tls.rootCertificates.slice(0, 20)) readCertificate(new X509Certificate(pem).raw)
    expect(plain.map((der) => Buffer.from(spkiFingerprint(readCertificate(der)!)))).toEqual(fingerprints)
    expect(new Set(fingerprints.map(String)).size).toBe(3)
  })

  it('refuses a certificate that is truncated, empty or followed by other bytes', () => {
    expect(readCertificate(Buffer.concat([plain[0]!, Buffer.of(0)]))).toBeUndefined()
    expect(readCertificate(plain[0]!.subarray(0, -1))).toBeUndefined()
    expect(readCertificate(new Uint8Array(0))).toBeUndefined()
  })
})

describe('isNamed', () => {
  const NAMES = [
    ...['a.test', 'A.TEST', 'b.test', 'cn.test', 'x.w.test', 'x.y.w.test', 'w.test', 'exam.p.test', 'p.test'],
    ...['127.0.0.1', '127.0.0.2', '::1', 'localhost', '', 'xn--bcher-kva.test', 'a.test.', '.a.test'],
  ]

  it('agrees with tls.checkServerIdentity, in any order of names and certificates', async () => {
    const certificates = await Promise.all([
      derOf(['a.test', '127.0.0.1'], 'cn.test'),
      derOf(['*.w.test', 'e*m.p.test', 'B.test'], 'a.test'),
      derOf([], 'cn.test'),
      derOf(['*.test'], 'cn.test'),
    ])
    const byName = NAMES.flatMap((name) => certificates.map((der) => ({ name, der })))
    const byCertificate = certificates.flatMap((der) => NAMES.map((name) => ({ name, der })))
    let named = 0
    for (const { name, der } of [...byName, ...byCertificate]) {
      const legacy = new X509Certificate(der).toLegacyObject() as PeerCertificate
      const isTheirs = checkServerIdentity(name, legacy) === undefined
      expect([name, isNamed(readCertificate(der)!, name, checkServerIdentity)]).toEqual([name, isTheirs])
      if (isTheirs) named++
    }
    expect(named).toBeGreaterThan(10)
  })

  it('asks the function that it is given, not an earlier one', () => {
    const certificate = readCertificate(plain[0]!)!
    const throws = () => {
      throw new Error('no')
    }
    expect(isNamed(certificate, 'a.test', checkServerIdentity)).toBe(true)
    expect(isNamed(certificate, 'a.test', () => new Error('no'))).toBe(false)
    expect(isNamed(certificate, 'a.test', checkServerIdentity)).toBe(true)
    expect(isNamed(certificate, 'a.test', throws)).toBe(false)
  })
})
