import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority } from '../../support/pki.ts'
import type { RunOptions, Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, harvested, inSandbox, ONE, offered, run } from './kit.ts'

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

/** One connection with us and one without, which must end alike. */
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

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}: a stored session is not offered where`, () => {
    const node = { node: nodeBinary(line) }

    it('NODE_EXTRA_CA_CERTS has another content under the same path (and is, when the old content is back)', () =>
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

    it('NODE_EXTRA_CA_CERTS was taken out of the environment by the program that made it, which trusts it still', () =>
      inSandbox(async (sandbox) => {
        const body = `delete process.env.NODE_EXTRA_CA_CERTS; delete process.env.NODE_OPTIONS; ${ONE}`
        await run(sandbox, body, target, { ...node, ...withCa(sandbox) })
        expect(offered(await attack(sandbox, node))).toBe(false)
      }))

    it('the CA file was replaced while the process that made it ran', () =>
      inSandbox(async (sandbox) => {
        const ways = withCa(sandbox)
        const body = `
          tls.createSecureContext()
          await new Promise((done) => setTimeout(done, 20))
          require('node:fs').writeFileSync(process.env.NODE_EXTRA_CA_CERTS, input.other)
          report(await attempt(input.target))`
        const input = { target, other: otherCa.cert }
        expect(harvested(await run(sandbox, body, input, { ...node, ...ways }))).toBe(false)
        expect(offered(await attack(sandbox, { ...node, ...ways }))).toBe(false)
      }))

    it('the CA file was removed while the process that made it ran', () =>
      inSandbox(async (sandbox) => {
        const body = `
          tls.createSecureContext()
          require('node:fs').unlinkSync(process.env.NODE_EXTRA_CA_CERTS)
          report(await attempt(input))`
        const made = await run<Attempt>(sandbox, body, target, { ...node, ...withCa(sandbox) })
        expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
      }))

    it('it was made in a worker thread, whose environment need not be the process’s', () =>
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

    it('SSL_CERT_FILE is another, with --use-openssl-ca, in quotes too', () =>
      inSandbox(async (sandbox) => {
        mkdirSync(join(sandbox.directory, 'certs'))
        const env = (name: string, content: string) => ({
          SSL_CERT_FILE: sandbox.write(name, content),
          SSL_CERT_DIR: join(sandbox.directory, 'certs'),
        })
        const flags = ['--use-openssl-ca']
        const ways = { ...node, flags, env: env('ca.pem', ca.cert) }
        await fill(sandbox, ways)
        expect(offered(await attack(sandbox, { ...ways, env: env('other.pem', otherCa.cert) }))).toBe(false)
        expect(offered(await attack(sandbox, { ...node, env: ways.env }))).toBe(false)
        const { SSL_CERT_DIR: _, ...onlyFile } = ways.env
        expect(offered(await attack(sandbox, { ...ways, env: onlyFile }))).toBe(false)
        expect(offered(await run(sandbox, ONE, target, ways))).toBe(true)
      }))

    it('verification was off by NODE_TLS_REJECT_UNAUTHORIZED=0, then is on', () =>
      inSandbox(async (sandbox) => {
        const off = { ...node, env: { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' } }
        expect((await attack(sandbox, off)).events).toEqual(['skip: not verified'])
        expect(sandbox.stored()).toEqual([])
        expect((await attack(sandbox, node)).seen.error).toBeDefined()
      }))

    it('verification is off by NODE_TLS_REJECT_UNAUTHORIZED=0, then was on', () =>
      inSandbox(async (sandbox) => {
        const { env } = withCa(sandbox)
        await fill(sandbox, { ...node, env })
        const off = { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' }
        expect(offered(await attack(sandbox, { ...node, env: off }))).toBe(false)
      }))

    it('the flags raise the least version, or OpenSSL’s configuration is another under the same path', () =>
      inSandbox(async (sandbox) => {
        const conf = (level: number) =>
          sandbox.write(
            'openssl.cnf',
            `nodejs_conf = n\n[n]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=${level}\n`,
          )
        const { env } = withCa(sandbox)
        const NODE_OPTIONS = (more: string) => `--require ${join(process.cwd(), 'dist/preload.cjs')} ${more}`
        const configured = { ...env, NODE_OPTIONS: NODE_OPTIONS(`"--openssl-config=${conf(1)}"`) }
        await fill(sandbox, { ...node, env: configured })
        expect(offered(await run(sandbox, ONE, target, { ...node, env: configured }))).toBe(true)
        conf(2)
        expect(offered(await run(sandbox, ONE, target, { ...node, env: configured }))).toBe(false)
        conf(1)
        for (const flags of [[], ['--tls-min-v1.3'], ['--tls-cipher-list=TLS_AES_256_GCM_SHA384']]) {
          expect(offered(await attack(sandbox, { ...node, env, flags }))).toBe(false)
        }
      }))
  })

  describeWith(missingNode(line), `Node ${line}: a session is bound to what its connection trusted`, () => {
    const node = { node: nodeBinary(line) }

    it('although the program overwrote the array of CAs as soon as Node had it', () =>
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

    it('although the program overwrote the buffer', () =>
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

    it('although its context took its CA from the prototype of its options', () =>
      inSandbox(async (sandbox) => {
        const ways = { ...node, ...withCa(sandbox) }
        await fill(sandbox, ways)
        const body = `
          await attempt({ ...input.target, servername: 'warm.test' })
          const secureContext = tls.createSecureContext(Object.create({ ca: input.other }))
          report(await attempt({ ...input.target, secureContext }))`
        expect(offered(await attack(sandbox, ways, body, { target, other: otherCa.cert }))).toBe(false)
      }))

    it('although its context got another CA between connecting and verifying', () =>
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
    describeWith(replaced, 'of the default CAs', () => {
      const defaults = `
        const replace = () => tls.setDefaultCACertificates([input.ca])
        const back = () => tls.setDefaultCACertificates([...tls.getCACertificates('bundled')])
        const target = input.target`
      const input = () => ({ target, ca: ca.cert })

      it('replaced by tls.setDefaultCACertificates: offered to those with the same, not to those without', () =>
        inSandbox(async (sandbox) => {
          const body = `${defaults}; replace(); report(await attempt(target))`
          await fill(sandbox, node, body, input())
          expect(offered(await attack(sandbox, node))).toBe(false)
          expect(offered(await run(sandbox, body, input(), node))).toBe(true)
        }))

      it('replaced and put back between making the context and connecting', () =>
        inSandbox(async (sandbox) => {
          const body = `${defaults}
            await attempt({ ...target, servername: 'warm.test' })
            replace()
            const secureContext = tls.createSecureContext()
            back()
            report(await attempt({ ...target, secureContext }))`
          const made = await run<Attempt>(sandbox, body, input(), node)
          expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
        }))

      it('put back as soon as Node had begun to connect', () =>
        inSandbox(async (sandbox) => {
          const body = `${defaults}
            replace()
            const connecting = attempt(target)
            back()
            report(await connecting)`
          const made = await run<Attempt>(sandbox, body, input(), node)
          expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
        }))
    })
  })
}

describeWith([missingNode('20'), missingNode('24')], 'security levels', () => {
  it('a chain that only OpenSSL 3.0’s level 1 accepts is not offered by a Node with level 2', () =>
    inSandbox(async (sandbox) => {
      const key = join(sandbox.directory, 'key.pem')
      const cert = join(sandbox.directory, 'cert.pem')
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'rsa:1024', '-nodes', '-keyout', key, '-out', cert],
          ...['-subj', '/CN=a.test', '-addext', 'subjectAltName=DNS:a.test', '-days', '2'],
        ],
        { stdio: 'ignore' },
      )
      const weak = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
      const level0 = 'DEFAULT@SECLEVEL=0'
      const weakServer = await startTlsServer({ ...weak, kind: 'raw', ciphers: level0 })
      const input = { ...target, port: weakServer.port, ca: weak.cert }
      const [old, recent] = [{ node: nodeBinary('20') }, { node: nodeBinary('24') }]
      await fill(sandbox, old, ONE, input)
      const attacked = await attack(sandbox, recent, ONE, input)
      expect([attacked.seen.error !== undefined, offered(attacked)]).toEqual([true, false])
      expect(offered(await run(sandbox, ONE, input, old))).toBe(true)
      await weakServer.close()
    }))

  it('nor one with a small Diffie-Hellman group', () =>
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
