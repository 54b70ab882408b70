import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { PRELOAD } from '../../support/places.ts'
import { sleep } from '../../support/ports.ts'
import type { RunOptions, Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Certified, certify } from './differential/certificates.ts'
import { type MutualNginx, missingNginx, startMutualNginx } from './differential/mutual-nginx.ts'
import {
  clockAt,
  clockInFile,
  DISGUISES,
  missingClock,
  missingMounts,
  missingPackages,
  opensslConf,
  PACKAGES,
  securityLevel,
  withMachineConfiguration,
} from './differential/way.ts'
import { type Attempt, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// What a hostile reader of the sources got through with: a session was kept or offered where a full handshake would have
// been refused. Here, what decides trust. `hostile-files.test.ts` has the rest.

let root: Certified
let otherRoot: Certified
let intermediate: Certified
let server: TlsServer
let target: { host: string; port: number; servername: string }

beforeAll(async () => {
  root = await certify({ subject: 'root' })
  otherRoot = await certify({ subject: 'another root' })
  intermediate = await certify({ subject: 'intermediate', issuer: root })
  const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: intermediate })
  server = await startTlsServer({ kind: 'raw', cert: leaf.cert + intermediate.cert, key: leaf.key })
  target = { host: '127.0.0.1', port: server.port, servername: 'a.test' }
})
afterAll(() => server?.close())

/** How a program is run; `nodeOptions` are its own, beside those that load the preload. */
type Ways = Partial<RunOptions> & { readonly nodeOptions?: string }

function connect(
  sandbox: Sandbox,
  body: string,
  input: object,
  ways: Ways,
  preload = true,
): Promise<Attempt> {
  const { nodeOptions, ...given } = ways
  if (nodeOptions === undefined) return run(sandbox, body, input, { ...given, preload })
  const NODE_OPTIONS = preload ? `--require ${JSON.stringify(PRELOAD)} ${nodeOptions}` : nodeOptions
  return run(sandbox, body, input, { ...given, preload: false, env: { ...given.env, NODE_OPTIONS } })
}

async function accepts(sandbox: Sandbox, body: string, input: object, ways: Ways): Promise<void> {
  const { seen } = await connect(sandbox, body, input, ways)
  expect(seen).toEqual({ authorized: true, text: expect.stringContaining('hello') })
}

/** A program ends with the tickets of others as it does without us, and offers none. */
async function isRefused(sandbox: Sandbox, body: string, input: object, ways: Ways): Promise<void> {
  const without = await connect(sandbox, body, input, ways, false)
  expect(without.seen.error).toBeDefined()
  const attacked = await connect(sandbox, body, input, ways)
  expect([attacked.seen, offered(attacked), attacked.reused ?? false]).toEqual([without.seen, false, false])
}

const pkg = `const pkg = require('node:module').createRequire(${JSON.stringify(`${PACKAGES}/`)})`

