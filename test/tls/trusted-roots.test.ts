import { X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { defaultRoots, rootsOf } from '../../src/tls/trusted-roots.ts'
import { createAuthority } from '../support/pki.ts'

let one: string
let two: string
beforeAll(async () => {
  one = (await createAuthority()).cert
  two = (await createAuthority()).cert
})

const der = (pem: string) => new Uint8Array(new X509Certificate(pem).raw)
const certificates = (...ca: (string | Uint8Array)[]) => rootsOf(ca).certificates()

describe('the trusted certificates', () => {
  it('are those of all texts and buffers, in their order', () => {
    expect(certificates(one + two)).toEqual([der(one), der(two)])
    expect(certificates(two, Buffer.from(one))).toEqual([der(two), der(one)])
    expect(certificates(`${one}${two}`, one)).toEqual([der(one), der(two), der(one)])
    expect(certificates()).toEqual([])
  })

  it.each<[string, (pem: string) => string]>([
    ['line ends of Windows', (pem) => pem.replaceAll('\n', '\r\n')],
    ['text around it', (pem) => `A root\n======\n${pem}\n# that was it\n`],
    ['no line end at its end', (pem) => pem.trimEnd()],
    ['the older label', (pem) => pem.replaceAll('CERTIFICATE', 'X509 CERTIFICATE')],
  ])('are read with %s', (_name, change) => {
    expect(certificates(change(one) + change(two).replace(/^/, '\n'))).toEqual([der(one), der(two)])
    expect(certificates(change(one))).toEqual([der(one)])
  })

  it('have no certificate whose use OpenSSL restricts', () => {
    const restricted = one.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')
    expect(certificates(restricted)).toEqual([])
  })

  it('are none at all where OpenSSL may read one that this does not', () => {
    const restricted = two.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')
    expect([certificates(one + restricted), certificates(one, restricted)]).toEqual([[], []])
  })

  it('have nothing that is not a certificate', () => {
    const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
    expect(certificates('', 'text', key, one.replace('-----END', '----END'))).toEqual([])
    expect(certificates(key + one)).toEqual([der(one)])
  })

  it('are all of the bundled roots', () => {
    const all = tls.rootCertificates.map((pem) => der(pem))
    expect(all.length).toBeGreaterThan(100)
    expect(defaultRoots(tls.rootCertificates, tls.rootCertificates).certificates()).toEqual(all)
  })
})

describe('their digest', () => {
  const digest = (...ca: (string | Uint8Array)[]) => rootsOf(ca).digest

  it('is the same for the same texts, whatever they are in', () => {
    expect(digest(Buffer.from(one), two)).toBe(digest(one, new Uint8Array(Buffer.from(two))))
  })

  it('differs for any other list of texts', () => {
    const texts = fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 })
    fc.assert(
      fc.property(texts, texts, (a, b) => {
        expect(digest(...a) === digest(...b)).toBe(JSON.stringify(a) === JSON.stringify(b))
      }),
      { numRuns: 2000 },
    )
  })

  it('is right, and so are the certificates, after many other lists', () => {
    const before = digest(one)
    for (let i = 0; i < 200; i++) rootsOf([`${i}`, `x${i}`])
    expect(digest(one)).toBe(before)
    expect(certificates(one)).toEqual([der(one)])
  })
})

describe('the digest of the default roots', () => {
  const bundled = tls.rootCertificates
  const digest = (list: readonly string[], roots = bundled) => defaultRoots(list, roots).digest

  it('is that of the list that Node gives now, not of one that it gave before', () => {
    const list = [...bundled, one]
    const [first, second] = [digest(list), digest([...bundled, two])]
    expect(first).not.toBe(second)
    expect(digest(list)).toBe(first)
    expect(digest([...list])).toBe(first)
  })

  it('differs with one root more or less, and with another order', () => {
    const lists = [
      bundled,
      [...bundled, one],
      [...bundled, one, two],
      [...bundled, two, one],
      bundled.slice(1),
      [one],
      [],
    ]
    expect(new Set(lists.map((list) => digest(list))).size).toBe(lists.length)
  })

  it('differs with the version of Node', () => {
    const { version } = process
    const ours = digest([...bundled])
    Object.defineProperty(process, 'version', { value: 'v20.99.0', configurable: true })
    const theirs = digest([...bundled])
    Object.defineProperty(process, 'version', { value: version, configurable: true })
    expect(theirs).not.toBe(ours)
  })

  it('differs where somebody has built the same version with other roots', () => {
    const { config } = process
    const variables = { ...config.variables, node_release_urlbase: '' }
    Object.defineProperty(process, 'config', { value: { ...config, variables }, configurable: true })
    const digests = [bundled, [...bundled, one], bundled.slice(1)].map((roots) => digest([...roots], roots))
    Object.defineProperty(process, 'config', { value: config, configurable: true })
    expect(new Set(digests).size).toBe(3)
  })
})
