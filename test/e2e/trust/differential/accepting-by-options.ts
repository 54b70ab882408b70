import { missingCommands } from '../../../support/missing.ts'
import { isMutual, SERVERS } from './servers.ts'
import { NO_CA, type Way } from './way.ts'

// Ways to accept a server by the options of one connection.

const ca: Way[] = [
  { name: 'ca: a string' },
  { name: 'ca: a Buffer', options: '{ ...base, ca: Buffer.from(w.ca) }' },
  { name: 'ca: a Uint8Array', options: '{ ...base, ca: new Uint8Array(Buffer.from(w.ca)) }' },
  { name: 'ca: an array of one', options: '{ ...base, ca: [w.ca] }' },
  { name: 'ca: an array of Buffers', options: '{ ...base, ca: [Buffer.from(w.other), Buffer.from(w.ca)] }' },
  { name: 'ca: the same twice', options: '{ ...base, ca: [w.ca, w.ca] }' },
  { name: 'ca: a bundle', options: '{ ...base, ca: w.other + w.namesake + w.ca }' },
  { name: 'ca: text around it', options: "{ ...base, ca: 'our root\\n' + w.ca + '# end\\n' }" },
  { name: 'ca: lines of Windows', options: "{ ...base, ca: w.ca.replaceAll('\\n', '\\r\\n') }" },
  { name: 'ca: with the intermediate', options: '{ ...base, ca: [w.ca, w.issuer] }' },
  {
    name: 'ca: only the intermediate, partial chain',
    options: '{ ...base, ca: w.issuer, allowPartialTrustChain: true }',
  },
  {
    name: 'ca: only the leaf, partial chain',
    options: '{ ...base, ca: w.leaf, allowPartialTrustChain: true }',
  },
  { name: 'ca: a getter', options: '{ ...base, get ca() { return w.ca } }' },
  {
    name: 'ca: an element that is a getter',
    options: "{ ...base, ca: Object.defineProperty([], '0', { get: () => w.ca, enumerable: true }) }",
  },
]

const verification: Way[] = [
  {
    name: 'checkServerIdentity that accepts all',
    options: '{ ...base, checkServerIdentity: () => undefined }',
  },
  {
    name: 'checkServerIdentity: Node’s own',
    options: '{ ...base, checkServerIdentity: tls.checkServerIdentity }',
  },
  {
    name: 'checkServerIdentity: Node’s own, bound',
    options: '{ ...base, checkServerIdentity: tls.checkServerIdentity.bind(tls) }',
  },
  { name: 'rejectUnauthorized: false', options: '{ ...base, rejectUnauthorized: false }' },
  {
    name: 'rejectUnauthorized: false, without the CA',
    options: '{ ...base, ca: undefined, rejectUnauthorized: false }',
  },
  { name: 'rejectUnauthorized: 0, which verifies', options: '{ ...base, rejectUnauthorized: 0 }' },
  { name: 'requestOCSP', options: '{ ...base, requestOCSP: true }' },
  { name: 'crl that revokes nobody', options: '{ ...base, crl: w.emptyCrls }' },
  { name: 'judge that accepts', judge: '(socket) => socket.getPeerCertificate().subject.CN.length > 0' },
  {
    name: 'judge that finds the issuer',
    judge: '(socket) => w.above.includes(socket.getPeerCertificate(true).issuerCertificate.fingerprint256)',
  },
]

const protocol: Way[] = [
  { name: 'minVersion and maxVersion', options: '{ ...base, minVersion: w.version, maxVersion: w.version }' },
  { name: 'minVersion TLSv1', options: "{ ...base, minVersion: 'TLSv1' }" },
  { name: 'secureProtocol TLS_method', options: "{ ...base, secureProtocol: 'TLS_method' }" },
  {
    name: 'secureProtocol TLSv1_2_method',
    versions: ['TLSv1.2'],
    options: "{ ...base, secureProtocol: 'TLSv1_2_method' }",
  },
  { name: 'ciphers at level 0', options: "{ ...base, ciphers: 'DEFAULT:@SECLEVEL=0' }" },
  { name: 'ciphers at level 1', options: "{ ...base, ciphers: 'DEFAULT@SECLEVEL=1' }" },
  {
    name: 'ciphers by name',
    options: "{ ...base, ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256' }",
  },
  { name: 'sigalgs', options: "{ ...base, sigalgs: 'ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256' }" },
  { name: 'ecdhCurve P-256', options: "{ ...base, ecdhCurve: 'P-256' }" },
  { name: 'ecdhCurve auto', options: "{ ...base, ecdhCurve: 'auto' }" },
  { name: 'minDHSize', options: '{ ...base, minDHSize: 2048 }' },
  {
    name: 'secureOptions',
    options: "{ ...base, secureOptions: require('node:crypto').constants.SSL_OP_NO_COMPRESSION }",
  },
  { name: 'ALPN', options: "{ ...base, ALPNProtocols: ['x-test'] }" },
  { name: 'ALPN, two', options: "{ ...base, ALPNProtocols: ['x-other', 'http/1.1'] }" },
  { name: 'ALPN as bytes', options: "{ ...base, ALPNProtocols: Buffer.from('\\x06x-test') }" },
  { name: 'pskCallback that gives none', options: '{ ...base, pskCallback: () => null }' },
  { name: 'sessionIdContext', options: "{ ...base, sessionIdContext: 'mine' }" },
]