for (const line of LINES) {
  const node = { node: nodeBinary(line) }

  describeWith(
    [missingNode(line), missingPackages()],
    `Node ${line}: Function.prototype.toString was patched`,
    () => {
      for (const by of ['@sentry/core', 'zone.js']) {
        it(`by ${by}: a wrapped tls.checkServerIdentity refuses all the same`, () =>
          inSandbox(async (sandbox) => {
            const input = { ...target, ca: root.cert }
            await accepts(sandbox, ONE, input, node)
            const body = `${pkg}
            ${DISGUISES[by]}
            wrap('checkServerIdentity', () => () => Object.assign(new Error('pin'), { code: 'PIN' }))
            ${ONE}`
            await isRefused(sandbox, body, input, node)
          }))

        it(`by ${by}: what a wrapped tls.createSecureContext trusted is not offered to a program without it`, () =>
          inSandbox(async (sandbox) => {
            const body = `${pkg}
            ${DISGUISES[by]}
            wrap('createSecureContext', (own) => (options) => own({ ...options, ca: input.trusted }))
            report(await attempt({ ...input, trusted: undefined }))`
            await accepts(sandbox, body, { ...target, trusted: root.cert, ca: otherRoot.cert }, node)
            await isRefused(sandbox, ONE, { ...target, ca: otherRoot.cert }, node)
          }))
      }
    },
  )

  describeWith(missingNode(line), `Node ${line}: a chain that the server has made up does not hide`, () => {
    const hidden = async (real: Certified, test: (port: number) => Promise<void>) => {
      // OpenSSL takes no issuer for one that could not have made the signature.
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

    it('a root that has expired since', () =>
      inSandbox(async (sandbox) => {
        const seconds = 8
        const real = await certify({ subject: 'brief root', until: seconds })
        const ends = sleep(seconds * 1000 + 500)
        await hidden(real, async (port) => {
          const input = { ...target, port, ca: real.cert }
          await accepts(sandbox, ONE, input, node)
          await ends
          await isRefused(sandbox, ONE, input, node)
        })
      }))

    // For Node 20 and 22 it is good enough.
    const strict = line === '24' || line === '26'
    it.runIf(strict && !missingNode('20'))('a root that is too weak, after a connection by Node 20', () =>
      inSandbox(async (sandbox) => {
        const real = await certify({ subject: 'weak root', bits: 1024 })
        await hidden(real, async (port) => {
          const input = { ...target, port, ca: real.cert }
          await accepts(sandbox, ONE, input, { node: nodeBinary('20') })
          await isRefused(sandbox, ONE, input, node)
        })
      }),
    )
  })

  describeWith(missingNode(line), `Node ${line}: an OpenSSL configuration that refuses is obeyed`, () => {
    /** As `way` says, with a file that says level 1 and then one that says level 4, which P-256 does not reach. */
    const changing = (write: (sandbox: Sandbox, level: number) => Ways) => () =>
      inSandbox(async (sandbox) => {
        const input = { ...target, ca: root.cert }
        await accepts(sandbox, ONE, input, { ...node, ...write(sandbox, 1) })
        await isRefused(sandbox, ONE, input, { ...node, ...write(sandbox, 4) })
      })
    const conf = (level: number | string) => opensslConf(securityLevel(level))
    it(
      'where NODE_OPTIONS names one and the command line another',
      changing((sandbox, level) => ({
        nodeOptions: `--openssl-config=${sandbox.write('first.cnf', '')}`,
        flags: [`--openssl-config=${sandbox.write('second.cnf', conf(level))}`],
      })),
    )
    it(
      'where its path has a space and stands in quotes',
      changing((sandbox, level) => {
        sandbox.write('with', '')
        const path = sandbox.write('with space.cnf', conf(level))
        return { nodeOptions: `--openssl-config="${path}"` }
      }),
    )
    it(
      'where OpenSSL’s line continuation hides that it includes another',
      changing((sandbox, level) => {
        const inner = sandbox.write('inner.cnf', conf(level))
        return { env: { OPENSSL_CONF: sandbox.write('outer.cnf', `.inc\\\nlude ${inner}\n`) } }
      }),
    )
    it(
      'where OpenSSL’s line continuation hides that it asks the environment',
      changing((sandbox, level) => ({
        env: { OPENSSL_CONF: sandbox.write('asks.cnf', conf('$EN\\\nV::LEVEL')), LEVEL: String(level) },
      })),
    )
    describeWith(missingMounts(), 'the machine’s own', () => {
      it(
        'where it includes the file that has what Node reads',
        changing((sandbox, level) => {
          const inner = sandbox.write('inner.cnf', conf(level))
          return { prefix: withMachineConfiguration(sandbox.write('machine.cnf', `.include ${inner}\n`)) }
        }),
      )
    })
  })

  describeWith([missingNode(line), missingClock()], `Node ${line}: after the clock was set forward`, () => {
    const stepped = (sandbox: Sandbox): Ways => {
      sandbox.write('clock', '+0')
      const env = { ...clockInFile, FAKETIME_TIMESTAMP_FILE: join(sandbox.directory, 'clock') }
      return { ...node, env: { ...env, NODE_EXTRA_CA_CERTS: join(sandbox.directory, 'extra.pem') } }
    }
    /** Node has read its file; then the file changes, and the clock. */
    const body = `const fs = require('node:fs')
      tls.createSecureContext()
      fs.writeFileSync(process.env.NODE_EXTRA_CA_CERTS, input.later)
      fs.writeFileSync(process.env.FAKETIME_TIMESTAMP_FILE, '+1h')
      report(await attempt(input.target))`

    it('a CA file that came later is not taken for the one that Node has read', () =>
      inSandbox(async (sandbox) => {
        sandbox.write('extra.pem', root.cert)
        await accepts(sandbox, ONE, target, {
          ...node,
          env: { NODE_EXTRA_CA_CERTS: join(sandbox.directory, 'extra.pem') },
        })
        for (const preload of [false, true]) {
          sandbox.write('extra.pem', otherRoot.cert)
          const ways = { ...stepped(sandbox), preload }
          const { seen, reused } = await run<Attempt>(sandbox, body, { target, later: root.cert }, ways)
          expect([seen.error, reused ?? false]).toEqual(['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', false])
        }
      }))

    it('a session is not kept under a CA file that came later', () =>
      inSandbox(async (sandbox) => {
        sandbox.write('extra.pem', root.cert)
        await accepts(sandbox, body, { target, later: otherRoot.cert }, stepped(sandbox))
        const path = sandbox.write('other.pem', otherRoot.cert)
        // At the same time: a ticket from the future is not offered.
        const env = { ...clockAt('+1h'), NODE_EXTRA_CA_CERTS: path }
        await isRefused(sandbox, ONE, target, { ...node, env })
      }))
  })

  describeWith(missingNode(line), `Node ${line}: a resumed socket`, () => {
    const CHAIN = `const chain = []
      const look = (socket) => {
        for (let one = socket.getPeerCertificate(true); one && !chain.includes(one.fingerprint256); one = one.issuerCertificate)
          chain.push(one.fingerprint256)
      }
      report({ ...(await attempt(input, look)), chain })`

    it.each(['TLSv1.2', 'TLSv1.3'] as const)('shows the whole chain that was verified, in %s', (version) =>
      inSandbox(async (sandbox) => {
        const input = { ...target, ca: root.cert, maxVersion: version }
        const show = () => run<Attempt & { chain: string[] }>(sandbox, CHAIN, input, node)
        const [first, second] = [await show(), await show()]
        expect([first.reused, second.reused, first.chain.length]).toEqual([false, true, 3])
        expect(second.chain).toEqual(first.chain)
      }),
    )

    it.each([
      ['issuerCertificate', 'socket.getPeerCertificate(true).issuerCertificate?.fingerprint256'],
      ['the X509Certificate', 'socket.getPeerX509Certificate().issuerCertificate?.fingerprint256'],
    ])('is refused by a list of issuers that are denied, by %s', (_name, issuer) =>
      inSandbox(async (sandbox) => {
        const input = { ...target, ca: root.cert }
        await accepts(sandbox, ONE, input, node)
        const body = `const denied = ${JSON.stringify(intermediate.fingerprint)}
          report(await attempt(input, (socket) => ${issuer} === denied && socket.destroy(new Error('denied'))))`
        expect((await run<Attempt>(sandbox, body, input, node)).seen.error).toBe('denied')
      }),
    )
  })

  describeWith(missingNode(line), `Node ${line}: a client certificate with a key that does not fit`, () => {
    let mutual: TlsServer
    let alice: Certified
    let bob: Certified
    let stray: Certified
    beforeAll(async () => {
      const clients = await certify({ subject: 'clients', bits: 2048 })
      alice = await certify({ subject: 'alice', client: true, issuer: clients, bits: 2048 })
      bob = await certify({ subject: 'bob', client: true, issuer: clients })
      stray = await certify({ subject: 'stray' })
      const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: root })
      const given = { cert: leaf.cert, key: leaf.key, ca: clients.cert }
      mutual = await startTlsServer({ ...given, kind: 'raw', requestCert: true })
    })
    afterAll(() => mutual?.close())
    const kept = { ...node, env: { TICKETKEEP_CLIENT_CERT: '1' } }
    const as = (cert: unknown, key: unknown) => ({ ...target, port: mutual.port, ca: root.cert, cert, key })

    it.each([
      ['a key of another kind', () => [alice.cert, stray.key]],
      ['the key of the second of two', () => [[alice.cert, bob.cert], bob.key]],
    ])('does not log in by the session of one that does: %s', (_name, given) =>
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
    `Node ${line}: a session that a client certificate made`,
    () => {
      let mutual: MutualNginx
      let alice: Certified
      beforeAll(async () => {
        const clients = await certify({ subject: 'clients' })
        alice = await certify({ subject: 'alice', client: true, issuer: clients })
        const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: root })
        mutual = await startMutualNginx({ cert: leaf.cert, key: leaf.key, clientCa: clients.cert })
      })
      afterAll(() => mutual?.stop())

      it('is not kept without TICKETKEEP_CLIENT_CERT because a program sets it at the last moment', () =>
        inSandbox(async (sandbox) => {
          const plain = { ...target, port: mutual.port, ca: root.cert }
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

  describeWith(missingNode(line), `Node ${line}: a list of CAs`, () => {
    it('is read once: one that shows another CA at the second look is not believed', () =>
      inSandbox(async (sandbox) => {
        await accepts(sandbox, ONE, { ...target, ca: root.cert }, node)
        const body = `let looks = 0
          const ca = Object.defineProperty([], '0', {
            enumerable: true, get: () => (looks++ === 0 ? input.other : input.ca) })
          report(await attempt({ ...input.target, ca }))`
        await isRefused(sandbox, body, { target, ca: root.cert, other: otherRoot.cert }, node)
      }))
  })
}
