import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode, runs } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { PRELOAD, ROOT } from '../../support/places.ts'
import { type RunOptions, runProgram, type Sandbox } from '../../support/run-program.ts'
import { useServer } from '../../support/servers.ts'
import { missingUsers, packageForEveryone } from '../../support/users.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, reported, run } from './kit.ts'

// A program that does not trust the server is offered no session of a program that does.

const given = useServer({ names: ['a.test'], kind: 'raw' })

type Ways = Partial<RunOptions>

const PLAIN = 'report(await attempt(input.target))'

/** As `import 'ticketkeep/preload'` does. */
const LATE = `require(${JSON.stringify(PRELOAD)})
  report(await attempt(input.target))`

/** The connection is left alone, and this reason is the only event. */
function isLeftAlone({ events }: Attempt, reason: string): void {
  expect(events).toEqual([`skip: ${reason}`])
}

const EXTRA_MAY_HAVE_CHANGED = 'the file of NODE_EXTRA_CA_CERTS may have changed since the process started'
const OPENSSL_CA = 'the flag --use-openssl-ca may decide trust'

/**
 * `made` connects under a trust that accepts the server. Then a plain program that does not accept it connects, and must
 * fail as it does without ticketkeep.
 */
async function isRefused(
  sandbox: Sandbox,
  made: { body: string; ways: Ways },
  plain: { body?: string; input?: object; ways: Ways },
): Promise<void> {
  const input = { target: given.target, ca: given.ca.cert, other: given.otherCa.cert }
  const first = await run<Attempt>(sandbox, made.body, input, made.ways)
  expect(first.seen).toEqual({ authorized: true, text: 'hello\n' })
  const attacked = await run<Attempt>(sandbox, plain.body ?? ONE, plain.input ?? given.target, plain.ways)
  expect([offered(attacked), attacked.reused ?? false, attacked.seen.authorized]).toEqual([
    false,
    false,
    undefined,
  ])
  expect(attacked.seen.error).toBeDefined()
}

