import { REFUSING_BY_CONFIGURATION } from './by-configuration.ts'
import { NOT_OVER_A_SOCKET } from './servers.ts'
import {
  clockAt,
  clockInFile,
  DISGUISES,
  missingClock,
  missingPackages,
  NO_CA,
  stepClock,
  type Way,
  WITH_DEFAULT_CA_FUNCTIONS,
} from './way.ts'

// Ways to refuse a server by what a whole process has: files, variables, flags, changes to Node's modules, packages.

const OTHER_EXTRA = {
  env: { NODE_EXTRA_CA_CERTS: '$RUN/other.pem' },
  files: { '$RUN/other.pem': { pem: 'other' } },
  options: NO_CA,
} as const

const extraCa: Way[] = [
  { name: 'NODE_EXTRA_CA_CERTS of another CA', ...OTHER_EXTRA },
  {
    // Tickets of a program whose clock was set forward are from the future for all others.
    name: 'NODE_EXTRA_CA_CERTS of another CA, an hour later',
    ...OTHER_EXTRA,
    needs: missingClock(),
    env: { ...OTHER_EXTRA.env, ...clockAt('+1h') },
  },
  { name: 'NODE_EXTRA_CA_CERTS of no file', env: { NODE_EXTRA_CA_CERTS: '$RUN/none.pem' }, options: NO_CA },
  { name: 'NODE_EXTRA_CA_CERTS, relative', ...OTHER_EXTRA, env: { NODE_EXTRA_CA_CERTS: 'other.pem' } },
  {
    name: 'NODE_EXTRA_CA_CERTS, the same path',
    env: { NODE_EXTRA_CA_CERTS: '$SERVER/switched.pem' },
    files: { '$SERVER/switched.pem': { pem: 'other' } },
    options: NO_CA,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, the same path and time',
    env: { NODE_EXTRA_CA_CERTS: '$SERVER/switched-old.pem' },
    files: { '$SERVER/switched-old.pem': { pem: 'other', age: 86_400 } },
    options: NO_CA,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, a link that was moved',
    env: { NODE_EXTRA_CA_CERTS: '$SERVER/moved.pem' },
    files: { '$SERVER/wrong.pem': { pem: 'other' }, '$SERVER/moved.pem': { linkTo: '$SERVER/wrong.pem' } },
    options: NO_CA,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, the right CA came after Node had read it',
    ...OTHER_EXTRA,
    before: `tls.createSecureContext()
      fs.writeFileSync(w.run + '/other.pem', w.ca)`,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, the right CA came by a link',
    ...OTHER_EXTRA,
    before: `tls.createSecureContext()
      fs.writeFileSync(w.run + '/right.pem', w.ca)
      fs.rmSync(w.run + '/other.pem')
      fs.symlinkSync(w.run + '/right.pem', w.run + '/other.pem')`,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, the right CA came after Node had read it, and the clock was set forward',
    ...OTHER_EXTRA,
    needs: missingClock(),
    env: { ...OTHER_EXTRA.env, ...clockInFile },
    files: { ...OTHER_EXTRA.files, '$RUN/clock': '+0' },
    before: `tls.createSecureContext()
      fs.writeFileSync(w.run + '/other.pem', w.ca)
      ${stepClock}`,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, set by the program too late',
    before: 'process.env.NODE_EXTRA_CA_CERTS = w.run + "/ca.pem"',
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    options: NO_CA,
  },
]

const stores: Way[] = [
  {
    name: '--use-openssl-ca, SSL_CERT_FILE of another CA',
    flags: ['--use-openssl-ca'],
    env: { SSL_CERT_FILE: '$RUN/other.pem', SSL_CERT_DIR: '$RUN/home' },
    files: { '$RUN/other.pem': { pem: 'other' } },
    options: NO_CA,
  },
  {
    name: '--use-openssl-ca, SSL_CERT_DIR of no CA',
    flags: ['--use-openssl-ca'],
    env: { SSL_CERT_FILE: '$RUN/none.pem', SSL_CERT_DIR: '$RUN/home' },
    options: NO_CA,
  },
  {
    name: '--use-system-ca, SSL_CERT_FILE of another CA',
    nodes: ['22', '24', '26'],
    flags: ['--use-system-ca'],
    env: { SSL_CERT_FILE: '$RUN/other.pem' },
    files: { '$RUN/other.pem': { pem: 'other' } },
    options: NO_CA,
  },
  {
    name: '--use-bundled-ca, SSL_CERT_FILE not looked at',
    flags: ['--use-bundled-ca'],
    env: { SSL_CERT_FILE: '$RUN/ca.pem' },
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    options: NO_CA,
  },
]

const flags: Way[] = [
  { name: '--tls-min-v1.3', versions: ['TLSv1.2'], flags: ['--tls-min-v1.3'] },
  { name: '--tls-max-v1.2', versions: ['TLSv1.3'], flags: ['--tls-max-v1.2'] },
  {
    name: '--tls-cipher-list that the server has not',
    flags: ['--tls-cipher-list=TLS_AES_128_CCM_SHA256:AES128-SHA256'],
    options: '{ ...base, ciphers: undefined }',
  },
  {
    name: '--tls-cipher-list at level 4',
    flags: ['--tls-cipher-list=DEFAULT@SECLEVEL=4'],
    options: '{ ...base, ciphers: undefined }',
  },
]

