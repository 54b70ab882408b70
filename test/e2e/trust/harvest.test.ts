import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeLines } from '../../../src/runtime/summary-file.ts'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary, OLDER_NODES } from '../../support/pinned.ts'
import type { Identity } from '../../support/pki.ts'
import { startRelay } from '../../support/relay.ts'
import { TEST_KEY } from '../../support/run-program.ts'
import { type OneServer, useServer } from '../../support/servers.ts'
import { startTlsServer, type TlsServer, type TlsServerOptions } from '../../support/tls-server.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, run, ticketsIn } from './kit.ts'

const given = useServer({ names: ['a.test'], kind: 'raw' })
let input: OneServer['target'] & { readonly ca: string }
beforeAll(() => {
  input = { ...given.target, ca: given.ca.cert }
})

async function withServer<T>(
  options: Partial<TlsServerOptions>,
  test: (port: number) => Promise<T>,
): Promise<T> {
  const one = await startTlsServer({ ...given.identity, kind: 'raw', ...options })
  try {
    return await test(one.port)
  } finally {
    await one.close()
  }
}

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line} does not store the session of`, () => {
    const node = { node: nodeBinary(line) }

    it.each([
      ['an untrusted server', async () => ({ change: { ca: given.otherCa.cert } })],
      [
        'an untrusted server with verification disabled',
        async () => ({ change: { rejectUnauthorized: false } }),
      ],
      ['a server with another name', async () => ({ change: { servername: 'b.test' } })],
      [
        'a server whose certificate has expired',
        async () => ({
          identity: await given.ca.issue({ names: ['a.test'], notAfter: new Date(Date.now() - 1000) }),
        }),
      ],
      [
        'a server whose certificate is not yet valid, with verification disabled',
        async () => ({
          identity: await given.ca.issue({ names: ['a.test'], notBefore: new Date(Date.now() + 3_600_000) }),
          change: { rejectUnauthorized: false },
        }),
      ],
    ] as [string, () => Promise<{ change?: object; identity?: Identity }>][])('%s', (_name, prepare) =>
      inSandbox(async (sandbox) => {
        const { change, identity: own } = await prepare()
        await withServer(own ?? {}, async (port) => {
          const attacked = await run<Attempt>(sandbox, ONE, { ...input, port, ...change }, node)
          expect(harvested(attacked)).toBe(false)
          expect(sandbox.stored()).toEqual([])
        })
      }),
    )

    it.each(['TLSv1.2', 'TLSv1.3'] as const)(
      'a %s socket that the program destroys in secureConnect, since a pin does not match',
      (version) =>
        inSandbox((sandbox) =>
          withServer({ version }, async (port) => {
            const body = 'report(await attempt(input, (socket) => socket.destroy()))'
            await run(sandbox, body, { ...input, port }, node)
            const thrown = `process.on('uncaughtException', () => { report(0); process.exit(0) })
              attempt(input, () => { throw new Error('wrong pin') })`
            await run(sandbox, thrown, { ...input, port }, node)
            expect(sandbox.stored()).toEqual([])
          }),
        ),
    )

    it('a TLS 1.2 renegotiation', () =>
      inSandbox((sandbox) =>
        withServer({ kind: 'https', version: 'TLSv1.2' }, async (port) => {
          const body = `
            let sessions = 0
            let authorized
            const socket = open(input, () => {
              authorized = socket.authorized
              setTimeout(() => socket.renegotiate({}, () => setTimeout(() => socket.destroy(), 50)), 50)
            })
            socket.on('session', () => sessions++)
            socket.on('data', () => {}).on('close', () => setTimeout(() => report({ authorized, sessions, events }), 5))`
          type Renegotiated = { authorized: boolean; sessions: number; events: string[] }
          const seen = await run<Renegotiated>(sandbox, body, { ...input, port }, node)
          expect([seen.authorized, seen.sessions]).toEqual([true, 2])
          expect(seen.events.filter((event) => event === 'harvest').length).toBe(1)
        }),
      ))

    it('a TLS 1.2 connection without extended master secret', () =>
      inSandbox(async (sandbox) => {
        const NO_EXTENDED_MASTER_SECRET = 1
        const shared = { version: 'TLSv1.2' } as const
        const made = await withServer({ ...shared, secureOptions: NO_EXTENDED_MASTER_SECRET }, (port) =>
          run<Attempt>(sandbox, ONE, { ...input, port }, node),
        )
        expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
        expect(
          await withServer(shared, (port) => run<Attempt>(sandbox, ONE, { ...input, port }, node)),
        ).toMatchObject({
          events: expect.arrayContaining(['harvest']),
        })
      }))
  })

  describeWith(missingNode(line), `Node ${line}: sessions with client certificates`, () => {
    const node = { node: nodeBinary(line) }
    const kept = { ...node, env: { TICKETKEEP_CLIENT_CERT: '1' } }
    let mtls: TlsServer
    let client: Identity
    let other: Identity
    beforeAll(async () => {
      client = await given.ca.issue({ names: ['client'], client: true })
      other = await given.ca.issue({ names: ['other'], client: true })
      mtls = await startTlsServer({
        ...given.identity,
        kind: 'raw',
        requestCert: true,
        rejectUnauthorized: false,
        ca: given.ca.cert,
      })
    })
    afterAll(() => mtls?.close())
    const by = (who: Identity) => ({ ...input, port: mtls.port, cert: who.cert, key: who.key })

    it('are not stored without TICKETKEEP_CLIENT_CERT', () =>
      inSandbox(async (sandbox) => {
        await run(sandbox, ONE, by(client), node)
        expect(sandbox.stored()).toEqual([])
      }))

    it('are offered with TICKETKEEP_CLIENT_CERT, but only with the same certificate and key', () =>
      inSandbox(async (sandbox) => {
        await run(sandbox, ONE, by(client), kept)
        const { key: _, ...withoutKey } = by(client)
        const { cert, key, ...without } = by(client)
        for (const attack of [by(other), withoutKey, without]) {
          const before = mtls.handshakes.length
          expect(offered(await run(sandbox, ONE, attack, kept))).toBe(false)
          const { authorized } = mtls.handshakes[before]!
          expect(authorized).toBe(attack === by(other) ? true : 'cert' in attack && 'key' in attack)
        }
        const buffers = { cert: { cert }, key: { key } }
        expect(buffers).toBeDefined()
        expect((await run<Attempt>(sandbox, ONE, by(client), node)).reused).toBe(false)
        expect((await run<Attempt>(sandbox, ONE, by(client), kept)).reused).toBe(true)
      }))
  })
}

for (const line of [...LINES, ...OLDER_NODES]) {
  describeWith(missingNode(line), `Node ${line}: what programs see`, () => {
    const node = { node: nodeBinary(line) }

    const look = `
      const { X509Certificate } = require('node:crypto')
      const plain = (value) => value && JSON.parse(JSON.stringify(value instanceof X509Certificate
        ? { x509: value.fingerprint256, names: value.subjectAltName }
        : { ...value, pubkey: value.pubkey?.toString('hex'), raw: value.raw?.toString('hex') }))
      const looks = []
      const see = (socket) => looks.push({
        legacy: plain(socket.getPeerCertificate()), x509: plain(socket.getPeerX509Certificate?.()) })
      const made = await attempt(input, (socket) => {
        see(socket)
        socket.once('data', () => see(socket))
      })
      report({ made, looks, keys: Object.keys(looks[0].legacy) })`

    it.each(['TLSv1.2', 'TLSv1.3'] as const)(
      '%s: a resumed socket shows the verified certificate in the first secureConnect listener and later',
      (version) =>
        inSandbox((sandbox) =>
          withServer({ version }, async (port) => {
            type Looked = { made: Attempt; looks: { legacy: object; x509: object }[]; keys: string[] }
            const there = { ...input, port }
            const full = await run<Looked>(sandbox, look, there, node)
            const without = await run<Looked>(sandbox, look, there, { ...node, preload: false })
            const resumed = await run<Looked>(sandbox, look, there, node)
            expect([full.made.reused, resumed.made.reused]).toEqual([false, true])
            expect(full.looks).toEqual(without.looks)
            expect(resumed.looks).toEqual([full.looks[0], full.looks[0]])
            expect(full.looks[0]?.legacy).toHaveProperty('fingerprint256')
          }),
        ),
    )

    it('a program that sets a session of another server is not shown the stored certificate', () =>
      inSandbox(async (sandbox) => {
        const shared = { version: 'TLSv1.2', ticketKeys: Buffer.alloc(48, 7) } as const
        const another = await given.ca.issue({ names: ['a.test'] })
        await withServer(shared, (port) =>
          withServer({ ...shared, ...another }, async (anotherPort) => {
            const body = `
              let session
              const own = tls.connect
              await new Promise((done) =>
                own({ ...input.target, port: input.anotherPort, rejectUnauthorized: false })
                  .on('session', (s) => (session = s)).resume().on('close', done))
              tls.connect = (...args) => {
                const socket = own(...args)
                socket.setSession(session)
                return socket
              }
              let seen
              const made = await attempt(input.target, (socket) => (seen = socket.getPeerCertificate()))
              report({ made, names: seen.subjectaltname })`
            const target = { ...input, port }
            await run(sandbox, ONE, target, node)
            const { made, names } = await run<{ made: Attempt; names?: string }>(
              sandbox,
              body,
              { target, anotherPort },
              node,
            )
            expect([made.reused, names, harvested(made)]).toEqual([true, undefined, false])
          }),
        )
      }))

    it('a session that the program sets in its first connection is not replaced', () =>
      inSandbox((sandbox) =>
        withServer({ version: 'TLSv1.2' }, async (port) => {
          const target = { ...input, port }
          const take = `
            const socket = tls.connect(input)
            socket.on('session', (s) => report(s.toString('base64'))).resume()`
          const session = await run<string>(sandbox, take, target, { ...node, preload: false })
          await run(sandbox, ONE, target, node)
          const body = `
            const own = tls.connect
            tls.connect = (...args) => {
              const socket = own(...args)
              socket.setSession(Buffer.from(input.session, 'base64'))
              return socket
            }
            report(await attempt(input.target))`
          const made = await run<Attempt>(sandbox, body, { target, session }, node)
          expect([offered(made), made.reused]).toEqual([false, true])
        }),
      ))

    it('a matching pin holds on a resumed connection, and another one fails', () =>
      inSandbox(async (sandbox) => {
        const pin = createHash('sha256').update(
          new (await import('node:crypto')).X509Certificate(given.identity.cert).raw,
        )
        const body = `
          const made = await attempt(input.target, (socket) => {
            const seen = socket.getPeerCertificate().fingerprint256?.replaceAll(':', '').toLowerCase()
            if (seen !== input.pin) socket.destroy(new Error('wrong pin'))
          })
          report(made)`
        const right = { target: input, pin: pin.digest('hex') }
        await run(sandbox, body, right, node)
        expect(await run<Attempt>(sandbox, body, right, node)).toMatchObject({
          reused: true,
          seen: { text: 'hello\n' },
        })
        await run(sandbox, body, right, node)
        await run(sandbox, body, right, node)
        const wrong = { ...right, pin: 'another' }
        for (const _ of [1, 2]) {
          expect((await run<Attempt>(sandbox, body, wrong, node)).seen.error).toBe('wrong pin')
        }
      }))
  })
}

const LATE = { env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: `echo ${TEST_KEY}` } }
const NEVER = { env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: 'sleep 20' } }

describe('a key that has to be fetched', () => {
  it.each([
    ['is fetched at the first connection that is attended', 'await attempt(input)', 1],
    ['is fetched once for several connections', 'await attempt(input); await attempt(input)', 1],
    [
      'is fetched at the second connection if the first one is left alone',
      'await attempt({ ...input, rejectUnauthorized: false }); await attempt(input)',
      1,
    ],
    [
      'is not fetched if every connection is left alone',
      'for (const _ of [1, 2, 3]) await attempt({ ...input, rejectUnauthorized: false })',
      0,
    ],
    ['is not fetched by a program that makes no connection', 'tls.createSecureContext()', 0],
    [
      'is not fetched by a server',
      `const secureServer = tls.createServer({ ca: input.ca }).listen(0, '127.0.0.1')
      await new Promise((done) => secureServer.on('listening', done))
      const { port } = secureServer.address()
      const raw = require('node:net').connect(port, '127.0.0.1', () => raw.end('no TLS'))
      await new Promise((done) => secureServer.on('tlsClientError', done))
      secureServer.close()`,
      0,
    ],
  ])('%s', (_name, attempts, times) =>
    inSandbox(async (sandbox) => {
      const body = `
        const child = require('node:child_process')
        const { spawn } = child
        let asked = 0
        child.spawn = (...args) => { asked++; return spawn(...args) }
        ${attempts}
        process.on('exit', () => report(asked))`
      expect(await run<number>(sandbox, body, input, LATE)).toBe(times)
    }),
  )

  it('encrypts the tickets that came before it', () =>
    inSandbox(async (sandbox) => {
      const body = `const one = await attempt(input)
        setTimeout(() => report(one), 1000)`
      const made = await run<Attempt>(sandbox, body, input, LATE)
      expect([offered(made), harvested(made)]).toEqual([false, true])
      expect(ticketsIn(sandbox).length).toBeGreaterThan(0)
    }))

  it('is fetched if an earlier source has no key', () =>
    inSandbox(async (sandbox) => {
      const env = { ...LATE.env, CREDENTIALS_DIRECTORY: sandbox.home }
      await run(sandbox, 'report(await attempt(input)); setTimeout(() => {}, 1000)', input, { env })
      expect(ticketsIn(sandbox).length).toBeGreaterThan(0)
    }))

  it('may not come in time, and `run --summary` still counts the connection', () =>
    inSandbox(async (sandbox) => {
      const env = { ...NEVER.env, TICKETKEEP_SUMMARY_FILE: sandbox.write('summary', '') }
      await run(sandbox, ONE, input, { env })
      const summary = readFileSync(env.TICKETKEEP_SUMMARY_FILE, 'utf8')
      const lines = decodeLines(summary)
      expect(lines).toMatchObject([
        { handshake: 'full' },
        { problem: 'nothing is kept: the program ended before the key arrived' },
      ])
    }))
})

describe.each([
  ['in a variable', {}],
  ['from a command', LATE],
])('with a key %s', (_where, options) => {
  it('the socket of a closed connection can be garbage-collected', () =>
    inSandbox(async (sandbox) => {
      const body = `
        require('node:v8').setFlagsFromString('--expose-gc')
        const gc = require('node:vm').runInNewContext('gc')
        const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
        const refs = []
        const once = () => attempt(input, (socket) => refs.push(new WeakRef(socket)))
        for (let i = 0; i < input.connections; i++) await once()
        for (let i = 0; i < 10; i++) { await sleep(20); gc() }
        report(refs.map((ref) => ref.deref() === undefined))`
      for (const connections of [1, 3]) {
        const gone = await run<boolean[]>(sandbox, body, { ...input, connections }, options)
        expect(gone).toEqual(Array(connections).fill(true))
      }
    }))

  it('a connection over a socket that is still connecting is attended', () =>
    inSandbox(async (sandbox) => {
      const body = `
        const over = () => attempt({
          socket: require('node:net').connect(input.port, '127.0.0.1'), servername: 'a.test', ca: input.ca })
        const [first, second] = [await over(), await over()]
        setTimeout(() => report(second), 300)`
      const [made, found] = [
        await run<Attempt>(sandbox, body, input, options),
        await run<Attempt>(sandbox, body, input, options),
      ]
      expect([made, found].map((one) => harvested(one) || offered(one))).toEqual([true, true])
      expect(ticketsIn(sandbox).length).toBeGreaterThan(0)
    }))

  it('a program that calls unref() on its socket is not kept running', () =>
    inSandbox(async (sandbox) => {
      const body = `
        const seen = {}
        const look = (when) => process.nextTick(() => (seen[when] = process.getActiveResourcesInfo()))
        const socket = tls.connect(input)
        socket.unref()
        look('start')
        socket.on('connect', () => look('connect'))
        process.on('exit', () => report(seen))`
      const without = await run(sandbox, body, input, { preload: false })
      expect(await run(sandbox, body, input, options)).toEqual(without)
    }))
})

describe('a key that comes late', () => {
  it('adds the new tickets to those that are stored', () =>
    inSandbox(async (sandbox) => {
      await run(sandbox, ONE, input)
      const before = sandbox.stored()
      const command = sandbox.write('key.sh', `sleep 0.2; echo ${TEST_KEY}`)
      const late = { env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: `sh ${command}` } }
      const full = `report(await attempt(input)); setTimeout(() => {}, 1500)`
      expect(await run(sandbox, full, input, late)).toMatchObject({ reused: false })
      expect(sandbox.stored()).toEqual(expect.arrayContaining(before))
      expect(sandbox.stored()).toHaveLength(before.length + 1)
    }))

  it('does not delay the end of the program, which also ends the key command', () =>
    inSandbox(async (sandbox) => {
      const finished = join(sandbox.directory, 'finished')
      const slow = `sh -c 'sleep 20; touch ${finished}'`
      const env = { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: slow }
      expect(await run(sandbox, ONE, input, { env })).toMatchObject({ seen: { text: 'hello\n' } })
      expect(existsSync(finished)).toBe(false)
      await expect.poll(() => spawnSync('pgrep', ['-f', finished]).status).toBe(1)
    }))

  it.each(LINES.map((line) => [line]))(
    'is not used in a tunnel whose handshake has begun, on Node %s',
    (line) =>
      inSandbox(async (sandbox) => {
        const relay = await startRelay(given.server.port, 120)
        const body = `
          const net = require('node:net')
          const through = () => new Promise((done, fail) => {
            const socket = net.connect(input.port, '127.0.0.1', () =>
              done(attempt({ servername: 'a.test', ca: input.ca, socket })))
            socket.on('error', fail)
          })
          report(await Promise.all([through(), through(), through(), through()]))`
        const target = { ...input, port: relay.port }
        await run(sandbox, body, target, { node: nodeBinary(line) })
        expect(ticketsIn(sandbox).length).toBeGreaterThan(3)
        // The handshake takes 240 ms, the key a little more than its delay.
        for (const delay of ['00', '05', '10']) {
          const command = sandbox.write('key.sh', `sleep 0.${delay}; echo ${TEST_KEY}`)
          const env = { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: `sh ${command}` }
          const results = await run<Attempt[]>(sandbox, body, target, { node: nodeBinary(line), env })
          expect(results.map(({ seen }) => seen.text)).toEqual(Array(4).fill('hello\n'))
          expect(results.map(offered)).toEqual(Array(4).fill(false))
        }
        await relay.close()
      }),
  )
})