for (const line of LINES) {
  describeWith(
    missingNode(line),
    `Node ${line}: a program that does not trust the server is offered no session when`,
    () => {
      const node = { node: nodeBinary(line) }
      const onlyOther = () => ({ input: { ...given.target, ca: given.otherCa.cert }, ways: node })
      const warm = "await attempt({ ...input.target, servername: 'warm.test', ca: input.ca })"

      it('NODE_EXTRA_CA_CERTS is a relative path and the working directories hold different files', () =>
        inSandbox(async (sandbox) => {
          const elsewhere = join(sandbox.directory, 'elsewhere')
          mkdirSync(elsewhere)
          sandbox.write('ca.pem', given.ca.cert)
          writeFileSync(join(elsewhere, 'ca.pem'), given.otherCa.cert)
          const ways = { ...node, env: { NODE_EXTRA_CA_CERTS: 'ca.pem' } }
          const body = `tls.createSecureContext(); process.chdir('elsewhere'); report(await attempt(input.target))`
          await isRefused(sandbox, { body, ways }, { ways: { ...ways, cwd: elsewhere } })
          const absolute = { NODE_EXTRA_CA_CERTS: join(elsewhere, 'ca.pem') }
          await isRefused(sandbox, { body, ways }, { ways: { ...node, env: absolute } })
        }))

      // Node reads its variables itself as the process starts, and not when a program says so later.
      it.each<[string, (sandbox: Sandbox) => { body?: string; ways: Ways }]>([
        [
          'is set by --env-file, too late for Node to read',
          ({ directory, write }) => ({
            ways: {
              flags: [`--env-file=${write('.env', `NODE_EXTRA_CA_CERTS=${join(directory, 'ca.pem')}`)}`],
            },
          }),
        ],
        [
          'is set by the program before it loads ticketkeep',
          ({ directory }) => ({
            body: `process.env.NODE_EXTRA_CA_CERTS = ${JSON.stringify(join(directory, 'ca.pem'))}
            ${LATE}`,
            ways: { preload: false },
          }),
        ],
      ])('NODE_EXTRA_CA_CERTS %s', (_name, plain) =>
        inSandbox(async (sandbox) => {
          const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
          const { body, ways } = plain(sandbox)
          const made = { body: PLAIN, ways: { ...node, env } }
          await isRefused(sandbox, made, {
            ...(body && { body, input: { target: given.target } }),
            ways: { ...node, ...ways },
          })
        }),
      )

      it('another program deletes NODE_EXTRA_CA_CERTS before it loads ticketkeep', () =>
        inSandbox(async (sandbox) => {
          const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
          const body = `delete process.env.NODE_EXTRA_CA_CERTS
          ${LATE}`
          await isRefused(sandbox, { body, ways: { ...node, env, preload: false } }, { ways: node })
        }))

      it('an earlier preload sets NODE_EXTRA_CA_CERTS', () =>
        inSandbox(async (sandbox) => {
          const path = sandbox.write('ca.pem', given.ca.cert)
          const early = sandbox.write(
            'early.cjs',
            `process.env.NODE_EXTRA_CA_CERTS = ${JSON.stringify(path)}`,
          )
          const env = { NODE_EXTRA_CA_CERTS: path }
          const flags = ['--require', early, '--require', PRELOAD]
          const plain = {
            body: PLAIN,
            input: { target: given.target },
            ways: { ...node, flags, preload: false },
          }
          await isRefused(sandbox, { body: PLAIN, ways: { ...node, env } }, plain)
        }))

      it('NODE_EXTRA_CA_CERTS is a file in /proc, whose size and times never change', () =>
        inSandbox(async (sandbox) => {
          const holding = [given.ca, given.otherCa].map(({ cert }) =>
            spawn('sleep', ['30'], { env: { X: `\n${cert}` } }),
          )
          try {
            // The times of these files are set when they are first read.
            for (const { pid } of holding) readFileSync(`/proc/${pid}/environ`)
            await new Promise((done) => setTimeout(done, 50))
            const [good, other] = holding.map(({ pid }) => ({
              ...node,
              env: { NODE_EXTRA_CA_CERTS: `/proc/${pid}/environ` },
            }))
            const made = { body: PLAIN, ways: good! }
            await isRefused(sandbox, made, { body: PLAIN, input: { target: given.target }, ways: other! })
          } finally {
            for (const child of holding) child.kill()
          }
        }))

      it('the program loads the preload itself and Node does not list its CAs', () =>
        inSandbox(async (sandbox) => {
          const ways = {
            ...node,
            preload: false,
            env: { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) },
          }
          const made = await run<Attempt>(sandbox, LATE, { target: given.target }, ways)
          if (line === '20') isLeftAlone(made, EXTRA_MAY_HAVE_CHANGED)
          else expect((await run<Attempt>(sandbox, LATE, { target: given.target }, ways)).reused).toBe(true)
        }))

      it('its checkServerIdentity looks like the one in Node’s sources', () =>
        inSandbox(async (sandbox) => {
          const body = `
          class ERR_TLS_CERT_ALTNAME_INVALID extends Error {}
          const checkServerIdentity = (hostname, cert) => cert.fingerprint256 === 'the pin'
            ? tls.checkServerIdentity(hostname, cert) : new ERR_TLS_CERT_ALTNAME_INVALID('pinned')
          report(await attempt({ ...input, checkServerIdentity }))`
          const input = { ...given.target, ca: given.ca.cert }
          const ways = { input, ways: node }
          await isRefused(
            sandbox,
            { body: 'report(await attempt({ ...input.target, ca: input.ca }))', ways: node },
            { body, ...ways },
          )
        }))

      it('another program wraps createSecureContext in a function that looks like Node’s', () =>
        inSandbox(async (sandbox) => {
          const body = `
          const original = tls.createSecureContext
          tls.createSecureContext = (options) => {
            const configSecureContext = () => original({ ...options, ca: input.ca })
            return configSecureContext()
          }
          report(await attempt({ ...input.target, ca: input.other }))`
          await isRefused(sandbox, { body, ways: node }, onlyOther())
        }))

      it('FIPS mode changed during the connection that stored the session', () =>
        inSandbox(async (sandbox) => {
          const body = `
          const crypto = require('node:crypto')
          let mode = input.at
          crypto.getFips = () => mode
          const one = attempt(input.to)
          mode = input.after
          report(await one)`
          const to = { host: '127.0.0.1', port: given.server.port, servername: 'a.test', ca: given.ca.cert }
          const connect = (at: number, after: number) =>
            run<Attempt>(sandbox, body, { to, at, after }, { node: nodeBinary(line) })
          expect(harvested(await connect(0, 1))).toBe(true)
          expect(offered(await connect(1, 1))).toBe(false)
          expect(offered(await connect(0, 0))).toBe(true)
        }))

      it('the command line has a flag and its --no- form', () =>
        inSandbox(async (sandbox) => {
          mkdirSync(join(sandbox.directory, 'certs'))
          const env = {
            SSL_CERT_FILE: sandbox.write('other.pem', given.otherCa.cert),
            SSL_CERT_DIR: join(sandbox.directory, 'certs'),
          }
          const extra = { ...env, NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
          const flags = ['--use-openssl-ca', '--no-use-openssl-ca']
          const made = await run<Attempt>(sandbox, ONE, given.target, { ...node, flags, env: extra })
          expect(made.seen.authorized).toBe(true)
          isLeftAlone(made, OPENSSL_CA)
        }))

      it.each([
        ['a CA', 'ca = input.ca'],
        ['a context', 'secureContext = secureContext'],
      ])('another program sets %s on Object.prototype while it connects', (_name, put) =>
        inSandbox(async (sandbox) => {
          const ways = {
            ...node,
            env: { NODE_EXTRA_CA_CERTS: sandbox.write('other.pem', given.otherCa.cert) },
          }
          const body = `
          const secureContext = tls.createSecureContext({ ca: input.ca })
          Object.prototype.${put}
          const connecting = attempt(input.target)
          delete Object.prototype.ca
          delete Object.prototype.secureContext
          report(await connecting)`
          await isRefused(sandbox, { body, ways }, { ways })
        }),
      )

      it.each([
        ['a getter', `{ get ca() { const it = next; next = input.other; return it } }`],
        [
          'an inherited getter',
          `Object.create({ get ca() { const it = next; next = input.other; return it } })`,
        ],
        [
          'a proxy',
          `new Proxy({}, { get(_, name) { if (name !== 'ca') return undefined
         const it = next; next = input.other; return it } })`,
        ],
      ])('another program makes a context from %s that returns the CA only once', (_name, options) =>
        inSandbox(async (sandbox) => {
          const body = `${warm}
          let next = input.ca
          const secureContext = tls.createSecureContext(${options})
          report(await attempt({ ...input.target, secureContext }))`
          await isRefused(sandbox, { body, ways: node }, onlyOther())
        }),
      )

      it('another program replaces the native half of a context', () =>
        inSandbox(async (sandbox) => {
          const body = `${warm}
          const secureContext = tls.createSecureContext({ ca: input.other })
          secureContext.context = tls.createSecureContext({ ca: input.ca }).context
          report(await attempt({ ...input.target, secureContext }))`
          await isRefused(sandbox, { body, ways: node }, onlyOther())
        }))

      const replaced = line === '20' ? 'tls.setDefaultCACertificates is not in this Node' : undefined
      describeWith(replaced, 'default CAs', () => {
        it.each([
          ['before its first connection', ''],
          ['after its first connection', warm],
        ])('another program adds default CAs %s', (_name, before) =>
          inSandbox(async (sandbox) => {
            const body = `${before}
            tls.setDefaultCACertificates([...tls.getCACertificates('default'), input.ca])
            report(await attempt(input.target))`
            await isRefused(sandbox, { body, ways: node }, { ways: node })
          }),
        )

        // If another preload loads tls first, ticketkeep does not notice the loading.
        it.each([
          ['the preload of ticketkeep', (_: Sandbox) => [PRELOAD]],
          [
            'another preload',
            (sandbox: Sandbox) => [sandbox.write('early.cjs', "require('node:tls')"), PRELOAD],
          ],
        ])(
          'it replaces the default CAs through an early reference to setDefaultCACertificates, and tls is loaded after %s',
          (_, preloads) =>
            inSandbox(async (sandbox) => {
              const NODE_OPTIONS = preloads(sandbox)
                .map((path) => `--require ${JSON.stringify(path)}`)
                .join(' ')
              const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert), NODE_OPTIONS }
              const ways = { ...node, env }
              const body = `const { setDefaultCACertificates } = require('node:tls')
              await attempt({ ...input.target, servername: 'warm.test' })
              setDefaultCACertificates([input.other])
              report(await attempt(input.target))`
              const input = { target: given.target, ca: given.ca.cert, other: given.otherCa.cert }
              await isRefused(sandbox, { body: PLAIN, ways }, { body, input, ways })
            }),
        )

        it('it replaces the default CAs of a process with --use-openssl-ca', () =>
          inSandbox(async (sandbox) => {
            const SSL_CERT_FILE = sandbox.write('ca.pem', given.ca.cert)
            const SSL_CERT_DIR = join(sandbox.directory, 'certs')
            mkdirSync(SSL_CERT_DIR)
            const ways = { ...node, env: { SSL_CERT_FILE, SSL_CERT_DIR }, flags: ['--use-openssl-ca'] }
            isLeftAlone(await run(sandbox, PLAIN, { target: given.target }, ways), OPENSSL_CA)
            const body = `tls.setDefaultCACertificates([input.other])
            report(await attempt(input.target))`
            await isRefused(
              sandbox,
              { body: PLAIN, ways },
              { body, input: { target: given.target, other: given.otherCa.cert }, ways },
            )
          }))
      })

      it.each([
        ['includes another file', (sandbox: Sandbox) => `.include ${join(sandbox.directory, 'inner.cnf')}\n`],
        [
          'includes another file with an equals sign',
          (sandbox: Sandbox) => `.include = ${join(sandbox.directory, 'inner.cnf')}\n`,
        ],
        [
          'reads an environment variable',
          () =>
            `nodejs_conf = n\n[n]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=$ENV::LEVEL\n`,
        ],
      ])('the OpenSSL configuration %s that has changed', (_name, text) =>
        inSandbox(async (sandbox) => {
          const inner = (level: number) =>
            sandbox.write(
              'inner.cnf',
              `nodejs_conf = n\n[n]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=${level}\n`,
            )
          const conf = sandbox.write('openssl.cnf', text(sandbox))
          const ways = (level: number) => ({ ...node, env: { OPENSSL_CONF: conf, LEVEL: String(level) } })
          const byFlag = { ...node, env: { LEVEL: '3' }, flags: [`--openssl-config=${conf}`] }
          const input = { ...given.target, ca: given.ca.cert }
          inner(1)
          isLeftAlone(await run(sandbox, ONE, input, ways(1)), 'OPENSSL_CONF is set')
          inner(3)
          isLeftAlone(await run(sandbox, ONE, input, ways(3)), 'OPENSSL_CONF is set')
          isLeftAlone(await run(sandbox, ONE, input, byFlag), 'the flag --openssl-config may decide trust')
        }),
      )
    },
  )
}

