import { isMutual, NOT_OVER_A_SOCKET, SERVERS } from './servers.ts'
import type { Way } from './way.ts'

// Ways to refuse a server by the options of one connection, or by looking at the socket once it is connected.

/** Where programs say `127.0.0.1` and a name. */
const AT_ADDRESS = SERVERS.filter((name) => !['tunnel', 'named', 'wildcard', 'address'].includes(name))

const trusted: Way[] = [
  { name: 'no CA', options: '{ ...base, ca: undefined }' },
  { name: 'an empty list of CAs', options: '{ ...base, ca: [] }' },
  { name: 'another CA', options: '{ ...base, ca: w.other }' },
  { name: 'another CA of the same name', options: '{ ...base, ca: w.namesake }' },
  {
    name: 'only the intermediate as CA',
    options: '{ ...base, ca: w.issuer, allowPartialTrustChain: false }',
  },
  { name: 'only the leaf as CA', options: '{ ...base, ca: w.leaf, allowPartialTrustChain: false }' },
  {
    name: 'a list of CAs that shows the right one at the second look',
    before: `let looks = 0
      const list = Object.defineProperty([], '0', {
        enumerable: true, get: () => (looks++ === 0 ? w.other : w.ca) })`,
    options: '{ ...base, ca: list }',
  },
  { name: 'crl that revokes the server', options: '{ ...base, crl: w.crls }' },
  { name: 'crl of somebody else’s', options: '{ ...base, ca: w.other, crl: w.emptyCrls }' },
  {
    name: 'secureContext of another CA',
    options: '{ ...base, secureContext: tls.createSecureContext({ ca: w.other }) }',
  },
  {
    name: 'secureContext given a revocation list',
    options: `{ ...base, secureContext: ((context) => (w.crls.forEach((crl) => context.context.addCRL(crl)), context))(
      tls.createSecureContext(base)) }`,
  },
  {
    name: 'secureContext given another level',
    options: `{ ...base, secureContext: ((context) => (context.context.setCiphers('DEFAULT@SECLEVEL=4'), context))(
      tls.createSecureContext(base)) }`,
  },
  {
    name: 'secureContext given other signatures',
    options: `{ ...base, secureContext: ((context) => (context.context.setSigalgs('ed25519'), context))(
      tls.createSecureContext(base)) }`,
  },
  {
    name: 'secureContext with the native half of another',
    options: `{ ...base, secureContext: Object.assign(tls.createSecureContext(base),
      { context: tls.createSecureContext({ ca: w.other }).context }) }`,
  },
]

const named: Way[] = [
  { name: 'another name', options: "{ ...base, servername: 'b.test' }" },
  { name: 'another name below the wildcard’s', options: "{ ...base, servername: 'x.www.wild.test' }" },
  { name: 'no name but the address', on: AT_ADDRESS, options: '{ ...base, servername: undefined }' },
  { name: 'over a socket, another name', on: ['tunnel'], options: "{ ...base, servername: 'b.test' }" },
  {
    name: 'over a socket to another host, without a name',
    on: ['tunnel'],
    options: "{ ...base, host: 'b.test' }",
  },
  {
    name: 'https.get with another name in its Host header',
    on: AT_ADDRESS,
    connect: "request({ ...base, servername: undefined, headers: { host: 'b.test' } })",
  },
  {
    name: 'checkServerIdentity that refuses',
    options: "{ ...base, checkServerIdentity: () => Object.assign(new Error('pin'), { code: 'PIN' }) }",
  },
  {
    name: 'checkServerIdentity with a pin around Node’s own',
    options: `{ ...base, checkServerIdentity: (name, certificate) => tls.checkServerIdentity(name, certificate)
      ?? (certificate.fingerprint256 === 'the pin' ? undefined : Object.assign(new Error('pin'), { code: 'PIN' })) }`,
  },
  {
    name: 'rejectUnauthorized: false, and the program looks at authorized',
    options: '{ ...base, ca: w.other, rejectUnauthorized: false }',
    judge: '(socket) => socket.authorized',
  },
]

