import { constants } from 'node:crypto'
import tls from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import { BOUND, REFUSED, WITHOUT_EFFECT } from '../../src/tls/admission.ts'
import { CALL_OPTIONS, CONTEXT_OPTIONS, READ_LATER } from '../../src/tls/call.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { admitted, type Change, look, reasonOf } from './kit.ts'
import { optionsReadByNode } from './node-sources.ts'

describe('the lists of options', () => {
  const all = [...BOUND, ...REFUSED, ...WITHOUT_EFFECT]

  it('name no option twice', () => {
    expect(all.filter((name, i) => all.indexOf(name) !== i)).toEqual([])
  })

  it('name exactly the options that noteOptions notes', () => {
    expect([...all].sort()).toEqual([...CONTEXT_OPTIONS, ...CALL_OPTIONS].sort())
  })
})

/** Options of `tls.connect` that do not affect trust. */
const NO_MATTER_OF_TRUST = [
  ...['allowHalfOpen', 'highWaterMark', 'onread', 'signal'], // of streams
  ...['noDelay', 'keepAlive', 'keepAliveInitialDelay', 'timeout'], // of TCP
  'path', // where the connection goes: a pipe
  'enableTrace', // what is printed
  'isServer', // `tls.connect` always sets it to false
]

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `in the sources of Node ${line}`, () => {
    it.each(['configSecureContext', 'createSecureContext'])(
      '%s reads no option that is not noted',
      async (name) => {
        const read = await optionsReadByNode(line, name)
        expect(read).toContain(name === 'configSecureContext' ? 'ca' : 'minVersion')
        expect(read.filter((option) => !CONTEXT_OPTIONS.includes(option))).toEqual([])
      },
    )

    it.each(['connect', 'onConnectSecure', 'getSessionServerIdentity', 'getSessionForReuse'])(
      '%s reads no option that is not listed',
      async (name) => {
        const read = await optionsReadByNode(line, name)
        // Node 20 has no such functions, and `onConnectSecure` reads the name itself.
        if (line !== '20' || !name.startsWith('getSession')) expect(read.length).toBeGreaterThan(0)
        const listed = [...CONTEXT_OPTIONS, ...CALL_OPTIONS, ...NO_MATTER_OF_TRUST]
        expect(read.filter((option) => !listed.includes(option))).toEqual([])
      },
    )

    it('the options that are read after the handshake are compared after it', async () => {
      const read = await optionsReadByNode(line, 'onConnectSecure')
      const harmless = ['ALPNProtocols', 'session', 'isServer', 'socket', ...NO_MATTER_OF_TRUST]
      expect(
        read.filter((name) => ![...READ_LATER, 'rejectUnauthorized', ...harmless].includes(name)),
      ).toEqual([])
    })

    it('the search finds options that decide trust', async () => {
      const read = [
        ...(await optionsReadByNode(line, 'connect')),
        ...(await optionsReadByNode(line, 'onConnectSecure')),
      ]
      expect(read).toEqual(
        expect.arrayContaining(['secureContext', 'checkServerIdentity', 'rejectUnauthorized']),
      )
      expect(read).toEqual(
        expect.arrayContaining(['minDHSize', 'pskCallback', 'requestOCSP', 'ALPNProtocols']),
      )
    })
  })
}

describe('an ordinary call', () => {
  it('is attended under the name that Node verifies', () => {
    expect(look()).toMatchObject({ name: 'a.test', partial: false, identityCheck: tls.checkServerIdentity })
    expect(look({ options: { servername: undefined } })).toMatchObject({ name: 'a.test' })
    expect(look({ options: { servername: 'b.test' } })).toMatchObject({ name: 'b.test' })
    expect(look({ options: { servername: '', host: '127.0.0.1' } })).toMatchObject({ name: '127.0.0.1' })
  })

  it('trusts the certificates in `ca`, and by default those that Node lists', () => {
    expect(admitted().trusted.certificates()).toHaveLength(tls.rootCertificates.length)
    expect(admitted({ options: { ca: tls.rootCertificates[0] } }).trusted.certificates()).toHaveLength(1)
    expect(admitted({ context: { ca: tls.rootCertificates[0] } }).trusted.certificates()).toHaveLength(1)
  })

  it('says whether a partial chain is enough', () => {
    expect(look({ options: { allowPartialTrustChain: true } })).toMatchObject({ partial: true })
    expect(look({ context: { allowPartialTrustChain: true } })).toMatchObject({ partial: true })
  })
})

const NO_TICKET = constants.SSL_OP_NO_TICKET