const other = 65_534
// If the process already has the capability, its environment in /proc can still be read.
const withCapability = [
  ...[`--reuid=${other}`, `--regid=${other}`, '--clear-groups'],
  ...['--inh-caps=+net_raw', '--ambient-caps=+net_raw'],
]
const missingRights =
  missingUsers() ??
  missingCommands('setcap') ??
  (runs('setpriv', ...withCapability, 'true') ? undefined : 'this root has not all capabilities')

describeWith(missingRights, 'a Node binary that runs with elevated rights', () => {
  const capable = (node: string) => execFileSync('setcap', ['cap_net_raw=+ep', node])
  it.each<[string, (node: string) => unknown, Ways]>([
    ['by its setgid bit', (node) => chmodSync(node, 0o2755), { uid: other }],
    ['by a file capability', capable, { uid: other }],
    [
      'by a file capability that its process already had',
      capable,
      { prefix: ['setpriv', ...withCapability] },
    ],
  ])('ignores NODE_EXTRA_CA_CERTS, and so does ticketkeep: %s', (_name, give, ways) =>
    inSandbox(async (sandbox) => {
      const everyones = packageForEveryone()
      try {
        const attempting = join(sandbox.directory, 'attempt.cjs')
        copyFileSync(join(ROOT, 'test/e2e/trust/attempt.cjs'), attempting)
        const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
        chownSync(sandbox.home, other, other)
        const tickets = join(sandbox.home, 'tickets')
        const source = `const { attempt, report } = require('./attempt.cjs')
          attempt(JSON.parse(process.argv[2])).then(report)`
        const connect = async (node: string, ways: Ways): Promise<Attempt> =>
          reported(
            await runProgram({
              sandbox,
              source,
              args: [JSON.stringify(given.target)],
              node,
              preload: everyones.preload,
              env: { ...env, TICKETKEEP_DIR: tickets },
              ...ways,
            }),
          )
        const node = everyones.node(process.execPath)
        expect(harvested(await connect(node, { uid: other }))).toBe(true)
        expect((await connect(node, { uid: other })).reused).toBe(true)
        const privileged = join(everyones.folder, 'node-setgid')
        copyFileSync(node, privileged)
        give(privileged)
        // It does not look at NODE_OPTIONS either.
        const flags = ['--require', everyones.preload]
        const { seen, ...attacked } = await connect(privileged, { ...ways, flags })
        expect([seen.authorized, offered({ seen, ...attacked })]).toEqual([undefined, false])
      } finally {
        everyones.remove()
      }
    }),
  )
})