const protocol: Way[] = [
  {
    name: 'a minVersion that is too high',
    versions: ['TLSv1.2'],
    options: "{ ...base, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' }",
  },
  {
    name: 'a maxVersion that is too low',
    versions: ['TLSv1.3'],
    options: "{ ...base, maxVersion: 'TLSv1.2' }",
  },
  { name: 'a secureProtocol that is too old', options: "{ ...base, secureProtocol: 'TLSv1_1_method' }" },
  {
    name: 'ciphers that the server has not',
    options: "{ ...base, ciphers: 'TLS_AES_128_CCM_SHA256:AES128-SHA256' }",
  },
  { name: 'ciphers at the default level', options: '{ ...base, ciphers: undefined }' },
  ...[1, 2, 3, 4, 5].map((level) => ({
    name: `ciphers at level ${level}`,
    options: `{ ...base, ciphers: 'DEFAULT@SECLEVEL=${level}' }`,
  })),
  { name: 'sigalgs that the server has not', options: "{ ...base, sigalgs: 'ed25519' }" },
  { name: 'ecdhCurve that the server has not', options: "{ ...base, ecdhCurve: 'P-521' }" },
  { name: 'a larger DH group', versions: ['TLSv1.2'], options: '{ ...base, minDHSize: 8192 }' },
  { name: 'ALPN that the server has not', options: "{ ...base, ALPNProtocols: ['x-none'] }" },
  {
    name: 'ALPN that the server has not, as bytes',
    options: "{ ...base, ALPNProtocols: Buffer.from('\\x06x-none') }",
  },
  {
    name: 'requestOCSP, and the program wants an answer',
    on: NOT_OVER_A_SOCKET,
    connect: `watch(() => { const socket = tls.connect({ ...base, requestOCSP: true })
      let answered = false
      return socket.on('OCSPResponse', (answer) => (answered = answer !== null))
        .prependListener('secureConnect', () => answered || socket.destroy(new Error('no answer'))) })`,
  },
]

/** What is looked at is in the certificates, so a resumed socket may come this far: it shows the same. */
const judged: Way[] = [
  ['a pin on the fingerprint', "socket.getPeerCertificate().fingerprint256 === 'the pin'"],
  ['a pin on the public key', "socket.getPeerCertificate().pubkey.toString('hex') === 'the pin'"],
  ['a pin on the X509Certificate', "socket.getPeerX509Certificate().fingerprint256 === 'the pin'"],
  ['a deny list of fingerprints', 'socket.getPeerCertificate().fingerprint256 !== w.leafFingerprint'],
  [
    'a deny list of issuers',
    '!chainOf(socket).slice(1).some(({ fingerprint256 }) => w.above.includes(fingerprint256))',
  ],
  [
    'a deny list of issuers’ names',
    'socket.getPeerCertificate(true).issuerCertificate?.subject?.CN !== w.issuerName',
  ],
  [
    'a deny list of issuers, by X509Certificate',
    '!w.above.includes(socket.getPeerX509Certificate().issuerCertificate?.fingerprint256)',
  ],
  [
    'a deny list of issuers, by getPeerCertificate() first and X509Certificate then',
    'socket.getPeerCertificate() && !w.above.includes(socket.getPeerX509Certificate().issuerCertificate?.fingerprint256)',
  ],
  ['a pin on the issuer', "socket.getPeerCertificate(true).issuerCertificate?.fingerprint256 === 'the pin'"],
  ['the key size of the issuer', '!(socket.getPeerCertificate(true).issuerCertificate?.bits < 8192)'],
  ['the root at the end of the chain', '!chainOf(socket).some((one) => one.subject.CN === one.issuer.CN)'],
  ['the length of the chain', 'chainOf(socket).length < 2'],
  ['the cipher', "socket.getCipher().standardName === 'the pin'"],
  ['the protocol', "socket.getProtocol() === 'TLSv1'"],
].map(([name, says]) => ({ name: `judged by ${name}`, judge: `(socket) => ${says}` }))

const clients: Way[] = [
  { name: 'no client certificate', options: '{ ...base, cert: undefined, key: undefined }' },
  { name: 'a client certificate and no key', options: '{ ...base, key: undefined }' },
  { name: 'another client certificate', options: '{ ...base, ...w.bob }' },
  { name: 'a client key of another kind', options: '{ ...base, cert: w.alice.cert, key: w.strayKey }' },
  { name: 'a client key of somebody else’s', options: '{ ...base, cert: w.alice.cert, key: w.bob.key }' },
  {
    name: 'two client certificates and the second one’s key',
    options: '{ ...base, cert: [w.alice.cert, w.bob.cert], key: w.bob.key }',
  },
  {
    name: 'two client certificates and the second one’s key in an array',
    options: '{ ...base, cert: [w.alice.cert, w.bob.cert], key: [w.bob.key] }',
  },
].map((way) => ({ ...way, on: SERVERS.filter(isMutual) }))

export const REFUSING_BY_OPTIONS: readonly Way[] = [trusted, named, protocol, judged, clients].flat()
