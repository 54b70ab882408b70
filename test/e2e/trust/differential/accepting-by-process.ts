import { ACCEPTING_BY_CONFIGURATION } from './by-configuration.ts'
import {
  clockInFile,
  DISGUISES,
  missingClock,
  missingPackages,
  NO_CA,
  stepClock,
  type Way,
  WITH_DEFAULT_CA_FUNCTIONS,
} from './way.ts'

// Ways to accept a server by what a whole process has: files, variables, flags, changes to Node's modules, packages.

const EXTRA = {
  env: { NODE_EXTRA_CA_CERTS: '$RUN/ca.pem' },
  files: { '$RUN/ca.pem': { pem: 'ca' } },
  options: NO_CA,
} as const

/** Node reads the file when it makes its first context. */
const READ_IT = 'tls.createSecureContext()'

const extraCa: Way[] = [
  { name: 'NODE_EXTRA_CA_CERTS', ...EXTRA },
  {
    name: 'NODE_EXTRA_CA_CERTS by a link',
    ...EXTRA,
    files: { '$RUN/right.pem': { pem: 'ca' }, '$RUN/ca.pem': { linkTo: '$RUN/right.pem' } },
  },
  { name: 'NODE_EXTRA_CA_CERTS, relative', ...EXTRA, env: { NODE_EXTRA_CA_CERTS: 'ca.pem' } },
  {
    name: 'NODE_EXTRA_CA_CERTS, a file whose content changes',
    env: { NODE_EXTRA_CA_CERTS: '$SERVER/switched.pem' },
    files: { '$SERVER/switched.pem': { pem: 'ca' } },
    options: NO_CA,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, a file whose content changes and whose time does not',
    env: { NODE_EXTRA_CA_CERTS: '$SERVER/switched-old.pem' },
    files: { '$SERVER/switched-old.pem': { pem: 'ca', age: 86_400 } },
    options: NO_CA,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, a link that is moved',
    env: { NODE_EXTRA_CA_CERTS: '$SERVER/moved.pem' },
    files: { '$SERVER/right.pem': { pem: 'ca' }, '$SERVER/moved.pem': { linkTo: '$SERVER/right.pem' } },
    options: NO_CA,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, touched a day back',
    ...EXTRA,
    files: { '$RUN/ca.pem': { pem: 'ca', age: 86_400 } },
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, replaced after Node read it',
    ...EXTRA,
    before: `${READ_IT}
      fs.writeFileSync(w.run + '/ca.pem', w.other)`,
  },
  {
    name: 'NODE_EXTRA_CA_CERTS, replaced after Node read it, and the clock set forward',
    ...EXTRA,
    needs: missingClock(),
    env: { ...EXTRA.env, ...clockInFile },
    files: { ...EXTRA.files, '$RUN/clock': '+0' },
    before: `${READ_IT}
      fs.writeFileSync(w.run + '/ca.pem', w.other)
      ${stepClock}`,
  },
]

const stores: Way[] = [
  {
    name: '--use-openssl-ca, SSL_CERT_FILE',
    flags: ['--use-openssl-ca'],
    env: { SSL_CERT_FILE: '$RUN/ca.pem' },
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    options: NO_CA,
  },
  {
    name: '--use-openssl-ca, SSL_CERT_FILE and an empty SSL_CERT_DIR',
    flags: ['--use-openssl-ca'],
    env: { SSL_CERT_FILE: '$RUN/ca.pem', SSL_CERT_DIR: '$RUN/home' },
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    options: NO_CA,
  },
  {
    name: '--use-openssl-ca, SSL_CERT_DIR',
    flags: ['--use-openssl-ca'],
    env: { SSL_CERT_FILE: '$RUN/none.pem', SSL_CERT_DIR: '$SERVER/certs' },
    options: NO_CA,
  },
  {
    name: '--use-system-ca, SSL_CERT_FILE',
    nodes: ['22', '24', '26'],
    flags: ['--use-system-ca'],
    env: { SSL_CERT_FILE: '$RUN/ca.pem' },
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    options: NO_CA,
  },
  {
    name: 'NODE_USE_SYSTEM_CA, SSL_CERT_FILE',
    nodes: ['22', '24', '26'],
    env: { NODE_USE_SYSTEM_CA: '1', SSL_CERT_FILE: '$RUN/ca.pem' },
    files: { '$RUN/ca.pem': { pem: 'ca' } },
    options: NO_CA,
  },
  { name: '--use-bundled-ca, NODE_EXTRA_CA_CERTS', ...EXTRA, flags: ['--use-bundled-ca'] },
  {
    name: 'SSL_CERT_FILE of another CA, not looked at',
    env: { SSL_CERT_FILE: '$RUN/other.pem' },
    files: { '$RUN/other.pem': { pem: 'other' } },
  },
]

