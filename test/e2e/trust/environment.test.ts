import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority } from '../../support/pki.ts'
import { PRELOAD } from '../../support/places.ts'
import type { RunOptions, Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, program, run } from './kit.ts'

let ca: Authority
let otherCa: Authority
let server: TlsServer
let target: { host: string; port: number; servername: string }

beforeAll(async () => {
  ca = await createAuthority()
  otherCa = await createAuthority({ commonName: 'another root' })
  server = await startTlsServer({ ...(await ca.issue({ names: ['a.test'] })), kind: 'raw' })
  target = { host: '127.0.0.1', port: server.port, servername: 'a.test' }
})
afterAll(() => server?.close())

type Ways = Partial<RunOptions>
const withCa = (sandbox: Sandbox, name = 'ca.pem') => ({
  env: { NODE_EXTRA_CA_CERTS: sandbox.write(name, ca.cert) },
})

/** One connection with ticketkeep and one without, which must end alike. */
async function attack(sandbox: Sandbox, ways: Ways, body = ONE, input: unknown = target): Promise<Attempt> {
  const ours = await run<Attempt>(sandbox, body, input, ways)
  const theirs = await run<Attempt>(sandbox, body, input, { ...ways, preload: false })
  expect({ seen: ours.seen, reused: ours.reused }).toEqual({ seen: theirs.seen, reused: theirs.reused })
  return ours
}

async function fill(sandbox: Sandbox, ways: Ways, body = ONE, input: unknown = target): Promise<void> {
  expect(harvested(await run(sandbox, body, input, ways))).toBe(true)
  expect(sandbox.stored().length).toBeGreaterThan(0)
}

