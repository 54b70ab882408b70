import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode, runs } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority } from '../../support/pki.ts'
import { DIST, PRELOAD, ROOT } from '../../support/places.ts'
import { type RunOptions, runProgram, type Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { missingUsers, packageForEveryone } from '../../support/users.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, reported, run, ticketsIn } from './kit.ts'

// Attacks by readers who had not written the rules. They had SECURITY.md, and some of these got through at first.

let ca: Authority
let otherCa: Authority
let server: TlsServer
let target: { host: string; port: number; servername: string }

beforeAll(async () => {
  ca = await createAuthority()
  otherCa = await createAuthority({ commonName: 'another root' })
  const identity = await ca.issue({ names: ['a.test'] })
  server = await startTlsServer({ ...identity, kind: 'raw' })
  target = { host: '127.0.0.1', port: server.port, servername: 'a.test' }
})
afterAll(async () => {
  await server?.close()
})

type Ways = Partial<RunOptions>

const PLAIN = 'report(await attempt(input.target))'

/** As `import 'ticketkeep/preload'` does. */
const LATE = `require(${JSON.stringify(PRELOAD)})
  report(await attempt(input.target))`

/** The only word on a connection is why it is left alone. */
function isLeftAlone({ events }: Attempt, reason: string): void {
  expect(events).toEqual([`skip: ${reason}`])
}

const EXTRA_MAY_HAVE_CHANGED = 'what NODE_EXTRA_CA_CERTS names may have changed since the process started'
const OPENSSL_CA = 'the flag --use-openssl-ca may decide trust'

/**
 * `made` connects under a trust that accepts the server; then a plain program that does not accept it connects, and
 * has to fail as it does without us.
 */
async function isRefused(
  sandbox: Sandbox,
  made: { body: string; ways: Ways },
  plain: { body?: string; input?: object; ways: Ways },
): Promise<void> {
  const input = { target, ca: ca.cert, other: otherCa.cert }
  const first = await run<Attempt>(sandbox, made.body, input, made.ways)
  expect(first.seen).toEqual({ authorized: true, text: 'hello\n' })
  const attacked = await run<Attempt>(sandbox, plain.body ?? ONE, plain.input ?? target, plain.ways)
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
    `Node ${line} offers no session to a program that does not trust the server`,
    () => {
      const node = { node: nodeBinary(line) }
      const onlyOther = () => ({ input: { ...target, ca: otherCa.cert }, ways: node })
      const warm = "await attempt({ ...input.target, servername: 'warm.test', ca: input.ca })"

      it('NODE_EXTRA_CA_CERTS is relative, and another folder has another file of that name', () =>
        inSandbox(async (sandbox) => {
          const elsewhere = join(sandbox.directory, 'elsewhere')
          mkdirSync(elsewhere)
          sandbox.write('ca.pem', ca.cert)
          writeFileSync(join(elsewhere, 'ca.pem'), otherCa.cert)
          const ways = { ...node, env: { NODE_EXTRA_CA_CERTS: 'ca.pem' } }
          const body = `tls.createSecureContext(); process.chdir('elsewhere'); report(await attempt(input.target))`
          await isRefused(sandbox, { body, ways }, { ways: { ...ways, cwd: elsewhere } })
          const absolute = { NODE_EXTRA_CA_CERTS: join(elsewhere, 'ca.pem') }
          await isRefused(sandbox, { body, ways }, { ways: { ...node, env: absolute } })
        }))

      // Node reads its variables itself as the process starts, and not when a program says so later.
      it.each<[string, (sandbox: Sandbox) => { body?: string; ways: Ways }]>([
        [
          'is set by an --env-file, too late for Node',
          ({ directory, write }) => ({
            ways: {
              flags: [`--env-file=${write('.env', `NODE_EXTRA_CA_CERTS=${join(directory, 'ca.pem')}`)}`],
            },
          }),
        ],
        [
          'is set by the program before it loads us',
          ({ directory }) => ({
            body: `process.env.NODE_EXTRA_CA_CERTS = ${JSON.stringify(join(directory, 'ca.pem'))}
            ${LATE}`,
            ways: { preload: false },
          }),
        ],
      ])('NODE_EXTRA_CA_CERTS %s', (_name, plain) =>
        inSandbox(async (sandbox) => {
          const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) }
          const { body, ways } = plain(sandbox)
          const made = { body: PLAIN, ways: { ...node, env } }
          await isRefused(sandbox, made, {
            ...(body && { body, input: { target } }),
            ways: { ...node, ...ways },
          })
        }),
      )

      it('the program deletes NODE_EXTRA_CA_CERTS before it loads us', () =>
        inSandbox(async (sandbox) => {
          const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) }
          const body = `delete process.env.NODE_EXTRA_CA_CERTS
          ${LATE}`
          await isRefused(sandbox, { body, ways: { ...node, env, preload: false } }, { ways: node })
        }))

      it('another preload sets NODE_EXTRA_CA_CERTS before ours', () =>
        inSandbox(async (sandbox) => {
          const path = sandbox.write('ca.pem', ca.cert)
          const early = sandbox.write(
            'early.cjs',
            `process.env.NODE_EXTRA_CA_CERTS = ${JSON.stringify(path)}`,
          )
          const env = { NODE_EXTRA_CA_CERTS: path }
          const flags = ['--require', early, '--require', PRELOAD]
          const plain = { body: PLAIN, input: { target }, ways: { ...node, flags, preload: false } }
          await isRefused(sandbox, { body: PLAIN, ways: { ...node, env } }, plain)
        }))

      it('NODE_EXTRA_CA_CERTS is a file of /proc, which tells neither size nor change', () =>
        inSandbox(async (sandbox) => {
          const holding = [ca, otherCa].map(({ cert }) => spawn('sleep', ['30'], { env: { X: `\n${cert}` } }))
          try {
            // Their times are those of the first look.
            for (const { pid } of holding) readFileSync(`/proc/${pid}/environ`)
            await new Promise((done) => setTimeout(done, 50))
            const [good, other] = holding.map(({ pid }) => ({
              ...node,
              env: { NODE_EXTRA_CA_CERTS: `/proc/${pid}/environ` },
            }))
            const made = { body: PLAIN, ways: good! }
            await isRefused(sandbox, made, { body: PLAIN, input: { target }, ways: other! })
          } finally {
            for (const child of holding) child.kill()
          }
        }))

      it('a preload that the program loads itself attends only where Node tells its CAs', () =>
        inSandbox(async (sandbox) => {
          const ways = {
            ...node,
            preload: false,
            env: { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) },
          }
          const made = await run<Attempt>(sandbox, LATE, { target }, ways)
          if (line === '20') isLeftAlone(made, EXTRA_MAY_HAVE_CHANGED)
          else expect((await run<Attempt>(sandbox, LATE, { target }, ways)).reused).toBe(true)
        }))

      it('its checkServerIdentity names an error of Node and calls Node’s check', () =>
        inSandbox(async (sandbox) => {
          const body = `
          class ERR_TLS_CERT_ALTNAME_INVALID extends Error {}
          const checkServerIdentity = (hostname, cert) => cert.fingerprint256 === 'the pin'
            ? tls.checkServerIdentity(hostname, cert) : new ERR_TLS_CERT_ALTNAME_INVALID('pinned')
          report(await attempt({ ...input, checkServerIdentity }))`
          const input = { ...target, ca: ca.cert }
          const ways = { input, ways: node }
          await isRefused(
            sandbox,
            { body: 'report(await attempt({ ...input.target, ca: input.ca }))', ways: node },
            { body, ...ways },
          )
        }))

      it('another program wraps createSecureContext with text like Node’s', () =>
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

      it('FIPS mode changes during the connection', () =>
        inSandbox(async (sandbox) => {
          const body = `
          const crypto = require('node:crypto')
          let mode = input.at
          crypto.getFips = () => mode
          const one = attempt(input.to)
          mode = input.after
          report(await one)`
          const to = { host: '127.0.0.1', port: server.port, servername: 'a.test', ca: ca.cert }
          const connect = (at: number, after: number) =>
            run<Attempt>(sandbox, body, { to, at, after }, { node: nodeBinary(line) })
          expect(harvested(await connect(0, 1))).toBe(true)
          expect(offered(await connect(1, 1))).toBe(false)
          expect(offered(await connect(0, 0))).toBe(true)
        }))

      it('it gives a flag and its --no- form', () =>
        inSandbox(async (sandbox) => {
          mkdirSync(join(sandbox.directory, 'certs'))
          const env = {
            SSL_CERT_FILE: sandbox.write('other.pem', otherCa.cert),
            SSL_CERT_DIR: join(sandbox.directory, 'certs'),
          }
          const extra = { ...env, NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) }
          const flags = ['--use-openssl-ca', '--no-use-openssl-ca']
          const made = await run<Attempt>(sandbox, ONE, target, { ...node, flags, env: extra })
          expect(made.seen.authorized).toBe(true)
          isLeftAlone(made, OPENSSL_CA)
        }))

      it.each([
        ['a CA', 'ca = input.ca'],
        ['a context', 'secureContext = secureContext'],
      ])('another program puts %s on Object.prototype while it connects', (_name, put) =>
        inSandbox(async (sandbox) => {
          const ways = { ...node, env: { NODE_EXTRA_CA_CERTS: sandbox.write('other.pem', otherCa.cert) } }
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
      ])('another program makes a context from %s that gives the CA once', (_name, options) =>
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
          ['before the first connection', ''],
          ['after it', warm],
        ])('another program adds default CAs, %s', (_name, before) =>
          inSandbox(async (sandbox) => {
            const body = `${before}
            tls.setDefaultCACertificates([...tls.getCACertificates('default'), input.ca])
            report(await attempt(input.target))`
            await isRefused(sandbox, { body, ways: node }, { ways: node })
          }),
        )

        // Where another preload loads tls before ours, its loading is not seen.
        it.each([
          ['ours', (_: Sandbox) => [PRELOAD]],
          ['another', (sandbox: Sandbox) => [sandbox.write('early.cjs', "require('node:tls')"), PRELOAD]],
        ])(
          'it replaces the default CAs by a reference taken before its first connection, tls loaded after %s',
          (_, preloads) =>
            inSandbox(async (sandbox) => {
              const NODE_OPTIONS = preloads(sandbox)
                .map((path) => `--require ${JSON.stringify(path)}`)
                .join(' ')
              const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert), NODE_OPTIONS }
              const ways = { ...node, env }
              const body = `const { setDefaultCACertificates } = require('node:tls')
              await attempt({ ...input.target, servername: 'warm.test' })
              setDefaultCACertificates([input.other])
              report(await attempt(input.target))`
              const input = { target, ca: ca.cert, other: otherCa.cert }
              await isRefused(sandbox, { body: PLAIN, ways }, { body, input, ways })
            }),
        )

        it('it replaces the default CAs under --use-openssl-ca', () =>
          inSandbox(async (sandbox) => {
            const SSL_CERT_FILE = sandbox.write('ca.pem', ca.cert)
            const SSL_CERT_DIR = join(sandbox.directory, 'certs')
            mkdirSync(SSL_CERT_DIR)
            const ways = { ...node, env: { SSL_CERT_FILE, SSL_CERT_DIR }, flags: ['--use-openssl-ca'] }
            isLeftAlone(await run(sandbox, PLAIN, { target }, ways), OPENSSL_CA)
            const body = `tls.setDefaultCACertificates([input.other])
            report(await attempt(input.target))`
            await isRefused(
              sandbox,
              { body: PLAIN, ways },
              { body, input: { target, other: otherCa.cert }, ways },
            )
          }))
      })

      it.each([
        ['includes another', (sandbox: Sandbox) => `.include ${join(sandbox.directory, 'inner.cnf')}\n`],
        [
          'includes another, with an equals sign',
          (sandbox: Sandbox) => `.include = ${join(sandbox.directory, 'inner.cnf')}\n`,
        ],
        [
          'asks the environment',
          () =>
            `nodejs_conf = n\n[n]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=$ENV::LEVEL\n`,
        ],
      ])('the OpenSSL configuration %s, which changes', (_name, text) =>
        inSandbox(async (sandbox) => {
          const inner = (level: number) =>
            sandbox.write(
              'inner.cnf',
              `nodejs_conf = n\n[n]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nCipherString = DEFAULT@SECLEVEL=${level}\n`,
            )
          const conf = sandbox.write('openssl.cnf', text(sandbox))
          const ways = (level: number) => ({ ...node, env: { OPENSSL_CONF: conf, LEVEL: String(level) } })
          const byFlag = { ...node, env: { LEVEL: '3' }, flags: [`--openssl-config=${conf}`] }
          const input = { ...target, ca: ca.cert }
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
// Of a process that has the right before, all that it was started with can be read.
const withCapability = [
  ...[`--reuid=${other}`, `--regid=${other}`, '--clear-groups'],
  ...['--inh-caps=+net_raw', '--ambient-caps=+net_raw'],
]
const missingRights =
  missingUsers() ??
  missingCommands('setcap') ??
  (runs('setpriv', ...withCapability, 'true') ? undefined : 'this root has not all capabilities')

describeWith(missingRights, 'Node with rights of its file', () => {
  const capable = (node: string) => execFileSync('setcap', ['cap_net_raw=+ep', node])
  it.each<[string, (node: string) => unknown, Ways]>([
    ['of a group', (node) => chmodSync(node, 0o2755), { uid: other }],
    ['a capability', capable, { uid: other }],
    ['a capability that it has anyway', capable, { prefix: ['setpriv', ...withCapability] }],
  ])('does not read NODE_EXTRA_CA_CERTS, and neither do we: %s', (_name, give, ways) =>
    inSandbox(async (sandbox) => {
      const everyones = packageForEveryone()
      try {
        const attempting = join(sandbox.directory, 'attempt.cjs')
        copyFileSync(join(ROOT, 'test/e2e/trust/attempt.cjs'), attempting)
        const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) }
        chownSync(sandbox.home, other, other)
        const tickets = join(sandbox.home, 'tickets')
        const source = `const { attempt, report } = require('./attempt.cjs')
          attempt(JSON.parse(process.argv[2])).then(report)`
        const connect = async (node: string, ways: Ways): Promise<Attempt> =>
          reported(
            await runProgram({
              sandbox,
              source,
              args: [JSON.stringify(target)],
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

it('two copies of the package in one process store each ticket once', () =>
  inSandbox(async (sandbox) => {
    cpSync(DIST, join(sandbox.directory, 'dist'), { recursive: true })
    const flags = ['--require', join(sandbox.directory, 'dist/preload.cjs')]
    await run(sandbox, ONE, { ...target, ca: ca.cert })
    const once = sandbox.stored().length
    for (const path of sandbox.stored()) rmSync(path)
    await run(sandbox, ONE, { ...target, ca: ca.cert }, { flags })
    expect([once > 0, sandbox.stored().length]).toEqual([true, once])
  }))

it('a used ticket does not come back when a listener of the program throws', () =>
  inSandbox(async (sandbox) => {
    const input = { ...target, ca: ca.cert }
    await run(sandbox, ONE, input)
    const before = ticketsIn(sandbox)
    const body = `
      process.on('uncaughtException', () => {})
      require('node:https').get({ ...input, agent: false }).on('error', () => {}).on('socket', (socket) => {
        let reused
        socket.on('connect', () => { throw new Error('of the program') })
        socket.on('secureConnect', () => {
          reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(socket)
          setTimeout(() => socket.destroy(), 20)
        })
        socket.on('close', () => report(reused))
      })`
    expect(await run(sandbox, body, input)).toBe(true)
    // The server gives none for it.
    expect(before.length - ticketsIn(sandbox).length).toBe(1)
  }))

it('a file that was renamed from tickets of single use to reusable ones is a miss, and goes', () =>
  inSandbox(async (sandbox) => {
    const input = { ...target, ca: ca.cert }
    await run(sandbox, ONE, input)
    const [path = '', ...others] = sandbox.stored()
    expect(others).toEqual([])
    expect(path).toMatch(/\.s\.[0-9a-f]{8}\.[0-9a-f]{16}\.json$/)
    const renamed = path.replace(/\.s\.(?=[0-9a-f]{8}\.[0-9a-f]{16}\.json$)/, '.r.')
    renameSync(path, renamed)
    const made = await run<Attempt>(sandbox, ONE, input)
    expect([offered(made), made.reused, made.seen.text]).toEqual([false, false, 'hello\n'])
    expect(sandbox.stored()).not.toContain(renamed)
  }))

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('a program that is killed takes its batch with it: the next one has another batch, each ticket once', () =>
      inSandbox(async (sandbox) => {
        const input = { ...target, ca: ca.cert }
        await run(sandbox, ONE, input, node)
        const [first = ''] = sandbox.stored()
        renameSync(first, join(sandbox.directory, 'first'))
        await run(sandbox, ONE, input, node)
        renameSync(join(sandbox.directory, 'first'), first)
        expect(sandbox.stored()).toHaveLength(2)
        const [total, inBatch] = [ticketsIn(sandbox).length, ticketsIn(sandbox).length / 2]
        const body = `
          require('node:diagnostics_channel').subscribe('ticketkeep:offer', () => process.kill(process.pid, 'SIGKILL'))
          await attempt(input)`
        await expect(run(sandbox, body, input, node)).rejects.toThrow(/SIGKILL/)
        expect(ticketsIn(sandbox)).toHaveLength(total - inBatch)
        // The server would be left alone, since nobody knows whether it hung.
        const notes = sandbox.stored().filter((one) => one.endsWith('.offer'))
        expect(notes).toHaveLength(1)
        rmSync(notes[0]!)
        for (let left = inBatch - 1; left >= 0; left--) {
          expect((await run<Attempt>(sandbox, ONE, input, node)).reused).toBe(true)
          expect(ticketsIn(sandbox)).toHaveLength(left)
        }
        expect((await run<Attempt>(sandbox, ONE, input, node)).reused).toBe(false)
      }))

    it('a file that was left half written by a program that was killed is no batch', () =>
      inSandbox(async (sandbox) => {
        const input = { ...target, ca: ca.cert }
        await run(sandbox, ONE, input, node)
        const [path = ''] = sandbox.stored()
        const [time, random] = path.split('.').slice(-3)
        const temporary = join(dirname(path), `${time}.${random}.tmp`)
        renameSync(path, temporary)
        const made = await run<Attempt>(sandbox, ONE, input, node)
        expect([offered(made), made.reused, made.seen.text]).toEqual([false, false, 'hello\n'])
        expect(sandbox.stored()).toContain(temporary)
      }))

    it.each([
      [
        'a stream of the program’s own',
        `
        const { Duplex } = require('node:stream')
        
        const duplex = new Duplex({ read() {}, write: (bytes, _, done) => raw.write(bytes, done),
          final: (done) => raw.end(done), destroy: (error, done) => { raw.destroy(); done(error) } })
        raw.on('data', (bytes) => duplex.push(bytes)).on('end', () => duplex.push(null))
        raw.on('close', () => duplex.destroy())
        return duplex`,
      ],
      [
        'a socket that had plain text first (STARTTLS)',
        `
        await new Promise((done) => setTimeout(done, 20))
        return raw`,
      ],
    ])(
      'over %s a session is offered for its own name only, and everything ends as without us',
      (_name, make) =>
        inSandbox(async (sandbox) => {
          const body = `
          const net = require('node:net')
          const over = async (options) => {
            const raw = net.connect(input.port, '127.0.0.1')
            await new Promise((done) => raw.on('connect', done))
            const socket = await (async () => { ${make} })()
            return attempt({ ...options, socket })
          }
          const results = []
          for (const servername of ['a.test', 'b.test', 'a.test'])
            results.push(await over({ servername, ca: input.ca }))
          results.push(await over({ servername: 'a.test', ca: input.other }))
          report(results)`
          const input = { port: server.port, ca: ca.cert, other: otherCa.cert }
          const [ours, theirs] = [
            await run<Attempt[]>(sandbox, body, input, node),
            await run<Attempt[]>(sandbox, body, input, { ...node, preload: false }),
          ]
          expect(ours.map(({ seen }) => seen)).toEqual(theirs.map(({ seen }) => seen))
          expect(ours.map(offered)).toEqual([false, false, true, false])
        }),
    )

    it.each([
      ['destroyed at once', 'socket.destroy()'],
      ['destroyed at its TCP connection', "socket.on('connect', () => socket.destroy())"],
      ['given a session of junk', "try { socket.setSession(Buffer.from('junk')) } catch {}"],
      ['given another server name to ask for', "socket.setServername('b.test')"],
      ['ended in the handshake', "socket.on('connect', () => socket.end())"],
      [
        'told to renegotiate at once',
        "socket.on('secureConnect', () => socket.renegotiate({ rejectUnauthorized: false }, () => {}))",
      ],
    ])('a socket that is %s ends as without us, and so does the next', (_name, act) =>
      inSandbox(async (sandbox) => {
        const input = { ...target, ca: ca.cert }
        const body = `
          const own = tls.connect
          tls.connect = (...args) => { const socket = own(...args); ${act}; tls.connect = own; return socket }
          report([await attempt(input), await attempt(input)])`
        await run(sandbox, ONE, input, node)
        const [ours, theirs] = [
          await run<Attempt[]>(sandbox, body, input, { ...node, timeoutMs: 10_000 }),
          await run<Attempt[]>(sandbox, body, input, { ...node, timeoutMs: 10_000, preload: false }),
        ]
        expect(ours.map(({ seen }) => seen)).toEqual(theirs.map(({ seen }) => seen))
      }),
    )
  })
}
