import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../../support/pki.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, FACE, harvested, inSandbox, LINES, offered, run } from './kit.ts'

/**
 * One process fills the store under ordinary options. The next makes one connection for each attack. None of them may
 * be offered the stored session, and each must end as it does without ticketkeep. At the end the ordinary options must still
 * be offered the session, or the test proves nothing.
 *
 * An attack is the body of `async (ordinary) => …` in the child, and returns what `attempt` returned.
 */
const ATTACKS: Record<string, string> = {
  'another CA': `return attempt({ ...ordinary, ca: input.otherCa })`,
  'one more CA': `return attempt({ ...ordinary, ca: [input.ca, input.otherCa] })`,
  'the default CAs': `return attempt({ ...ordinary, ca: undefined })`,
  'a revocation list with the certificate': `return attempt({ ...ordinary, crl: input.crl })`,
  'allowPartialTrustChain in the options': `return attempt({ ...ordinary, allowPartialTrustChain: true })`,
  'another security level': `return attempt({ ...ordinary, ciphers: tls.DEFAULT_CIPHERS + ':@SECLEVEL=3' })`,
  'a larger minDHSize': `return attempt({ ...ordinary, minDHSize: 4096 })`,
  'verification disabled': `return attempt({ ...ordinary, rejectUnauthorized: false })`,
  'rejectUnauthorized undefined, and no CA of the server': `
    return attempt({ ...ordinary, ca: input.otherCa, rejectUnauthorized: undefined })`,
  'a checkServerIdentity in the options that refuses all': `return attempt({ ...ordinary, checkServerIdentity: () => new Error('never') })`,
  'a checkServerIdentity in the options that allows all': `return attempt({ ...ordinary, checkServerIdentity: () => {} })`,
  'a replaced tls.checkServerIdentity': `
    const own = tls.checkServerIdentity
    tls.checkServerIdentity = () => new Error('never')
    try { return await attempt(ordinary) } finally { tls.checkServerIdentity = own }`,
  'a replaced tls.createSecureContext': `
    const own = tls.createSecureContext
    tls.createSecureContext = (options) => own({ ...options, ca: input.otherCa })
    try { return await attempt(ordinary) } finally { tls.createSecureContext = own }`,
  'a secureContext to which addCACert was called': `
    const secureContext = tls.createSecureContext({ ca: input.ca })
    secureContext.context.addCACert(input.otherCa)
    return attempt({ ...ordinary, secureContext })`,
  'a secureContext of another CA': `
    return attempt({ ...ordinary, secureContext: tls.createSecureContext({ ca: input.otherCa }) })`,
  'a secureContext whose options are inherited': `
    return attempt({ ...ordinary, secureContext: tls.createSecureContext(Object.create({ ca: input.otherCa })) })`,
  'a secureContext made by hand': `return attempt({ ...ordinary, secureContext: new tls.SecureContext() })`,
  'requestOCSP in the options': `return attempt({ ...ordinary, requestOCSP: true })`,
  'sessionIdContext in the options': `return attempt({ ...ordinary, sessionIdContext: 'mine' })`,
  'pskCallback in the options': `return attempt({ ...ordinary, pskCallback: () => null })`,
  'a client certificate': `return attempt({ ...ordinary, cert: input.client.cert, key: input.client.key })`,
  'a higher minVersion': `return attempt({ ...ordinary, minVersion: 'TLSv1.3' })`,
  'a lower maxVersion': `return attempt({ ...ordinary, maxVersion: 'TLSv1.2' })`,
  'another tls.DEFAULT_MIN_VERSION': `
    const own = tls.DEFAULT_MIN_VERSION
    tls.DEFAULT_MIN_VERSION = 'TLSv1.1'
    try { return await attempt(ordinary) } finally { tls.DEFAULT_MIN_VERSION = own }`,
  'other ciphers': `return attempt({ ...ordinary, ciphers: 'TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384' })`,
  'another tls.DEFAULT_CIPHERS': `
    const own = tls.DEFAULT_CIPHERS
    tls.DEFAULT_CIPHERS = 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256'
    try { return await attempt(ordinary) } finally { tls.DEFAULT_CIPHERS = own }`,
  'other signature algorithms': `return attempt({ ...ordinary, sigalgs: 'ecdsa_secp256r1_sha256' })`,
  'other groups': `return attempt({ ...ordinary, ecdhCurve: 'P-384' })`,
  secureOptions: `return attempt({ ...ordinary, secureOptions: require('node:constants').SSL_OP_NO_TLSv1_1 })`,
  'an ALPN list': `return attempt({ ...ordinary, ALPNProtocols: ['http/1.1'] })`,
  'another server name, which the certificate bears too': `return attempt({ ...ordinary, servername: 'b.test' })`,
  'another server name, which it does not bear': `return attempt({ ...ordinary, servername: 'c.test' })`,
  'the same name on another port': `return attempt({ ...ordinary, port: input.otherPort })`,
  'one options object, changed for another host': `
    const one = { ...ordinary }
    await attempt({ ...one, port: input.otherPort })
    one.servername = 'd.test'
    return attempt(one)`,
  'neither host nor server name': `return attempt({ ...ordinary, servername: undefined, host: undefined })`,
}

