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
  it('are those of all texts and buffers, in order', () => {
    expect(certificates(one + two)).toEqual([der(one), der(two)])
    expect(certificates(two, Buffer.from(one))).toEqual([der(two), der(one)])
    expect(certificates(`${one}${two}`, one)).toEqual([der(one), der(two), der(one)])
    expect(certificates()).toEqual([])
  })

  it.each<[string, (pem: string) => string]>([
    ['CRLF line ends', (pem) => pem.replaceAll('\n', '\r\n')],
    ['text around them', (pem) => `A root\n======\n${pem}\n# that was it\n`],
    ['no newline at the end', (pem) => pem.trimEnd()],
    ['the older label', (pem) => pem.replaceAll('CERTIFICATE', 'X509 CERTIFICATE')],
  ])('are read with %s', (_name, change) => {
    expect(certificates(change(one) + change(two).replace(/^/, '\n'))).toEqual([der(one), der(two)])
    expect(certificates(change(one))).toEqual([der(one)])
  })

  it('include no TRUSTED CERTIFICATE, whose use OpenSSL restricts', () => {
    const restricted = one.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')
    expect(certificates(restricted)).toEqual([])
  })

  it('are none at all if OpenSSL may read a certificate that ticketkeep does not', () => {
    const restricted = two.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')
    expect([certificates(one + restricted), certificates(one, restricted)]).toEqual([[], []])
  })

  it('include nothing but certificates', () => {
    const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
    expect(certificates('', 'text', key, one.replace('-----END', '----END'))).toEqual([])
    expect(certificates(key + one)).toEqual([der(one)])
  })

  it('include all bundled roots', () => {
    const all = tls.rootCertificates.map((pem) => der(pem))
    expect(all.length).toBeGreaterThan(100)
    expect(defaultRoots(tls.rootCertificates, tls.rootCertificates).certificates()).toEqual(all)
  })
})

describe('the digest of trusted certificates', () => {
  const digest = (...ca: (string | Uint8Array)[]) => rootsOf(ca).digest

  it('is the same for the same content as text, buffer or array', () => {
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

  it('is still right after many other lists, and so are the certificates', () => {
    const before = digest(one)
    for (let i = 0; i < 200; i++) rootsOf([`${i}`, `x${i}`])
    expect(digest(one)).toBe(before)
    expect(certificates(one)).toEqual([der(one)])
  })
})

describe('the digest of the default roots', () => {
  const bundled = tls.rootCertificates
  const digest = (list: readonly string[], roots = bundled) => defaultRoots(list, roots).digest

  it('is that of the list that Node returns now, not of an earlier one', () => {
    const list = [...bundled, one]
    const [first, second] = [digest(list), digest([...bundled, two])]
    expect(first).not.toBe(second)
    expect(digest(list)).toBe(first)
    expect(digest([...list])).toBe(first)
  })

  it('differs with one root more or less and with another order', () => {
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

  it('differs if the same version was built with other roots', () => {
    const { config } = process
    const variables = { ...config.variables, node_release_urlbase: '' }
    Object.defineProperty(process, 'config', { value: { ...config, variables }, configurable: true })
    const digests = [bundled, [...bundled, one], bundled.slice(1)].map((roots) => digest([...roots], roots))
    Object.defineProperty(process, 'config', { value: config, configurable: true })
    expect(new Set(digests).size).toBe(3)
  })
})