const contexts: Way[] = [
  {
    name: 'secureContext',
    options: '{ ...base, ca: undefined, secureContext: tls.createSecureContext({ ca: w.ca }) }',
  },
  {
    name: 'secureContext of frozen options',
    options: '{ ...base, secureContext: tls.createSecureContext(Object.freeze({ ca: [w.ca] })) }',
  },
  {
    name: 'secureContext made when tls had just been loaded',
    before: 'const early = tls.createSecureContext({ ca: w.ca })',
    options: '{ ...base, secureContext: early }',
  },
  ...['addCACert', 'addRootCerts'].map((method) => ({
    name: `secureContext with ${method} later`,
    before: `const context = tls.createSecureContext({ ca: w.ca })
      await attempt({ ...base, secureContext: context })
      context.context.${method}(w.other)`,
    options: '{ ...base, secureContext: context }',
  })),
  {
    name: 'secureContext to which the CA was added',
    before: `const context = tls.createSecureContext({ ca: w.other })
      context.context.addCACert(w.ca)`,
    options: '{ ...base, secureContext: context }',
  },
  {
    name: 'secureContext with the native half of another',
    before: `const context = tls.createSecureContext({ ca: w.other })
      context.context = tls.createSecureContext({ ca: w.ca }).context`,
    options: '{ ...base, secureContext: context }',
  },
]

const forms: Way[] = [
  {
    name: 'tls.connect(port, host, options)',
    connect: 'watch(() => tls.connect(base.port, base.host, base))',
  },
  { name: 'options without a prototype', connect: 'attemptWith(Object.assign(Object.create(null), base))' },
  { name: 'inherited options', connect: 'attemptWith(Object.create(base))' },
  { name: 'a proxy of options', connect: 'attemptWith(new Proxy(base, {}))' },
  {
    name: 'timeout, keepAlive, noDelay',
    options: '{ ...base, timeout: 5000, keepAlive: true, noDelay: true }',
  },
  { name: 'https.get', connect: 'request(base)' },
  {
    name: 'https.Agent that keeps sessions, second connection',
    before: `const agent = new (require('node:https').Agent)({ ca: w.ca, maxCachedSessions: 10 })
      await request({ ...base, agent })`,
    connect: 'request({ ...base, agent })',
  },
  { name: 'https.globalAgent', before: 'https.globalAgent.options.ca = w.ca', connect: `request(${NO_CA})` },
  {
    name: 'session of the program',
    before: `const sessions = []
      await watch(() => tls.connect(base).on('session', (session) => sessions.push(session)))`,
    options: '{ ...base, session: sessions[0] }',
  },
  {
    name: 'session of the program, set at the last moment',
    before: `const sessions = []
      await watch(() => tls.connect(base).on('session', (session) => sessions.push(session)))`,
    connect: `watch(() => { const socket = tls.connect(base)
      return socket.on('connectionAttempt', () => process.nextTick(() => socket.setSession(sessions[0]))) })`,
  },
]