const flags: Way[] = [
  ...[
    ['--tls-min-v1.0'],
    ['--tls-min-v1.2'],
    ['--tls-max-v1.3'],
    ['--tls-cipher-list=DEFAULT:@SECLEVEL=0'],
    ['--tls-cipher-list', 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['--openssl-legacy-provider'],
    ['--openssl-shared-config'],
    ['--secure-heap=65536'],
    ['--force-fips'],
    ['--no-warnings'],
    ['--max-old-space-size=200'],
  ].map((given) => ({ name: given.join(' '), flags: given })),
  { name: '--tls-max-v1.2', versions: ['TLSv1.2'] as const, flags: ['--tls-max-v1.2'] },
  { name: 'NODE_TLS_REJECT_UNAUTHORIZED=0', env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } },
  {
    name: 'NODE_TLS_REJECT_UNAUTHORIZED=0, without the CA',
    env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    options: NO_CA,
  },
  { name: 'NODE_TLS_REJECT_UNAUTHORIZED=1', env: { NODE_TLS_REJECT_UNAUTHORIZED: '1' } },
  { name: 'SSLKEYLOGFILE', env: { SSLKEYLOGFILE: '$RUN/keys.log' } },
  { name: '--tls-keylog', flags: ['--tls-keylog=$RUN/keys.log'] },
]

const ADDS_CA = "wrap('createSecureContext', (own) => (options) => own({ ...options, ca: w.ca }))"

const changes: Way[] = [
  { name: 'tls.DEFAULT_MIN_VERSION', before: "tls.DEFAULT_MIN_VERSION = 'TLSv1.1'" },
  { name: 'tls.DEFAULT_MAX_VERSION', before: 'tls.DEFAULT_MAX_VERSION = w.version' },
  { name: 'tls.DEFAULT_CIPHERS', before: "tls.DEFAULT_CIPHERS = 'DEFAULT:@SECLEVEL=0'" },
  { name: 'tls.DEFAULT_ECDH_CURVE', before: "tls.DEFAULT_ECDH_CURVE = 'P-256'" },
  ...['tls.setDefaultCACertificates', '(0, tls).setDefaultCACertificates.bind(tls)'].flatMap((reference, i) =>
    ['early', 'late'].map((when) => ({
      name: `tls.setDefaultCACertificates ${when}${i ? ', by a reference' : ''}`,
      nodes: WITH_DEFAULT_CA_FUNCTIONS,
      before: `const set = ${reference}
        ${when === 'late' ? "await attempt({ ...base, servername: 'warm.test' })" : ''}
        set([...tls.getCACertificates('default'), w.ca])`,
      options: NO_CA,
    })),
  ),
  {
    name: 'tls.createSecureContext wrapped, adds a CA',
    before: `const own = tls.createSecureContext
      tls.createSecureContext = (options) => own({ ...options, ca: w.ca })`,
    options: NO_CA,
  },
  { name: 'tls.checkServerIdentity replaced', before: 'tls.checkServerIdentity = () => undefined' },
  {
    name: 'tls.connect wrapped, adds a CA',
    before: `const own = tls.connect
      tls.connect = (options) => own({ ...options, ca: w.ca })`,
    options: NO_CA,
  },
  { name: 'tls.TLSSocket subclassed', before: 'tls.TLSSocket = class extends tls.TLSSocket {}' },
  { name: 'crypto.setFips(false)', before: "require('node:crypto').setFips(false)" },
  {
    name: 'Object.prototype.ca',
    before: 'Object.prototype.ca = w.ca',
    options: '{ ...base, ca: undefined }',
    connect: 'attemptWith((({ ca, ...rest }) => rest)(base))',
  },
  ...Object.entries(DISGUISES).map(([by, disguise]) => ({
    name: `tls.createSecureContext wrapped in disguise, adds a CA: ${by}`,
    needs: missingPackages(),
    before: `${disguise}
      ${ADDS_CA}`,
    options: NO_CA,
  })),
]

