import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { sleep } from '../../support/ports.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { accepts, isRefused, useCertifiedServer } from './certified-server.ts'
import { type Certified, certify } from './differential/certificates.ts'
import { type MutualNginx, missingNginx, startMutualNginx } from './differential/mutual-nginx.ts'
import { type Attempt, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// The chain that a server shows, and the certificate that a client has.

const given = useCertifiedServer()

for (const line of LINES) {
  const node = { node: nodeBinary(line) }

  describeWith(missingNode(line), `Node ${line}: a forged certificate in the chain does not hide`, () => {
    const hidden = async (real: Certified, test: (port: number) => Promise<void>) => {
      // OpenSSL takes no certificate as issuer whose key could not have made the signature.
      const bits = real.keys.publicKey.algorithm.name.startsWith('RSA') ? { bits: 2048 } : {}
      const forged = await certify({ subject: real.subject, keyIdOf: real, ...bits })
      const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: real })
      const one = await startTlsServer({ kind: 'raw', cert: leaf.cert + forged.cert, key: leaf.key })
      try {
        await test(one.port)
      } finally {
        await one.close()
      }
    }

    it('that the root has expired', () =>
      inSandbox(async (sandbox) => {
        const seconds = 8
        const real = await certify({ subject: 'brief root', until: seconds })
        const ends = sleep(seconds * 1000 + 500)
        await hidden(real, async (port) => {
          const input = { ...given.target, port, ca: real.cert }
          await accepts(sandbox, ONE, input, node)
          await ends
          await isRefused(sandbox, ONE, input, node)
        })
      }))

    // Node 20 and 22 accept it.
    const strict = line === '24' || line === '26'
    it.runIf(strict && !missingNode('20'))(
      'that the root is too weak, when Node 20 has stored the session',
      () =>
        inSandbox(async (sandbox) => {
          const real = await certify({ subject: 'weak root', bits: 1024 })
          await hidden(real, async (port) => {
            const input = { ...given.target, port, ca: real.cert }
            await accepts(sandbox, ONE, input, { node: nodeBinary('20') })
            await isRefused(sandbox, ONE, input, node)
          })
        }),
    )
  })

  describeWith(missingNode(line), `Node ${line}: a resumed socket`, () => {
    const CHAIN = `const chain = []
      const look = (socket) => {
        for (let one = socket.getPeerCertificate(true); one && !chain.includes(one.fingerprint256); one = one.issuerCertificate)
          chain.push(one.fingerprint256)
      }
      report({ ...(await attempt(input, look)), chain })`

    it.each(['TLSv1.2', 'TLSv1.3'] as const)('shows the whole verified chain, over %s', (version) =>
      inSandbox(async (sandbox) => {
        const input = { ...given.target, ca: given.root.cert, maxVersion: version }
        const show = () => run<Attempt & { chain: string[] }>(sandbox, CHAIN, input, node)
        const [first, second] = [await show(), await show()]
        expect([first.reused, second.reused, first.chain.length]).toEqual([false, true, 3])
        expect(second.chain).toEqual(first.chain)
      }),
    )

    it.each([
      ['issuerCertificate', 'socket.getPeerCertificate(true).issuerCertificate?.fingerprint256'],
      [
        'X509Certificate.issuerCertificate',
        'socket.getPeerX509Certificate().issuerCertificate?.fingerprint256',
      ],
    ])('is refused by a list of denied issuers that reads %s', (_name, issuer) =>
      inSandbox(async (sandbox) => {
        const input = { ...given.target, ca: given.root.cert }
        await accepts(sandbox, ONE, input, node)
        const body = `const denied = ${JSON.stringify(given.intermediate.fingerprint)}
          report(await attempt(input, (socket) => ${issuer} === denied && socket.destroy(new Error('denied'))))`
        expect((await run<Attempt>(sandbox, body, input, node)).seen.error).toBe('denied')
      }),
    )
  })

  describeWith(missingNode(line), `Node ${line}: a client certificate with the wrong key`, () => {
    let mutual: TlsServer
    let alice: Certified
    let bob: Certified
    let stray: Certified
    beforeAll(async () => {
      const clients = await certify({ subject: 'clients', bits: 2048 })
      alice = await certify({ subject: 'alice', client: true, issuer: clients, bits: 2048 })
      bob = await certify({ subject: 'bob', client: true, issuer: clients })
      stray = await certify({ subject: 'stray' })
      const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: given.root })
      const ofServer = { cert: leaf.cert, key: leaf.key, ca: clients.cert }
      mutual = await startTlsServer({ ...ofServer, kind: 'raw', requestCert: true })
    })
    afterAll(() => mutual?.close())
    const kept = { ...node, env: { TICKETKEEP_CLIENT_CERT: '1' } }
    const as = (cert: unknown, key: unknown) => ({
      ...given.target,
      port: mutual.port,
      ca: given.root.cert,
      cert,
      key,
    })

    it.each([
      ['a key of another type', () => [alice.cert, stray.key]],
      ['the key of the second of two certificates', () => [[alice.cert, bob.cert], bob.key]],
    ])('is not offered the session that the right key made: %s', (_name, given) =>
      inSandbox(async (sandbox) => {
        const [fits, misfit] = given()
        await accepts(sandbox, ONE, as(fits, alice.key), kept)
        const attacked = await run<Attempt>(sandbox, ONE, as(fits, misfit), kept)
        expect([offered(attacked), attacked.reused ?? false]).toEqual([false, false])
      }),
    )
  })

  describeWith(
    [missingNode(line), missingNginx()],
    `Node ${line}: a session made with a client certificate`,
    () => {
      let mutual: MutualNginx
      let alice: Certified
      beforeAll(async () => {
        const clients = await certify({ subject: 'clients' })
        alice = await certify({ subject: 'alice', client: true, issuer: clients })
        const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: given.root })
        mutual = await startMutualNginx({ cert: leaf.cert, key: leaf.key, clientCa: clients.cert })
      })
      afterAll(() => mutual?.stop())

      it('is not stored without TICKETKEEP_CLIENT_CERT, even if a program sets it right before the handshake', () =>
        inSandbox(async (sandbox) => {
          const plain = { ...given.target, port: mutual.port, ca: given.root.cert }
          const body = `const plain = input.plain
          const sessions = []
          const visit = (options, act = () => {}) => new Promise((done) => {
            let text = ''
            const socket = tls.connect(options, () => socket.write('GET / HTTP/1.0\\r\\n\\r\\n'))
            act(socket)
            socket.on('session', (session) => sessions.push(session))
            socket.on('data', (data) => (text += data)).on('error', () => {}).on('close', () => done(text))
          })
          await visit(plain)
          sessions.length = 0
          await visit({ ...plain, ...input.alice })
          const [session] = sessions
          report(await visit(plain, (socket) => socket.on('connectionAttempt', () =>
            process.nextTick(() => process.nextTick(() => socket.setSession(session))))))`
          const { cert, key } = alice
          expect(await run<string>(sandbox, body, { plain, alice: { cert, key } }, node)).toContain(
            'hello alice',
          )
          const next = `const text = await new Promise((done) => {
            let text = ''
            const socket = tls.connect(input, () => socket.write('GET / HTTP/1.0\\r\\n\\r\\n'))
            socket.on('data', (data) => (text += data)).on('error', () => {}).on('close', () => done(text))
          })
          report(text)`
          for (let i = 0; i < 4; i++)
            expect(await run<string>(sandbox, next, plain, node)).not.toContain('hello alice')
        }))
    },
  )
}
