import { describe, expect, it } from 'vitest'
import { BOUND, WITHOUT_EFFECT } from '../../src/tls/admission.ts'
import { admitted, type Change, look, ordinary, state } from './kit.ts'

const bindingOf = (change?: Change) => admitted(change).binding

const PEM = 'one certificate'
const OTHER = 'another certificate'
const bytes = (text: string) => Buffer.from(text)

/** Pairs of calls that trust differently. */
const DIFFERENT: Record<string, [Change, Change]> = {
  name: [{}, { options: { servername: 'b.test' } }],
  'the case of the name': [{}, { options: { servername: 'A.test' } }],
  'a trailing dot of the name': [{}, { options: { servername: 'a.test.' } }],
  'a name that only `host` gives, without server name indication': [
    {},
    { options: { servername: undefined } },
  ],
  'ca instead of the default CAs': [{}, { options: { ca: PEM } }],
  ca: [{ options: { ca: PEM } }, { options: { ca: OTHER } }],
  'one more ca': [{ options: { ca: [PEM] } }, { options: { ca: [PEM, OTHER] } }],
  'the borders between CAs': [{ options: { ca: ['ab', 'c'] } }, { options: { ca: ['a', 'bc'] } }],
  'no ca at all': [{}, { options: { ca: [] } }],
  'the ca of a context': [{ context: { ca: PEM } }, { context: { ca: OTHER } }],
  'the default CAs': [{}, { state: { defaultRoots: [PEM] } }],
  'the default CAs of a context': [{ context: {} }, { context: {}, state: { defaultRoots: [PEM] } }],
  allowPartialTrustChain: [{}, { options: { allowPartialTrustChain: true } }],
  'FIPS mode': [{}, { state: { fips: 1 } }],
  'FIPS mode when a context was made': [{ context: {} }, { context: {}, contextState: { fips: 1 } }],
  'FIPS mode when a context is used': [
    { context: {}, contextState: { fips: 1 } },
    { context: {}, state: { fips: 1 }, contextState: { fips: 1 } },
  ],
  minVersion: [{}, { options: { minVersion: 'TLSv1.3' } }],
  'tls.DEFAULT_MIN_VERSION': [{}, { state: { minVersion: 'TLSv1.3' } }],
  maxVersion: [{}, { options: { maxVersion: 'TLSv1.2' } }],
  'tls.DEFAULT_MAX_VERSION': [{}, { state: { maxVersion: 'TLSv1.2' } }],
  secureProtocol: [{}, { options: { secureProtocol: 'TLSv1_2_method' } }],
  ciphers: [{}, { options: { ciphers: 'HIGH' } }],
  'the security level': [{ options: { ciphers: 'HIGH' } }, { options: { ciphers: 'HIGH:@SECLEVEL=2' } }],
  'tls.DEFAULT_CIPHERS': [
    { options: { ciphers: '' } },
    { options: { ciphers: '' }, state: { ciphers: 'HIGH' } },
  ],
  sigalgs: [{}, { options: { sigalgs: 'ecdsa_secp256r1_sha256' } }],
  ecdhCurve: [{}, { options: { ecdhCurve: 'P-384' } }],
  'tls.DEFAULT_ECDH_CURVE': [{}, { state: { ecdhCurve: 'P-384' } }],
  minDHSize: [{}, { options: { minDHSize: 2048 } }],
  'minDHSize in addition to a context': [{ context: {} }, { context: {}, options: { minDHSize: 2048 } }],
  secureOptions: [{}, { options: { secureOptions: 4 } }],
  'the type of a value': [{ options: { secureOptions: 4 } }, { options: { secureOptions: '4' } }],
  'secureOptions of a context': [{ context: {} }, { context: { secureOptions: 4 } }],
  ALPNProtocols: [{}, { options: { ALPNProtocols: bytes('\x02h2') } }],
  'a list in ALPNProtocols': [{ options: { ALPNProtocols: ['h2'] } }, { options: { ALPNProtocols: ['h3'] } }],
  'the borders in ALPNProtocols': [
    { options: { ALPNProtocols: ['h2', 'h3'] } },
    { options: { ALPNProtocols: ['h2h3'] } },
  ],
  'the content of ALPNProtocols': [
    { options: { ALPNProtocols: bytes('\x02h2') } },
    { options: { ALPNProtocols: bytes('\x02h3') } },
  ],
}