/** The session is stored under what Node trusted then. A Node that does not list its CAs stores nothing. */
function isBoundOrLeftAlone({ seen, events }: Attempt): void {
  expect(seen.authorized).toBe(true)
  const reason = 'the file of NODE_EXTRA_CA_CERTS may have changed since the process started'
  if (!events.includes('harvest')) expect(events).toEqual([`skip: ${reason}`])
}

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}: a stored session is not offered when`, () => {
    const node = { node: nodeBinary(line) }

    it('the file of NODE_EXTRA_CA_CERTS has other content, until it has the old content again', () =>
      inSandbox(async (sandbox) => {
        const ways = { ...node, ...withCa(sandbox) }
        await fill(sandbox, ways)
        sandbox.write('ca.pem', otherCa.cert)
        const attacked = await attack(sandbox, ways)
        expect(offered(attacked)).toBe(false)
        expect(attacked.seen.error).toBeDefined()
        sandbox.write('ca.pem', ca.cert)
        expect(offered(await run(sandbox, ONE, target, ways))).toBe(true)
      }))

    it('NODE_EXTRA_CA_CERTS is not set', () =>
      inSandbox(async (sandbox) => {
        await fill(sandbox, { ...node, ...withCa(sandbox) })
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    it('the program that stored it had deleted NODE_EXTRA_CA_CERTS, whose CAs Node still trusted', () =>
      inSandbox(async (sandbox) => {
        const body = `delete process.env.NODE_EXTRA_CA_CERTS; delete process.env.NODE_OPTIONS; ${ONE}`
        await run(sandbox, body, target, { ...node, ...withCa(sandbox) })
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    const tells = line === '20' ? 'this Node does not tell its CAs' : undefined
    describeWith(tells, 'NODE_EXTRA_CA_CERTS holds an expired copy of an intermediate, and', () => {
      // Node lists it only where the variable is still set, and OpenSSL builds its path by it all the same.
      const WORKER = `
        const { Worker } = require('node:worker_threads')
        const { NODE_EXTRA_CA_CERTS, ...env } = process.env
        new Worker(input.program, { eval: true, env, argv: [JSON.stringify(input.target)] })`
      it.each([
        [
          'the program deletes the variable',
          `delete process.env.NODE_EXTRA_CA_CERTS; report(await attempt(input.target))`,
        ],
        ['a worker thread does not have the variable', WORKER],
      ])('%s', (_how, body) =>
        inSandbox(async (sandbox) => {
          mkdirSync(join(sandbox.directory, 'certs'))
          const env = {
            NODE_USE_SYSTEM_CA: '1',
            SSL_CERT_FILE: sandbox.write('ca.pem', ca.cert),
            SSL_CERT_DIR: join(sandbox.directory, 'certs'),
          }
          const ways = { ...node, env }
          const chain = await ca.intermediate()
          const [hour, day] = [3_600_000, 86_400_000]
          const dates = { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - hour) }
          const expired = await ca.intermediate({ keys: chain.keys, ...dates })
          const below = await startTlsServer({ ...(await chain.issue({ names: ['a.test'] })), kind: 'raw' })
          try {
            const input = { target: { ...target, port: below.port }, program: program(ONE) }
            await fill(sandbox, ways, ONE, input.target)
            const extra = { NODE_EXTRA_CA_CERTS: sandbox.write('expired.pem', expired.cert) }
            const attacked = await attack(sandbox, { ...ways, env: { ...env, ...extra } }, body, input)
            expect([attacked.seen.error, offered(attacked)]).toEqual(['CERT_HAS_EXPIRED', false])
            expect(offered(await run(sandbox, ONE, input.target, ways))).toBe(true)
          } finally {
            await below.close()
          }
        }),
      )
    })

    it('the CA file was replaced after the process that stored it had read it', () =>
      inSandbox(async (sandbox) => {
        const ways = { ...node, ...withCa(sandbox) }
        const body = `
          tls.createSecureContext()
          await new Promise((done) => setTimeout(done, 20))
          require('node:fs').writeFileSync(process.env.NODE_EXTRA_CA_CERTS, input.other)
          report(await attempt(input.target))`
        const made = await run<Attempt>(sandbox, body, { target, other: otherCa.cert }, ways)
        isBoundOrLeftAlone(made)
        expect(offered(await attack(sandbox, ways))).toBe(false)
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    it('the CA file was replaced before the process that stored it had read it', () =>
      inSandbox(async (sandbox) => {
        const ways = { ...node, env: { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', otherCa.cert) } }
        const body = `
          require('node:fs').writeFileSync(process.env.NODE_EXTRA_CA_CERTS, input.ca)
          report(await attempt(input.target))`
        const made = await run<Attempt>(sandbox, body, { target, ca: ca.cert }, ways)
        if (made.seen.authorized) isBoundOrLeftAlone(made)
        sandbox.write('ca.pem', otherCa.cert)
        expect(offered(await attack(sandbox, ways))).toBe(false)
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    it('the CA file was removed while the process that stored it ran', () =>
      inSandbox(async (sandbox) => {
        const body = `
          tls.createSecureContext()
          require('node:fs').unlinkSync(process.env.NODE_EXTRA_CA_CERTS)
          report(await attempt(input))`
        isBoundOrLeftAlone(await run<Attempt>(sandbox, body, target, { ...node, ...withCa(sandbox) }))
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    it('a worker with an environment of its own made it', () =>
      inSandbox(async (sandbox) => {
        const body = `
          const { Worker } = require('node:worker_threads')
          const { NODE_EXTRA_CA_CERTS, ...env } = process.env
          const worker = new Worker(
            'const { parentPort, workerData } = require("node:worker_threads");' +
            'const { attempt } = require(workerData.attempt);' +
            'attempt(workerData.target).then((a) => parentPort.postMessage(a))',
            { eval: true, env,
              workerData: { target: input, attempt: require.resolve(${JSON.stringify(join(process.cwd(), 'test/e2e/trust/attempt.cjs'))}) } })
          worker.on('message', report)`
        const made = await run<Attempt>(sandbox, body, target, { ...node, ...withCa(sandbox) })
        expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    it('the process has --use-openssl-ca and so is left alone', () =>
      inSandbox(async (sandbox) => {
        mkdirSync(join(sandbox.directory, 'certs'))
        const env = (name: string, content: string) => ({
          SSL_CERT_FILE: sandbox.write(name, content),
          SSL_CERT_DIR: join(sandbox.directory, 'certs'),
        })
        const flags = ['--use-openssl-ca']
        const ways = { ...node, flags, env: env('ca.pem', ca.cert) }
        const { SSL_CERT_DIR: _, ...onlyFile } = ways.env
        const NODE_OPTIONS = `--require ${PRELOAD} "--use-openssl-ca"`
        const quoted = { ...node, env: { ...ways.env, NODE_OPTIONS } }
        // What they would be offered: it was stored under the same CA.
        await fill(sandbox, { ...node, ...withCa(sandbox) })
        for (const way of [
          ways,
          { ...ways, env: env('other.pem', otherCa.cert) },
          { ...ways, env: onlyFile },
          quoted,
        ]) {
          const { events } = await run<Attempt>(sandbox, ONE, target, way)
          expect(events).toEqual(['skip: the flag --use-openssl-ca may decide trust'])
        }
        expect((await attack(sandbox, ways)).seen.authorized).toBe(true)
        expect(offered(await attack(sandbox, { ...node, env: ways.env }))).toBe(false)
      }))

    it('NODE_TLS_REJECT_UNAUTHORIZED=0 was set as it was made', () =>
      inSandbox(async (sandbox) => {
        const off = { ...node, env: { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' } }
        expect((await attack(sandbox, off)).events).toEqual(['skip: certificate verification is disabled'])
        expect(sandbox.stored()).toEqual([])
        expect((await attack(sandbox, node)).seen.error).toBeDefined()
      }))

    it('NODE_TLS_REJECT_UNAUTHORIZED=0 is set now', () =>
      inSandbox(async (sandbox) => {
        const { env } = withCa(sandbox)
        await fill(sandbox, { ...node, env })
        const off = { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' }
        expect(offered(await attack(sandbox, { ...node, env: off }))).toBe(false)
      }))

    it('flags raise the lowest version of TLS or change the ciphers', () =>
      inSandbox(async (sandbox) => {
        const { env } = withCa(sandbox)
        await fill(sandbox, { ...node, env })
        for (const flag of ['--tls-min-v1.3', '--tls-cipher-list=TLS_AES_256_GCM_SHA384']) {
          expect(offered(await attack(sandbox, { ...node, env, flags: [flag] }))).toBe(false)
        }
        expect(offered(await run(sandbox, ONE, target, { ...node, env }))).toBe(true)
      }))

    it('the process has an OpenSSL configuration, of any content, and so is left alone', () =>
      inSandbox(async (sandbox) => {
        const conf = (level: number) =>
          sandbox.write(
            'openssl.cnf',
            `nodejs_conf = n\n[n]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=${level}\n`,
          )
        const { env } = withCa(sandbox)
        const flag = `--openssl-config=${conf(1)}`
        const configured = { ...env, NODE_OPTIONS: `--require ${PRELOAD} "${flag}"` }
        const leftAlone = ['skip: the flag --openssl-config may decide trust']
        await fill(sandbox, { ...node, env })
        for (const level of [1, 2]) {
          conf(level)
          const { events } = await attack(sandbox, { ...node, env: configured })
          expect(events).toEqual(leftAlone)
        }
        const byVariable = await attack(sandbox, { ...node, env: { ...env, OPENSSL_CONF: conf(2) } })
        expect(byVariable.events).toEqual(['skip: OPENSSL_CONF is set'])
        expect(offered(await run(sandbox, ONE, target, { ...node, env }))).toBe(true)
      }))
  })

  describeWith(
    missingNode(line),
    `Node ${line}: a session is bound to the CAs that its connection trusted`,
    () => {
      const node = { node: nodeBinary(line) }

      it('when the program overwrites its array of CAs right after the call', () =>
        inSandbox(async (sandbox) => {
          const body = `
          const cas = [input.ca]
          const first = attempt({ ...input.target, ca: cas })
          cas[0] = input.other
          report(await first)`
          const input = { target, ca: ca.cert, other: otherCa.cert }
          await fill(sandbox, node, body, input)
          expect(offered(await attack(sandbox, node, ONE, { ...target, ca: [otherCa.cert] }))).toBe(false)
          expect(offered(await run(sandbox, ONE, { ...target, ca: ca.cert }, node))).toBe(true)
        }))

      it('when the program overwrites its buffer of CAs right after the call', () =>
        inSandbox(async (sandbox) => {
          const body = `
          const ca = Buffer.from(input.ca.padEnd(4096, '\\n'))
          const first = attempt({ ...input.target, ca })
          ca.write(input.other.padEnd(4096, '\\n'))
          report(await first)`
          await fill(sandbox, node, body, { target, ca: ca.cert, other: otherCa.cert })
          const attacked = { ...target, ca: otherCa.cert.padEnd(4096, '\n') }
          expect(offered(await attack(sandbox, node, ONE, attacked))).toBe(false)
        }))

      it('when its context gets the CA from the prototype of the options', () =>
        inSandbox(async (sandbox) => {
          const ways = { ...node, ...withCa(sandbox) }
          await fill(sandbox, ways)
          const body = `
          await attempt({ ...input.target, servername: 'warm.test' })
          const secureContext = tls.createSecureContext(Object.create({ ca: input.other }))
          report(await attempt({ ...input.target, secureContext }))`
          expect(offered(await attack(sandbox, ways, body, { target, other: otherCa.cert }))).toBe(false)
        }))

      it('when another CA is added to its context during the handshake', () =>
        inSandbox(async (sandbox) => {
          const body = `
          await attempt({ host: '127.0.0.1', port: input.target.port, servername: 'warm.test', ca: input.ca })
          const secureContext = tls.createSecureContext({ ca: input.other })
          const connecting = attempt({ ...input.target, secureContext })
          setImmediate(() => secureContext.context.addCACert(input.ca))
          report(await connecting)`
          const input = { target, ca: ca.cert, other: otherCa.cert }
          const made = await run<Attempt>(sandbox, body, input, node)
          expect(harvested(made)).toBe(false)
          expect(offered(await attack(sandbox, node, ONE, { ...target, ca: otherCa.cert }))).toBe(false)
        }))

      const replaced = line === '20' ? 'tls.setDefaultCACertificates is not in this Node' : undefined
      describeWith(replaced, 'when the default CAs are', () => {
        const defaults = `
        const replace = () => tls.setDefaultCACertificates([input.ca])
        const back = () => tls.setDefaultCACertificates([...tls.getCACertificates('bundled')])
        const target = input.target`
        const input = () => ({ target, ca: ca.cert })

        it('replaced, so that only programs with the same CAs are offered it', () =>
          inSandbox(async (sandbox) => {
            const body = `${defaults}; replace(); report(await attempt(target))`
            await fill(sandbox, node, body, input())
            expect(offered(await attack(sandbox, node))).toBe(false)
            expect(offered(await run(sandbox, body, input(), node))).toBe(true)
          }))

        it('replaced for the context alone and put back before the connection', () =>
          inSandbox(async (sandbox) => {
            const body = `${defaults}
            await attempt({ ...target, servername: 'warm.test' })
            replace()
            const secureContext = tls.createSecureContext()
            back()
            report(await attempt({ ...target, secureContext }))`
            const made = await run<Attempt>(sandbox, body, input(), node)
            expect(made.seen.authorized).toBe(true)
            expect(offered(await attack(sandbox, node))).toBe(false)
          }))

        it('replaced between the context and the connection', () =>
          inSandbox(async (sandbox) => {
            await fill(sandbox, node, `${defaults}; replace(); report(await attempt(target))`, input())
            const body = `${defaults}
            await attempt({ ...target, servername: 'warm.test' })
            const secureContext = tls.createSecureContext()
            replace()
            report(await attempt({ ...target, secureContext }))`
            const attacked = await attack(sandbox, node, body, input())
            expect([attacked.seen.authorized, offered(attacked)]).toEqual([undefined, false])
          }))

        it('put back right after the call of tls.connect', () =>
          inSandbox(async (sandbox) => {
            const body = `${defaults}
            replace()
            const connecting = attempt(target)
            back()
            report(await connecting)`
            const made = await run<Attempt>(sandbox, body, input(), node)
            expect(made.seen.authorized).toBe(true)
            expect(offered(await attack(sandbox, node))).toBe(false)
          }))

        it('replaced right after the call of tls.connect', () =>
          inSandbox(async (sandbox) => {
            await fill(sandbox, node, `${defaults}; replace(); report(await attempt(target))`, input())
            const body = `${defaults}
            const connecting = attempt(target)
            replace()
            report(await connecting)`
            const attacked = await attack(sandbox, node, body, input())
            expect([attacked.seen.authorized, offered(attacked)]).toEqual([undefined, false])
          }))
      })
    },
  )
}

describeWith([missingNode('20'), missingNode('24')], 'a Node with security level 2', () => {
  it('offers no session of a certificate chain that only level 1 of OpenSSL 3.0 accepts', () =>
    inSandbox(async (sandbox) => {
      const weak = await ca.issue({ names: ['a.test'], keyType: 'weak rsa' })
      const level0 = 'DEFAULT@SECLEVEL=0'
      const weakServer = await startTlsServer({ ...weak, kind: 'raw', ciphers: level0 })
      const input = { ...target, port: weakServer.port, ca: ca.cert }
      const [old, recent] = [{ node: nodeBinary('20') }, { node: nodeBinary('24') }]
      await fill(sandbox, old, ONE, input)
      const attacked = await attack(sandbox, recent, ONE, input)
      expect([attacked.seen.error !== undefined, offered(attacked)]).toEqual([true, false])
      expect(offered(await run(sandbox, ONE, input, old))).toBe(true)
      await weakServer.close()
    }))

  it('offers no session of a connection with a small Diffie-Hellman group', () =>
    inSandbox(async (sandbox) => {
      const identity = await ca.issue({ names: ['a.test'], keyType: 'rsa' })
      const dhparam = execFileSync('openssl', ['dhparam', '-dsaparam', '1024'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const ciphers = 'DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0'
      const weakServer = await startTlsServer({
        ...identity,
        kind: 'raw',
        version: 'TLSv1.2',
        ciphers,
        dhparam,
      })
      const input = { ...target, port: weakServer.port, ca: ca.cert }
      const [old, recent] = [{ node: nodeBinary('20') }, { node: nodeBinary('24') }]
      await fill(sandbox, old, ONE, input)
      const attacked = await attack(sandbox, recent, ONE, input)
      expect([attacked.seen.error !== undefined, offered(attacked)]).toEqual([true, false])
      expect(offered(await run(sandbox, ONE, input, old))).toBe(true)
      await weakServer.close()
    }))
})