const names: Way[] = [
  { name: 'host alone', on: ['named'] },
  { name: 'host and the same servername', on: ['named'], options: "{ ...base, servername: 'a.test' }" },
  { name: 'host in capitals', on: ['named'], options: "{ ...base, host: 'A.TEST' }" },
  { name: 'host with a dot behind it', on: ['named'], options: "{ ...base, host: 'a.test.' }" },
  { name: 'no server name indication', on: ['named'], options: "{ ...base, servername: '' }" },
  { name: 'no Happy Eyeballs', on: ['named'], options: '{ ...base, autoSelectFamily: false }' },
  { name: 'wildcard name', on: ['wildcard'] },
  {
    name: 'wildcard name, as servername',
    on: ['wildcard'],
    options: "{ ...base, host: '127.0.0.1', servername: 'www.wild.test' }",
  },
  { name: 'address', on: ['address'] },
  {
    name: 'fetch',
    on: ['address'],
    env: { NODE_EXTRA_CA_CERTS: '$RUN/ca.pem' },
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    connect: "fetched('https://127.0.0.1:' + base.port)",
  },
  { name: 'over a socket, without a name', on: ['tunnel'] },
  { name: 'over a socket, localhost', on: ['tunnel'], options: "{ ...base, servername: 'localhost' }" },
]

const MUTUAL = SERVERS.filter(isMutual)

const clients: Way[] = [
  { name: 'client certificate', on: MUTUAL },
  {
    name: 'client certificate in arrays',
    on: MUTUAL,
    options: '{ ...base, cert: [w.alice.cert], key: [w.alice.key] }',
  },
  {
    name: 'client certificate, without TICKETKEEP_CLIENT_CERT',
    on: MUTUAL,
    env: { TICKETKEEP_CLIENT_CERT: '' },
  },
  {
    name: 'client certificate in PKCS #12',
    on: MUTUAL,
    needs: missingCommands('openssl'),
    before: `fs.writeFileSync(w.run + '/alice.pem', w.alice.cert + w.alice.key)
      const pfx = require('node:child_process').execFileSync('openssl',
        ['pkcs12', '-export', '-in', w.run + '/alice.pem', '-passout', 'pass:p'], { env: { PATH: process.env.PATH } })`,
    options: "{ ...base, cert: undefined, key: undefined, pfx, passphrase: 'p' }",
  },
  {
    name: 'two client certificates and the first one’s key',
    on: MUTUAL,
    options: '{ ...base, cert: [w.alice.cert, w.bob.cert], key: w.alice.key }',
  },
  {
    name: 'two client certificates and both keys',
    on: MUTUAL,
    options: '{ ...base, cert: [w.alice.cert, w.bob.cert], key: [w.alice.key, w.bob.key] }',
  },
  { name: 'no client certificate', on: MUTUAL, options: '{ ...base, cert: undefined, key: undefined }' },
  {
    // The session of ticketkeep is set, and the program sets its own. Whose new session is stored afterwards?
    name: 'no client certificate, and the session of one set at the last moment',
    on: MUTUAL,
    env: { TICKETKEEP_CLIENT_CERT: '' },
    before: `const sessions = []
      const nobody = { ...base, cert: undefined, key: undefined }
      await attempt(nobody)
      await watch(() => tls.connect(base).on('session', (session) => sessions.push(session)))`,
    connect: `watch(() => { const socket = tls.connect(nobody)
      return socket.on('connectionAttempt', () => process.nextTick(() => process.nextTick(() =>
        socket.setSession(sessions[0])))) })`,
  },
]

const chains: Way[] = [
  ...(['weak leaf', 'weak intermediate', 'weak root', 'SHA-1', 'hidden weak root'] as const).flatMap(
    (server) => [
      { name: `${server} at level 0`, on: [server] },
      { name: `${server} at the default level`, on: [server], options: '{ ...base, ciphers: undefined }' },
      {
        name: `${server} at level 1`,
        on: [server],
        options: "{ ...base, ciphers: 'DEFAULT@SECLEVEL=1' }",
      },
    ],
  ),
  { name: 'hidden root that ends soon', on: ['hidden old root'] },
  { name: 'cross-signed, by the new root', on: ['cross-signed'] },
  { name: 'cross-signed, by the old root', on: ['cross-signed'], options: '{ ...base, ca: w.secondCa }' },
  { name: 'cross-signed, by both', on: ['cross-signed'], options: '{ ...base, ca: w.ca + w.secondCa }' },
  { name: 'spare intermediate that has expired', on: ['spare intermediate'] },
  { name: 'Diffie-Hellman', on: ['DHE'] },
  { name: 'Diffie-Hellman, smallest group', on: ['DHE'], options: '{ ...base, minDHSize: 1024 }' },
]

export const ACCEPTING_BY_OPTIONS: readonly Way[] = [
  ca,
  verification,
  protocol,
  contexts,
  forms,
  names,
  clients,
  chains,
].flat()