/** Pairs of calls that mean the same. */
const SAME: Record<string, [Change, Change]> = {
  'two equal calls': [{}, { options: { ...ordinary } }],
  'a ca as text and as bytes': [{ options: { ca: PEM } }, { options: { ca: bytes(PEM) } }],
  'a ca alone and in an array': [{ options: { ca: PEM } }, { options: { ca: [bytes(PEM)] } }],
  'an ALPN list as names and as bytes': [
    { options: { ALPNProtocols: bytes('\x02h2') } },
    { options: { ALPNProtocols: new Uint8Array(bytes('\x02h2')) } },
  ],
  'options that are undefined, null, false or empty': [
    { options: { cert: undefined, sigalgs: undefined, crl: null } },
    { options: { cert: '', sigalgs: null, pfx: null, ca: null, key: false } },
  ],
  'defaults that are given explicitly': [
    {},
    { options: { minVersion: state.minVersion, maxVersion: state.maxVersion, ecdhCurve: state.ecdhCurve } },
  ],
  'missing and empty ciphers, which mean the default': [
    { options: { ciphers: undefined } },
    { options: { ciphers: '' } },
  ],
  'the default ciphers, given explicitly': [{}, { options: { ciphers: undefined } }],
  'options and a context made from the same options': [{}, { context: { ciphers: state.ciphers } }],
  'options of the call that Node ignores with a context': [
    { context: {} },
    {
      context: {},
      options: { ca: PEM, ciphers: 'HIGH', minVersion: 'TLSv1.3', sigalgs: 'x', secureOptions: 4 },
    },
  ],
  'a host in addition to a server name': [{}, { options: { host: '127.0.0.1' } }],
}

describe('the binding', () => {
  it.each(Object.entries(DIFFERENT))('differs with %s', (_name, [one, other]) => {
    expect(bindingOf(one)).not.toBe(bindingOf(other))
  })

  it.each(Object.entries(SAME))('is the same for %s', (_name, [one, other]) => {
    expect(bindingOf(other)).toBe(bindingOf(one))
  })

  it.each(WITHOUT_EFFECT)('does not depend on %s', (option) => {
    for (const value of [undefined, 1, 'x', bytes('x'), {}]) {
      expect(bindingOf({ options: { [option]: value } })).toBe(bindingOf())
    }
  })

  /** Options for which a single word is not a different value, or not without others. */
  const GIVEN: Record<string, Change> = {
    rejectUnauthorized: { options: { rejectUnauthorized: false } },
    checkServerIdentity: { identityCheck: undefined },
    passphrase: { options: { key: 'one', passphrase: 'given' } },
  }

  it.each(BOUND)('differs, or does not exist, if %s is given', (option) => {
    const base = option === 'host' ? { servername: undefined } : {}
    const { options, ...change } = GIVEN[option] ?? { options: { [option]: 'given' } }
    const given = look({ ...change, options: { ...base, ...options } })
    if (!('leftAlone' in given)) expect(given.binding).not.toBe(bindingOf({ options: base }))
  })

  it('differs with the version of Node, whose OpenSSL may be built differently', () => {
    const { version } = process
    const ours = bindingOf()
    const setVersion = (value: string) =>
      Object.defineProperty(process, 'version', { value, configurable: true })
    setVersion('v24.0.0')
    const theirs = bindingOf()
    setVersion(version)
    expect(theirs).not.toBe(ours)
    expect(bindingOf()).toBe(ours)
  })
})