/** By the end of the leaf, and by that of a root in `servers.ts` which ends soon: sooner than OpenSSL forgets a session. */
const clocks: Way[] = ['+40d', '+1h', '-2d'].map((offset) => ({
  name: `the clock at ${offset}`,
  on: ['plain', 'hidden old root', 'cross-signed'],
  needs: missingClock(),
  env: clockAt(offset),
}))

const REFUSING_IDENTITY = `wrap('checkServerIdentity', () => () => Object.assign(new Error('pin'), { code: 'PIN' }))`
const OTHER_CA = `wrap('createSecureContext', (own) => (options) => own({ ...options, ca: w.other }))`
const CRL = `wrap('createSecureContext', (own) => (options) => {
  const context = own(options)
  for (const crl of w.crls) context.context.addCRL(crl)
  return context
})`
const PLAINLY = 'const wrap = (name, by) => { tls[name] = by(tls[name]) }'

const wrapped: Way[] = [['nothing', PLAINLY], ...Object.entries(DISGUISES)].flatMap(([by, disguise]) =>
  (
    [
      ['tls.checkServerIdentity refuses', REFUSING_IDENTITY],
      ['tls.createSecureContext takes another CA', OTHER_CA],
      ['tls.createSecureContext adds a revocation list', CRL],
    ] as const
  ).map(([name, change]) => ({
    name: `${name}, disguised by ${by}`,
    ...(by !== 'nothing' && { needs: missingPackages() }),
    before: `${disguise}
      ${change}`,
  })),
)

const changes: Way[] = [
  {
    name: 'tls.connect takes another CA',
    before: `const own = tls.connect
      tls.connect = (options) => own({ ...options, ca: w.other })`,
  },
  { name: 'tls.DEFAULT_MIN_VERSION', versions: ['TLSv1.2'], before: "tls.DEFAULT_MIN_VERSION = 'TLSv1.3'" },
  { name: 'tls.DEFAULT_MAX_VERSION', versions: ['TLSv1.3'], before: "tls.DEFAULT_MAX_VERSION = 'TLSv1.2'" },
  {
    name: 'tls.DEFAULT_CIPHERS',
    before: "tls.DEFAULT_CIPHERS = 'DEFAULT@SECLEVEL=4'",
    options: '{ ...base, ciphers: undefined }',
  },
  { name: 'tls.DEFAULT_ECDH_CURVE', before: "tls.DEFAULT_ECDH_CURVE = 'P-521'" },
  ...['early', 'late'].map((when) => ({
    name: `tls.setDefaultCACertificates ${when}`,
    nodes: WITH_DEFAULT_CA_FUNCTIONS,
    env: { NODE_EXTRA_CA_CERTS: '$RUN/ca.pem' },
    files: { '$RUN/ca.pem': { pem: 'ca' } } as const,
    before: `const { setDefaultCACertificates } = tls
      ${when === 'late' ? "await attempt({ ...base, servername: 'warm.test' })" : ''}
      setDefaultCACertificates([w.other])`,
    options: NO_CA,
  })),
  {
    name: 'Object.prototype.ca of another',
    on: NOT_OVER_A_SOCKET,
    before: 'Object.prototype.ca = w.other',
    connect: 'attemptWith((({ ca, ...rest }) => rest)(base))',
  },
  {
    name: 'https.globalAgent of another CA',
    on: NOT_OVER_A_SOCKET,
    before: 'https.globalAgent.options.ca = w.other',
    connect: `request(${NO_CA})`,
  },
  {
    name: 'fetch without a CA',
    on: ['address'],
    before: '',
    connect: "fetched('https://127.0.0.1:' + base.port)",
  },
  {
    name: 'fetch with NODE_EXTRA_CA_CERTS of another CA',
    on: ['address'],
    ...OTHER_EXTRA,
    connect: "fetched('https://127.0.0.1:' + base.port)",
  },
]

const packages: Way[] = (
  [
    ['win-ca', "pkg('win-ca/lib/inject.js').inject('+', [w.other])"],
    [
      'syswide-cas',
      "fs.writeFileSync(w.run + '/o.pem', w.other); pkg('syswide-cas').addCAs(w.run + '/o.pem')",
    ],
    ['@sentry/node', "pkg('@sentry/node').init({ dsn: 'http://key@127.0.0.1:9/1' })"],
    ['zone.js', "pkg('zone.js/node')"],
  ] as const
).map(([name, before]) => ({
  name: `package ${name}, and no CA`,
  needs: missingPackages(),
  before,
  options: NO_CA,
}))

/** What a process has has little to do with the shape of a server's certificates: one server is enough for most. */
const withOneServer = (way: Way): Way => ({ on: ['plain', 'address'], ...way })

export const REFUSING_BY_PROCESS: readonly Way[] = [
  ...[extraCa, stores, flags, REFUSING_BY_CONFIGURATION, wrapped, changes, packages]
    .flat()
    .map(withOneServer),
  ...clocks,
]
