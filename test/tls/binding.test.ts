import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { type Binding, bindingOf, type Surroundings } from '../../src/tls/binding.ts'
import { type ConnectOptions, noteOptions, readDefaults, type TlsDefaults } from '../../src/tls/node-tls.ts'

const defaults = readDefaults(tls, 0)
const around: Surroundings = {
  defaultCa: () => 'bundled v1',
  openssl: 'conf none flags ',
  securityLevel: 1,
  clientCertificates: true,
}
/** As Node hands them on for `tls.connect({ host, port, servername })`. */
const ordinary: ConnectOptions = {
  host: 'a.test',
  port: 443,
  servername: 'a.test',
  rejectUnauthorized: true,
  checkServerIdentity: tls.checkServerIdentity,
  minDHSize: 1024,
}

describe('what is noted of options', () => {
  it('has one copy of a bundle, however many connections are given it, and another once it has changed', () => {
    const ca = Buffer.from('a bundle')
    const noted = () => noteOptions({ ca: [ca] }).ca as Uint8Array[]
    const [first, second] = [noted(), noted()]
    expect(first[0]).toBe(second[0])
    ca.write('A')
    expect(Buffer.from(noted()[0]!).toString()).toBe('A bundle')
    expect(Buffer.from(first[0]!).toString()).toBe('a bundle')
  })
})

interface Change {
  options?: ConnectOptions
  defaults?: Partial<TlsDefaults>
  around?: Partial<Surroundings>
}

function bound(change: Change = {}): Binding {
  const binding = bindingOf(
    noteOptions({ ...ordinary, ...change.options }),
    { ...defaults, ...change.defaults },
    { ...around, ...change.around },
  )
  if ('leftAlone' in binding) throw new Error(binding.leftAlone)
  return binding
}

const leftAlone = (change: Change) =>
  bindingOf(
    noteOptions({ ...ordinary, ...change.options }),
    { ...defaults, ...change.defaults },
    { ...around, ...change.around },
  )

const PEM = 'one certificate'
const OTHER = 'another certificate'
const bytes = (text: string) => Buffer.from(text)

/** Pairs that trust differently: every one of the two digests has to differ. */
const DIFFERENT: Record<string, [Change, Change]> = {
  name: [{}, { options: { servername: 'b.test' } }],
  'name in other letters': [{}, { options: { servername: 'A.test' } }],
  'name with a dot at its end': [{}, { options: { servername: 'a.test.' } }],
  'name by host, without server name indication': [{}, { options: { servername: undefined } }],
  'ca instead of the default CAs': [{}, { options: { ca: PEM } }],
  ca: [{ options: { ca: PEM } }, { options: { ca: OTHER } }],
  'one more ca': [{ options: { ca: [PEM] } }, { options: { ca: [PEM, OTHER] } }],
  'the order of ca': [{ options: { ca: [OTHER, PEM] } }, { options: { ca: [PEM, OTHER] } }],
  'no ca at all': [{}, { options: { ca: [] } }],
  'the default CAs': [{}, { around: { defaultCa: () => 'bundled v2' } }],
  allowPartialTrustChain: [{}, { options: { allowPartialTrustChain: true } }],
  minVersion: [{}, { options: { minVersion: 'TLSv1.3' } }],
  maxVersion: [{}, { options: { maxVersion: 'TLSv1.2' } }],
  'tls.DEFAULT_MIN_VERSION': [{}, { defaults: { minVersion: 'TLSv1.3' } }],
  'tls.DEFAULT_MAX_VERSION': [{}, { defaults: { maxVersion: 'TLSv1.2' } }],
  secureProtocol: [{}, { options: { secureProtocol: 'TLSv1_2_method' } }],
  ciphers: [{}, { options: { ciphers: 'HIGH' } }],
  'tls.DEFAULT_CIPHERS': [{}, { defaults: { ciphers: 'HIGH' } }],
  sigalgs: [{}, { options: { sigalgs: 'ecdsa_secp256r1_sha256' } }],
  ecdhCurve: [{}, { options: { ecdhCurve: 'P-384' } }],
  'tls.DEFAULT_ECDH_CURVE': [{}, { defaults: { ecdhCurve: 'P-384' } }],
  minDHSize: [{}, { options: { minDHSize: 2048 } }],
  secureOptions: [{}, { options: { secureOptions: 4 } }],
  'OpenSSL’s set-up': [{}, { around: { openssl: 'conf x flags ' } }],
  'FIPS mode': [{}, { defaults: { fips: 1 } }],
  'an ALPN list': [{}, { options: { ALPNProtocols: ['h2'] } }],
  ALPNProtocols: [{ options: { ALPNProtocols: ['h2'] } }, { options: { ALPNProtocols: ['h2', 'http/1.1'] } }],
  'a client certificate': [{}, { options: { cert: PEM, key: 'k' } }],
  cert: [{ options: { cert: PEM, key: 'k' } }, { options: { cert: OTHER, key: 'k' } }],
  'a certificate without its key': [{ options: { cert: PEM, key: 'k' } }, { options: { cert: PEM } }],
  pfx: [{ options: { pfx: bytes(PEM) } }, { options: { pfx: bytes(OTHER) } }],
  'pfx for cert': [{ options: { pfx: PEM } }, { options: { cert: PEM } }],
}

