import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { beforeAll, expect, it } from 'vitest'
import { describeClientCertificate } from '../../src/tls/client-certificate.ts'
import { createAuthority, type Identity } from '../support/pki.ts'

let alice: Identity
let bob: Identity
let rsa: Identity
beforeAll(async () => {
  const ca = await createAuthority()
  alice = await ca.issue({ client: true, commonName: 'alice' })
  bob = await ca.issue({ client: true, commonName: 'bob' })
  rsa = await ca.issue({ client: true, commonName: 'alice', keyType: 'rsa' })
})

const encrypted = (key: string, passphrase: string) =>
  createPrivateKey(key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }) as string

it('a certificate with its key is described by digests of both', () => {
  const { cert, key } = alice
  const described = describeClientCertificate({ cert, key })
  expect(described?.description).toMatch(/^[\w-]{43} [\w-]{43}$/)
  expect(described?.notAfter).toBe(Date.parse(new X509Certificate(cert).validTo) / 1000)
  expect(describeClientCertificate({ cert: Buffer.from(cert), key: Buffer.from(key) })).toEqual(described)
  expect(describeClientCertificate({ cert, key: encrypted(key, 'secret'), passphrase: 'secret' })).toEqual(
    described,
  )
})

it('each certificate and each key has its own description', async () => {
  const ca = await createAuthority()
  const renewed = await ca.issue({ client: true, commonName: 'alice', keys: alice.keys })
  const all = [alice, bob, rsa, renewed].map(
    ({ cert, key }) => describeClientCertificate({ cert, key })?.description,
  )
  expect(all).not.toContain(undefined)
  expect(new Set(all).size).toBe(4)
})

it('the intermediates that are sent with a certificate change its description', async () => {
  const ca = await createAuthority()
  const { cert, key } = await (await ca.intermediate()).issue({ client: true })
  const leaf = `${cert.split('-----END CERTIFICATE-----')[0]}-----END CERTIFICATE-----\n`
  expect(describeClientCertificate({ cert, key })).toBeDefined()
  expect(describeClientCertificate({ cert, key })?.description).not.toBe(
    describeClientCertificate({ cert: leaf, key })?.description,
  )
})

it('a key that does not match is not described, whether of the same type or of another', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  })
  expect(describeClientCertificate({ cert: alice.cert, key: bob.key })).toBeUndefined()
  expect(describeClientCertificate({ cert: rsa.cert, key: alice.key })).toBeUndefined()
  expect(describeClientCertificate({ cert: rsa.cert, key: ec })).toBeUndefined()
})

it('only one certificate with its one key is described', () => {
  const { cert, key } = alice
  const others: Record<string, unknown>[] = [
    { cert },
    { key },
    { cert: '', key },
    { cert: [cert], key },
    { cert: [cert, bob.cert], key: bob.key },
    { cert, key: [key] },
    { cert, key: { pem: key } },
    { cert, key: createPrivateKey(key) },
    { cert, key, pfx: 'x' },
    { cert, key: encrypted(key, 'secret') },
    { cert, key: encrypted(key, 'secret'), passphrase: 'wrong' },
    { cert, key: encrypted(key, 'secret'), passphrase: Buffer.from('secret') },
    { cert: 'junk', key },
    { cert, key: 'junk' },
  ]
  for (const options of others) expect(describeClientCertificate(options)).toBeUndefined()
})

it('a forged key with the right public half and another secret half has another description', () => {
  const { cert, key } = alice
  const real = createPrivateKey(key)
  const der = real.export({ type: 'pkcs8', format: 'der' })
  const secret = Buffer.from(real.export({ format: 'jwk' }).d!, 'base64url')
  const at = der.indexOf(secret)
  der.fill(0, at, at + 31)[at + 31] = 7
  const forged = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
  expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(forged))).toBe(true)
  expect(describeClientCertificate({ cert, key: forged })?.description).not.toBe(
    describeClientCertificate({ cert, key })?.description,
  )
})

it('the description ends with the first certificate that expires', async () => {
  const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000)
  const middle = await (await createAuthority()).intermediate({ notAfter })
  const { cert, key } = await middle.issue({ client: true })
  expect(describeClientCertificate({ cert, key })?.notAfter).toBe(notAfter.getTime() / 1000)
})