const PATCHED_BEFORE: Record<string, string> = {
  checkServerIdentity: `tls.checkServerIdentity = () => new Error('never')`,
  createSecureContext: `
    const own = tls.createSecureContext
    tls.createSecureContext = (options) => own({ ...options, ca: input.otherCa })`,
  setDefaultCACertificates: `tls.setDefaultCACertificates?.([input.otherCa])`,
}

/** A connector for HTTP has a list of its own, and a target that has a name. */
const attacks = Object.entries(ATTACKS).filter(([name]) => {
  if (FACE === 'ticketConnector') return !['an ALPN list', 'neither host nor server name'].includes(name)
  return FACE !== 'resumable' || name !== 'an ALPN list'
})

let ca: Authority
let otherCa: Authority
let identity: Identity
let client: Identity
let input: Record<string, unknown>
let servers: Record<'TLSv1.2' | 'TLSv1.3', TlsServer>
let another: TlsServer

beforeAll(async () => {
  ca = await createAuthority()
  otherCa = await createAuthority({ commonName: 'another root' })
  identity = await ca.issue({ names: ['a.test', 'b.test', 'd.test'] })
  client = await ca.issue({ names: ['client'], client: true })
  servers = {
    'TLSv1.2': await startTlsServer({ ...identity, kind: 'raw', version: 'TLSv1.2' }),
    'TLSv1.3': await startTlsServer({ ...identity, kind: 'raw', version: 'TLSv1.3' }),
  }
  another = await startTlsServer({ ...identity, kind: 'raw' })
  input = {
    ca: ca.cert,
    otherCa: otherCa.cert,
    crl: await ca.revoke(identity),
    client,
    otherPort: another.port,
  }
})
afterAll(async () => {
  for (const server of [...Object.values(servers ?? {}), another]) await server?.close()
})

const ordinary = (port: number) => ({ host: '127.0.0.1', port, servername: 'a.test', ca: ca.cert })

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = () => ({ node: nodeBinary(line) })

    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a stored %s session', (version) => {
      let results: { before: Attempt[]; attacks: Attempt[]; after: Attempt }
      let without: { attacks: Attempt[] }

      beforeAll(() =>
        inSandbox(async (sandbox) => {
          const body = `
            const ordinary = input.ordinary
            const attacks = [${attacks.map(([, attack]) => `async () => {${attack}}`)}]
            const before = []
            const results = []
            for (let i = 0; i < input.fill; i++) before.push(await attempt(ordinary))
            if (!input.fill) for (const attack of attacks) results.push(await attack())
            report({ before, attacks: results, after: input.fill ? undefined : await attempt(ordinary) })`
          const all = { ...input, ordinary: ordinary(servers[version].port) }
          const filled = await run<typeof results>(sandbox, body, { ...all, fill: 1 }, node())
          results = {
            ...(await run<typeof results>(sandbox, body, { ...all, fill: 0 }, node())),
            before: filled.before,
          }
          without = await run(sandbox, body, { ...all, fill: 0 }, { ...node(), preload: false })
        }),
      )

      it('is offered with the same options after all attacks', () => {
        expect(results.before.map(harvested)).toEqual([true])
        expect(offered(results.after)).toBe(true)
        expect(results.after.reused).toBe(true)
      })

      it.each(attacks.map(([name], i) => [name, i] as const))('is not offered with %s', (_name, i) => {
        const [ours, theirs] = [results.attacks[i], without.attacks[i]]
        expect(ours?.events.filter((event) => !event.startsWith('skip') && event !== 'harvest')).toEqual([])
        expect({ seen: ours?.seen, reused: ours?.reused }).toEqual({
          seen: theirs?.seen,
          reused: theirs?.reused,
        })
      })
    })

    // The library cannot know which CAs Node 20 has read from NODE_EXTRA_CA_CERTS.
    const patched = Object.entries(PATCHED_BEFORE).filter(
      ([name]) => !FACE || line !== '20' || name !== 'setDefaultCACertificates',
    )
    it.each(patched)(
      'a program that replaces tls.%s before its first connection is offered no session',
      (_name, patch) =>
        inSandbox(async (sandbox) => {
          const explicit = { ...input, ordinary: ordinary(servers['TLSv1.3'].port) }
          const defaults = { ...explicit, ordinary: { ...explicit.ordinary, ca: undefined } }
          const all = patch.includes('Default') ? defaults : explicit
          const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) }
          const body = `
            ${patch}
            report([await attempt(input.ordinary), await attempt(input.ordinary), await attempt(input.ordinary)])`
          const filled = await run<Attempt[]>(sandbox, 'report([await attempt(input.ordinary)])', all, {
            ...node(),
            env,
          })
          expect(filled.map(harvested)).toContain(true)
          const ours = await run<Attempt[]>(sandbox, body, all, { ...node(), env })
          const theirs = await run<Attempt[]>(sandbox, body, all, { ...node(), env, preload: false })
          const supported = !patch.includes('Default') || line !== '20'
          if (supported)
            expect(ours.flatMap(({ events }) => events).filter((e) => !e.startsWith('skip'))).toEqual([])
          expect(ours.map(({ seen }) => seen)).toEqual(theirs.map(({ seen }) => seen))
        }),
    )
  })
}