const LEFT_ALONE: [string, string, Change][] = [
  [
    'a function of Node is replaced',
    'tls createSecureContext is not',
    { state: { replaced: 'createSecureContext' } },
  ],
  ['it has no server name', 'names no server', { options: { host: undefined, servername: undefined } }],
  ['its server names are empty', 'names no server', { options: { host: '', servername: null } }],
  ['its server name is not text', 'names no server', { options: { servername: 7 } }],
  ['rejectUnauthorized is false', 'verification is disabled', { options: { rejectUnauthorized: false } }],
  ['rejectUnauthorized is null', 'verification is disabled', { options: { rejectUnauthorized: null } }],
  ['rejectUnauthorized is 1', 'verification is disabled', { options: { rejectUnauthorized: 1 } }],
  ['the program checks the identity', 'checks the identity itself', { identityCheck: undefined }],
  ['the context is unknown', 'before ticketkeep could see it', { options: { secureContext: {} } }],
  ['the context was changed', 'changed after it was made', { context: {}, isIntact: false }],
  [
    'Node does not list its default CAs',
    'NODE_EXTRA_CA_CERTS may have changed',
    { state: { defaultRoots: undefined } },
  ],
  ['a ca is a proxy', 'option ca is not text', { options: { ca: new Proxy(['x'], {}) } }],
  ['a ca is an object', 'option ca is not text', { options: { ca: { pem: 'x' } } }],
  ['a ca is a list of lists', 'option ca is not text', { options: { ca: [['x']] } }],
  ['a ca of its context is not text', 'option ca is not text', { context: { ca: [1] } }],
  ['the ciphers are an object', 'not plain text', { options: { ciphers: { toString: () => 'HIGH' } } }],
  ['the signature algorithms are a symbol', 'not plain text', { options: { sigalgs: Symbol('x') } }],
  ['the groups are an array', 'not plain text', { options: { ecdhCurve: ['P-256'] } }],
  ['the ALPN list contains a number', 'not plain text', { options: { ALPNProtocols: [7] } }],
  ['the ALPN list is an object', 'not plain text', { options: { ALPNProtocols: {} } }],
  ['tls.DEFAULT_CIPHERS is not text', 'not plain text', { options: { ciphers: '' }, state: { ciphers: {} } }],
  ['SSL_OP_NO_TICKET is among its options', 'wants no tickets', { options: { secureOptions: NO_TICKET } }],
  [
    'SSL_OP_NO_TICKET is among the options of its context',
    'wants no tickets',
    { context: { secureOptions: NO_TICKET | 4 } },
  ],
  [
    'it has SSL_OP_NO_TICKET in addition to a context',
    'wants no tickets',
    { context: {}, options: { secureOptions: NO_TICKET } },
  ],
  ['it has maxCachedSessions: 0', 'maxCachedSessions: 0', { options: { maxCachedSessions: 0 } }],
  ['its agent has maxCachedSessions: 0', 'maxCachedSessions: 0', { agent: { maxCachedSessions: 0 } }],
  ['it is of a request with session: null', 'session: null', { agent: {}, options: { session: null } }],
  [
    'it has session: null and no listener for sessions',
    'session: null',
    { keepsSessions: false, options: { session: null } },
  ],
]

/** What looks like an opt-out and is none: libraries pass it on their first connections, or Node gives it another meaning. */
const ATTENDED: [string, Change][] = [
  ['session: null, if the program listens for sessions', { keepsSessions: true, options: { session: null } }],
  ['session: null in a tunnel', { options: { session: null } }],
  ['session: undefined', { keepsSessions: false, agent: {}, options: { session: undefined } }],
  ['an agent that keeps one session', { agent: { maxCachedSessions: 1 } }],
  ['other options of OpenSSL', { options: { secureOptions: 4 } }],
]

const given: Record<string, unknown> = {
  crl: 'x',
  requestOCSP: true,
  pskCallback: () => null,
  sessionIdContext: 'x',
  ticketKeys: Buffer.alloc(48),
  clientCertEngine: 'x',
  privateKeyEngine: 'x',
  privateKeyIdentifier: 'x',
}

describe('a call is attended in spite of', () => {
  it.each(ATTENDED)('%s', (_name, change) => {
    expect(look(change)).toHaveProperty('binding')
  })
})

describe('a call is left alone if', () => {
  it.each(LEFT_ALONE)('%s', (_name, reason, change) => {
    expect(reasonOf(change)).toContain(reason)
  })

  it.each(REFUSED)('%s is given', (option) => {
    const value = given[option]
    expect(value).toBeDefined()
    expect(reasonOf({ options: { [option]: value } })).toBe(`the option ${option} is set`)
    expect(reasonOf({ context: {}, options: { [option]: value } })).toBe(`the option ${option} is set`)
    if (!CONTEXT_OPTIONS.includes(option)) return
    expect(reasonOf({ context: { [option]: value } })).toBe(`the option ${option} is set`)
  })

  it('a revocation list is given, even an empty one', () => {
    expect(reasonOf({ options: { crl: [] } })).toBe('the option crl is set')
  })
})

describe('a client certificate', () => {
  let alice: { cert: string; key: string }
  let bob: { cert: string; key: string }
  beforeAll(async () => {
    const ca = await createAuthority()
    alice = await ca.issue({ client: true, commonName: 'alice' })
    bob = await ca.issue({ client: true, commonName: 'bob' })
  })

  it('is left alone without the opt-in', () => {
    for (const options of [alice, { key: alice.key }, { cert: alice.cert }, { pfx: 'x' }]) {
      expect(reasonOf({ options, clientCertificates: false })).toContain('TICKETKEEP_CLIENT_CERT')
      expect(reasonOf({ context: options, clientCertificates: false })).toContain('TICKETKEEP_CLIENT_CERT')
    }
  })

  it('is left alone unless it is one certificate with its one key', () => {
    const list = { cert: [alice.cert], key: alice.key }
    for (const options of [list, { cert: alice.cert, key: bob.key }, { cert: alice.cert }, { pfx: 'x' }]) {
      expect(reasonOf({ options })).toContain('not one certificate with one matching key')
    }
  })

  it('changes the binding, and each certificate gives another one', () => {
    const bindings = [{}, alice, bob].map((options) => admitted({ options }).binding)
    expect(new Set(bindings).size).toBe(3)
  })
})