/** Pairs that say one thing in two ways. */
const SAME: Record<string, [Change, Change]> = {
  'a ca as text, as bytes': [{ options: { ca: PEM } }, { options: { ca: bytes(PEM) } }],
  'a ca in an array': [{ options: { ca: PEM } }, { options: { ca: [bytes(PEM)] } }],
  'a ca in any kind of view': [
    { options: { ca: PEM } },
    { options: { ca: new DataView(Uint8Array.from(bytes(`..${PEM}`)).buffer, 2) } },
  ],
  'a long ca, hashed before': [
    { options: { ca: PEM.repeat(99) } },
    { options: { ca: [bytes(PEM.repeat(99))] } },
  ],
  'absent as undefined, null or empty': [
    { options: { cert: undefined, sigalgs: undefined, crl: null } },
    { options: { cert: '', sigalgs: null, pfx: null, ca: null } },
  ],
  'the defaults, given': [
    {},
    {
      options: {
        minVersion: defaults.minVersion,
        maxVersion: defaults.maxVersion,
        ciphers: defaults.ciphers,
        ecdhCurve: defaults.ecdhCurve,
        secureOptions: 0,
        allowPartialTrustChain: false,
      },
    },
  ],
  'another key for the same certificate, or in another form': [
    { options: { cert: PEM, key: 'k' } },
    { options: { cert: [bytes(PEM)], key: [bytes('another form of k')] } },
  ],
  'a host beside a server name, a port': [{}, { options: { host: '127.0.0.1', port: '8443' } }],
}

const LEFT_ALONE: Record<string, Change> = {
  'no readable host': { options: { servername: undefined, host: undefined } },
  'a server name that is no text': { options: { servername: 7 } },
  'rejectUnauthorized: false': { options: { rejectUnauthorized: false } },
  'rejectUnauthorized: undefined, which may mean either': { options: { rejectUnauthorized: undefined } },
  'rejectUnauthorized: 1': { options: { rejectUnauthorized: 1 } },
  'a checkServerIdentity of its own': { options: { checkServerIdentity: () => undefined } },
  'a bound copy of Node’s': { options: { checkServerIdentity: tls.checkServerIdentity.bind(tls) } },
  'a proxy around Node’s': { options: { checkServerIdentity: new Proxy(tls.checkServerIdentity, {}) } },
  'a createSecureContext of its own': { defaults: { createSecureContext: () => ({}) } },
  'a context of unknown origin': { options: { secureContext: {} } },
  'a revocation list': { options: { crl: PEM } },
  'an empty revocation list': { options: { crl: [] } },
  requestOCSP: { options: { requestOCSP: true } },
  pskCallback: { options: { pskCallback: () => null } },
  sessionIdContext: { options: { sessionIdContext: 'x' } },
  clientCertEngine: { options: { clientCertEngine: 'x' } },
  privateKeyEngine: { options: { privateKeyEngine: 'x' } },
  privateKeyIdentifier: { options: { privateKeyIdentifier: 'x' } },
  ticketKeys: { options: { ticketKeys: Buffer.alloc(48) } },
  'default CAs that cannot be read': { around: { defaultCa: () => undefined } },
  'an OpenSSL that cannot be read': { around: { openssl: undefined } },
  'a client certificate, not asked for': {
    options: { cert: PEM, key: 'k' },
    around: { clientCertificates: false },
  },
  'a client’s key alone, not asked for': { options: { key: 'k' }, around: { clientCertificates: false } },
}

describe('a binding', () => {
  it.each(Object.entries(DIFFERENT))('differs with %s', (_name, [one, other]) => {
    const [a, b] = [bound(one), bound(other)]
    expect(new Set([a.strong, a.weak, b.strong, b.weak]).size).toBe(4)
  })

  it.each(Object.entries(SAME))('is the same for %s', (_name, [one, other]) => {
    expect(bound(other)).toEqual(bound(one))
  })

  it.each(Object.entries(LEFT_ALONE))('there is none for %s', (_name, change) => {
    expect(leftAlone(change)).toEqual({ leftAlone: expect.any(String) })
  })

  it('at level 2 there is none for a weak chain, by default or by the ciphers; the strong one is shared', () => {
    const level2 = bound({ around: { securityLevel: 2 } })
    expect(level2).toEqual({ ...bound(), weak: undefined })
    expect(bound({ options: { ciphers: 'DEFAULT@SECLEVEL=2' } }).weak).toBeUndefined()
    const ciphers = { options: { ciphers: 'DEFAULT@SECLEVEL=1' } }
    expect(bound({ ...ciphers, around: { securityLevel: 2 } })).toEqual(bound(ciphers))
  })

  it('goes by the options as they were: what was on Object.prototype for the call is seen, and nothing later', () => {
    const polluted = Object.prototype as { allowPartialTrustChain?: boolean }
    polluted.allowPartialTrustChain = true
    const during = noteOptions({ ...ordinary })
    delete polluted.allowPartialTrustChain
    const after = noteOptions({ ...ordinary })
    polluted.allowPartialTrustChain = true
    const bindings = [during, after].map((options) => bindingOf(options, defaults, around))
    delete polluted.allowPartialTrustChain
    expect(bindings).toEqual([bound({ options: { allowPartialTrustChain: true } }), bound()])
  })
})