const packages: Way[] = (
  [
    { name: '@sentry/node', before: "pkg('@sentry/node').init({ dsn: 'http://key@127.0.0.1:9/1' })" },
    { name: 'zone.js', before: "pkg('zone.js/node')" },
    {
      name: 'dd-trace',
      env: {
        DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
        DD_REMOTE_CONFIGURATION_ENABLED: 'false',
        DD_TRACE_AGENT_PORT: '9',
        DD_TRACE_STARTUP_LOGS: 'false',
      },
      before: "pkg('dd-trace').init()",
    },
    {
      name: 'OpenTelemetry, instrumentation-http and -net',
      before: `const { NodeTracerProvider } = pkg('@opentelemetry/sdk-trace-node')
        const { HttpInstrumentation } = pkg('@opentelemetry/instrumentation-http')
        const { NetInstrumentation } = pkg('@opentelemetry/instrumentation-net')
        pkg('@opentelemetry/instrumentation').registerInstrumentations({
          tracerProvider: new NodeTracerProvider(),
          instrumentations: [new HttpInstrumentation(), new NetInstrumentation()],
        })`,
    },
    {
      name: 'newrelic',
      env: {
        NEW_RELIC_APP_NAME: 'test',
        NEW_RELIC_LICENSE_KEY: '0'.repeat(40),
        NEW_RELIC_HOST: '127.0.0.1',
        NEW_RELIC_PORT: '9',
        NEW_RELIC_LOG_ENABLED: 'false',
        NEW_RELIC_NO_CONFIG_FILE: 'true',
      },
      before: "pkg('newrelic')",
    },
    {
      name: 'ssl-root-cas',
      files: { '$RUN/ca.pem': { pem: 'ca' } },
      before: "pkg('ssl-root-cas').inject().addFile(w.run + '/ca.pem')",
      connect: `request(${NO_CA})`,
    },
    { name: 'win-ca, contexts', before: "pkg('win-ca/lib/inject.js').inject('+', [w.ca])", options: NO_CA },
    {
      name: 'win-ca, agent',
      before: "pkg('win-ca/lib/inject.js').inject(true, [w.ca])",
      connect: `request(${NO_CA})`,
    },
    {
      name: 'mac-ca, as on macOS',
      before: `const { platform } = process
        const children = require('node:child_process')
        children.spawnSync = () => ({ stdout: w.ca })
        Object.defineProperty(process, 'platform', { value: 'darwin' })
        pkg('mac-ca').addToGlobalAgent()
        Object.defineProperty(process, 'platform', { value: platform })`,
      connect: `request(${NO_CA})`,
    },
    {
      name: 'syswide-cas',
      files: { '$RUN/ca.pem': { pem: 'ca' } },
      before: "pkg('syswide-cas').addCAs(w.run + '/ca.pem')",
      options: NO_CA,
    },
  ] satisfies Way[]
).map((way: Way) => ({ ...way, name: `package ${way.name}`, needs: missingPackages(), isSlow: true }))

export const ACCEPTING_BY_PROCESS: readonly Way[] = [
  extraCa,
  stores,
  flags,
  ACCEPTING_BY_CONFIGURATION,
  changes,
  packages,
].flat()
