import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../../support/pki.ts'
import { PRELOAD } from '../../support/places.ts'
import { freePort, listen, sleep, waitForPort } from '../../support/ports.ts'
import { type RunOptions, type Sandbox, TEST_KEY } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer, type TlsServerOptions } from '../../support/tls-server.ts'
import {
  type Attempt,
  FACE,
  harvested,
  inSandbox,
  LINES,
  ONE,
  offered,
  run,
  spkiOf,
  startSwitchboard,
  storedSpkis,
  storeOf,
  ticketsIn,
  unixNow,
} from './kit.ts'

let ca: Authority
let identity: Identity
beforeAll(async () => {
  ca = await createAuthority()
  identity = await ca.issue({ names: ['a.test'] })
})

const inputFor = (port: number) => ({ host: '127.0.0.1', port, servername: 'a.test', ca: ca.cert })

interface Place {
  readonly sandbox: Sandbox
  readonly server: TlsServer
  readonly input: ReturnType<typeof inputFor>
}

/** Runs a test with a sandbox and a server of its own. */
function against(options: Partial<TlsServerOptions>, test: (place: Place) => Promise<void>): Promise<void> {
  return inSandbox(async (sandbox) => {
    const server = await startTlsServer({ ...identity, kind: 'raw', ...options })
    try {
      await test({ sandbox, server, input: inputFor(server.port) })
    } finally {
      await server.close()
    }
  })
}

const PARALLEL = 'report(await Promise.all([attempt(input), attempt(input), attempt(input)]))'
const TWICE = 'report([await attempt(input), await attempt(input)])'

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
      it('when the server has another key and refuses old tickets, the next handshake is full and the tickets are removed', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          await run(sandbox, PARALLEL, input, node)
          expect(new Set(storedSpkis(sandbox))).toEqual(new Set([spkiOf(identity.cert)]))
          const next = await ca.issue({ names: ['a.test'] })
          server.setIdentity(next)
          server.rotateTicketKeys()
          const second = await run<Attempt>(sandbox, ONE, input, node)
          expect([offered(second), second.reused, second.seen.text]).toEqual([true, false, 'hello\n'])
          expect(new Set(storedSpkis(sandbox))).toEqual(new Set([spkiOf(next.cert)]))
        }))

      it('when a connection with other options sees another key of the server, the old tickets are removed', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          await run(sandbox, ONE, input, node)
          const next = await ca.issue({ names: ['a.test'] })
          server.setIdentity(next)
          const other = await run<Attempt>(sandbox, ONE, { ...input, ALPNProtocols: ['x'] }, node)
          expect([offered(other), other.reused]).toEqual([false, false])
          expect(storedSpkis(sandbox)).not.toContain(spkiOf(identity.cert))
        }))

      it('when another key of the server is seen before the master key has come, the old tickets are removed later', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          await run(sandbox, ONE, input, node)
          expect(storedSpkis(sandbox)).toContain(spkiOf(identity.cert))
          server.setIdentity(await ca.issue({ names: ['a.test'] }))
          const command = sandbox.write('key.sh', `sleep 0.2; echo ${TEST_KEY}`)
          const env = { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: `sh ${command}` }
          const body = `const seen = await attempt(input)
            setTimeout(() => report(seen), 1500)`
          const seen = await run<Attempt>(sandbox, body, input, { ...node, env })
          expect([offered(seen), seen.reused]).toEqual([false, false])
          expect(storedSpkis(sandbox)).not.toContain(spkiOf(identity.cert))
        }))

      it('a ticket that another connection has taken meanwhile is not put back', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          const target = `{ ...input, host: 'a.test', lookup: (host, options, done) =>
            setImmediate(done, null, [{ address: '127.0.0.1', family: 4 }]) }`
          await run(sandbox, `report(await attempt(${target}))`, input, node)
          expect(storedSpkis(sandbox)).toContain(spkiOf(identity.cert))
          server.setIdentity(await ca.issue({ names: ['a.test'] }))
          const body = `
            await attempt({ ...input, servername: 'warm.test' })
            let fail
            const out = attempt({ ...${target}, lookup: (host, options, done) => (fail = done) })
            const seen = await attempt({ ...${target}, ALPNProtocols: ['x'] })
            fail(new Error('not found'))
            report([await out, seen])`
          const [out, seen] = await run<Attempt[]>(sandbox, body, input, node)
          expect([offered(out!), out?.seen.error, seen?.reused]).toEqual([false, 'not found', false])
          expect(storedSpkis(sandbox)).not.toContain(spkiOf(identity.cert))
        }))

      it('a ticket that another connection has taken meanwhile is not offered', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          const target = `{ ...input, host: 'a.test', lookup: (host, options, done) =>
            setImmediate(done, null, [{ address: '127.0.0.1', family: 4 }]) }`
          await run(sandbox, `report(await attempt(${target}))`, input, node)
          server.setIdentity(await ca.issue({ names: ['a.test'] }))
          const body = `
            await attempt({ ...input, servername: 'warm.test' })
            let found
            const out = attempt({ ...${target}, lookup: (host, options, done) => (found = done) })
            await attempt({ ...${target}, ALPNProtocols: ['x'] })
            await new Promise((done) => setTimeout(done, 50))
            found(null, [{ address: '127.0.0.1', family: 4 }])
            report(await out)`
          const out = await run<Attempt>(sandbox, body, input, node)
          expect([offered(out), out.reused, out.seen.text]).toEqual([false, false, 'hello\n'])
          expect(out.events).toContain('skip: the tickets were invalidated since the call')
        }))

      it('when the server has another key and accepts old tickets, they are offered until they expire', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          const ticketKeys = Buffer.alloc(48, 7)
          const before = await startTlsServer({ ...identity, kind: 'raw', version, ticketKeys })
          const next = await ca.issue({ names: ['a.test'] })
          const after = await startTlsServer({ ...next, kind: 'raw', version, ticketKeys })
          const board = await startSwitchboard(before.port)
          const there = { ...input, port: board.port }
          await run(sandbox, ONE, there, node)
          board.target = after.port
          expect((await run<Attempt>(sandbox, ONE, there, node)).reused).toBe(true)
          for (const { ticket } of ticketsIn(sandbox)) expect(ticket.expiresAtUnixSecs).toBeDefined()
          for (const one of [before, after, board]) await one.close()
          expect(server.handshakes).toEqual([])
        }))

      it('a refused ticket costs one full handshake', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          await run(sandbox, ONE, input, node)
          server.rotateTicketKeys()
          const second = await run<Attempt>(sandbox, ONE, input, node)
          expect([second.seen, second.reused]).toEqual([{ authorized: true, text: 'hello\n' }, false])
          expect((await run<Attempt>(sandbox, ONE, input, node)).reused).toBe(true)
        }))

      it.each(['hello', 'handshake'] as const)(
        'a server that breaks resumptions at the %s breaks one connection of a process, and only once',
        (breaks) => broken({ version, breaks }, node, TWICE),
      )

      it.each(['hello', 'handshake'] as const)(
        'a server that breaks resumptions at the %s breaks one connection across processes, and only once',
        (breaks) => broken({ version, breaks }, node),
      )

      it('a server that hangs on resumptions breaks one connection, and only once', () =>
        broken({ version, hangs: true }, node))

      it('a ticket stays stored when the TCP connection is refused', () =>
        against({ version }, async ({ sandbox, server, input }) => {
          const board = await startSwitchboard(server.port)
          const there = { ...input, port: board.port }
          await run(sandbox, ONE, there, node)
          const stored = ticketsIn(sandbox).length
          await board.close()
          const failed = await run<Attempt>(sandbox, ONE, there, node)
          expect([offered(failed), failed.seen.error]).toEqual([false, 'ECONNREFUSED'])
          expect(ticketsIn(sandbox).length).toBe(stored)
        }))
    })

    it('a TLS 1.3 ticket is used once across processes, and the other tickets of its batch stay', () =>
      against({ version: 'TLSv1.3' }, async ({ sandbox, input }) => {
        await run(sandbox, ONE, input, node)
        const stored = ticketsIn(sandbox).length
        for (let i = stored; i > 0; i--) {
          expect((await run<Attempt>(sandbox, ONE, input, node)).reused).toBe(true)
          expect(ticketsIn(sandbox).length).toBe(i - 1)
        }
        expect(offered(await run(sandbox, ONE, input, node))).toBe(false)
      }))

    it('a TLS 1.3 ticket that the program itself offers, as Node’s agent does, is removed from the store', () =>
      against({ version: 'TLSv1.3' }, async ({ sandbox, input }) => {
        const body = `
          let session
          await attempt(input, (socket) => socket.on('session', (s) => (session = s)))
          const second = await attempt({ ...input, session })
          report(second)`
        expect((await run<Attempt>(sandbox, body, input, node)).reused).toBe(true)
        expect(ticketsIn(sandbox).length).toBe(1)
      }))

    it('a TLS 1.3 ticket is used again and again with TICKETKEEP_REUSE=1', () =>
      against({ version: 'TLSv1.3' }, async ({ sandbox, input }) => {
        const ways = { ...node, env: { TICKETKEEP_REUSE: '1' } }
        const runs = []
        for (let i = 0; i < 5; i++) runs.push((await run<Attempt>(sandbox, ONE, input, ways)).reused)
        expect(runs).toEqual([false, true, true, true, true])
      }))
  })
}

/** Fills a store with good tickets. Then the server breaks the connections that offer them. */
function broken(
  how: { version: 'TLSv1.2' | 'TLSv1.3'; breaks?: 'hello' | 'handshake'; hangs?: boolean },
  node: { node: string },
  body?: string,
): Promise<void> {
  return inSandbox(async (sandbox) => {
    const { version, breaks, hangs } = how
    const shared = { ...identity, kind: 'raw', version, ticketKeys: Buffer.alloc(48, 7) } as const
    const good = await startTlsServer(shared)
    const bad = await startTlsServer({ ...shared, ...(breaks && { breaks }) })
    const silent = createServer(() => {})
    const board = await startSwitchboard(good.port)
    const input = { ...inputFor(board.port), timeout: 300 }
    await run(sandbox, PARALLEL, input, node)
    expect(ticketsIn(sandbox).length).toBeGreaterThan(version === 'TLSv1.3' ? 1 : 0)
    board.target = hangs ? await listen(silent) : bad.port
    const giveUp = ONE.replace('attempt(input)', 'attempt(input, undefined, true)')
    const results = body
      ? await run<Attempt[]>(sandbox, body, input, node)
      : [await run<Attempt>(sandbox, giveUp, input, node)]
    expect([offered(results[0]!), results[0]!.seen.text]).toEqual([true, ''])
    if (!body) {
      board.target = hangs ? good.port : bad.port
      results.push(await run<Attempt>(sandbox, ONE, input, node))
    }
    const [first, second] = results as [Attempt, Attempt]
    const seen = [offered(second), second.reused, second.seen.text]
    expect(seen, `${first.events.join()}; ${second.events.join()}`).toEqual([false, false, 'hello\n'])
    for (const one of [good, bad, board]) await one.close()
    silent.close()
  })
}

describe('expiry', () => {
  /** Sets the clock of the client alone ahead by the seconds in CLOCK, before the preload of ticketkeep is loaded. */
  const CLOCK = `const now = Date.now; Date.now = () => now() + 1000 * Number(process.env.CLOCK)
    ${FACE === undefined ? `require(${JSON.stringify(PRELOAD)})` : ''}`

  it('a ticket of a resumed connection expires a day after the last full handshake', () =>
    withOpenssl(['-tls1_3'], async ({ sandbox, input, run: get }) => {
      await get({})
      const preload = sandbox.write('clock.cjs', CLOCK)
      const verifiedAtUnixSecs = unixNow() - 86_400 + 60
      const store = storeOf(sandbox)
      const [{ peer, ticket }] = ticketsIn(sandbox) as [ReturnType<typeof ticketsIn>[0]]
      store.invalidate(peer)
      store.save(peer, [{ ...ticket, verifiedAtUnixSecs }], unixNow())

      const resumed = await get({})
      expect([resumed.reused, harvested(resumed)]).toEqual([true, true])
      expect(ticketsIn(sandbox).map((one) => one.ticket.verifiedAtUnixSecs)).toEqual([verifiedAtUnixSecs])
      expect(ticketsIn(sandbox)[0]?.ticket.expiresAtUnixSecs).toBe(verifiedAtUnixSecs + 86_400)
      expect(offered(await get({ preload, env: { CLOCK: '90' } }))).toBe(false)
      expect(input.servername).toBe('a.test')
    }))

  it('a session whose certificate has expired is not offered, and the connection fails with CERT_HAS_EXPIRED', () =>
    inSandbox(async (sandbox) => {
      const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 8000)
      const brief = await ca.issue({ names: ['a.test'], notAfter })
      const server = await startTlsServer({ ...brief, kind: 'raw' })
      const input = inputFor(server.port)
      const twice = await run<Attempt[]>(sandbox, TWICE, input)
      expect(twice.map(({ reused }) => reused)).toEqual([false, true])
      expect(ticketsIn(sandbox)).toHaveLength(1)
      await sleep(notAfter.getTime() - Date.now() + 1100)
      const late = await run<Attempt>(sandbox, ONE, input)
      expect([offered(late), late.seen.error]).toEqual([false, 'CERT_HAS_EXPIRED'])
      await server.close()
    }))

  it('a session whose issuer has expired is not offered, though the certificate of the server is valid', () =>
    inSandbox(async (sandbox) => {
      const middle = await ca.intermediate({ notAfter: new Date(Date.now() + 3_600_000) })
      const server = await startTlsServer({ ...(await middle.issue({ names: ['a.test'] })), kind: 'raw' })
      const input = inputFor(server.port)
      const preload = sandbox.write('clock.cjs', CLOCK)
      await run(sandbox, ONE, input, { preload, env: { CLOCK: '0' } })
      const at = async (hours: number) =>
        run<Attempt>(sandbox, ONE, input, {
          preload,
          env: { CLOCK: String(hours * 3600), TICKETKEEP_REUSE: '1' },
        })
      expect(offered(await at(0.9))).toBe(true)
      expect(offered(await at(1.1))).toBe(false)
      await server.close()
    }))

  it('a session made with a client certificate that has expired is not offered', () =>
    inSandbox(async (sandbox) => {
      const client = await ca.issue({
        names: ['alice'],
        client: true,
        notAfter: new Date(Date.now() + 3_600_000),
      })
      const server = await startTlsServer({ ...identity, kind: 'raw', requestCert: true, ca: ca.cert })
      const input = { ...inputFor(server.port), cert: client.cert, key: client.key }
      const preload = sandbox.write('clock.cjs', CLOCK)
      const at = async (hours: number) =>
        run<Attempt>(sandbox, ONE, input, {
          preload,
          env: { CLOCK: String(hours * 3600), TICKETKEEP_CLIENT_CERT: '1', TICKETKEEP_REUSE: '1' },
        })
      expect(harvested(await at(0))).toBe(true)
      expect(offered(await at(0.9))).toBe(true)
      expect(offered(await at(1.1))).toBe(false)
      await server.close()
    }))

  it('a session from the future is not offered after the clock was set back', () =>
    against({}, async ({ sandbox, input }) => {
      const preload = sandbox.write('clock.cjs', CLOCK)
      await run(sandbox, ONE, input, { preload, env: { CLOCK: '3600' } })
      expect(offered(await run(sandbox, ONE, input, { preload, env: { CLOCK: '0' } }))).toBe(false)
    }))
})

describe.skipIf(FACE)('a session from Node’s own agent cache', () => {
  // The agent ignores the secureContext: under the default CAs it offers a session that was verified under a private CA.
  // The server sends a new ticket on each resumption.
  const body = `
    const https = require('node:https')
    const wait = (ms) => new Promise((done) => setTimeout(done, ms))
    const agent = new https.Agent()
    const get = (more) => new Promise((done) => {
      const request = https.get({ ...input.target, agent, ...more }, (response) => {
        const reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket)
        response.resume().on('end', () => wait(30).then(() => done(reused)))
      })
      request.on('error', (error) => done(error.code))
    })
    await attempt({ ...input.target, servername: 'warm.test' })
    const secureContext = tls.createSecureContext({ ca: input.ca })
    const first = await get({ secureContext })
    const before = events.length
    const second = await get(input.same ? { secureContext } : {})
    report({ results: [first, second], events: events.slice(before) })`

  for (const line of LINES) {
    describeWith(missingNode(line), `Node ${line}`, () => {
      const node = { node: nodeBinary(line) }
      it('is stored only if it was made under the same trust', () =>
        withOpenssl(['-tls1_3'], async ({ sandbox, input: { ca, ...target } }) => {
          type Got = { results: unknown[]; events: string[] }
          const got = (same: boolean, preload = true) =>
            run<Got>(sandbox, body, { target, ca, same }, { ...node, preload })
          const [ours, theirs] = [await got(false), await got(false, false)]
          expect(ours.results).toEqual(theirs.results)
          // Node itself resumes, though the default CAs would not have accepted this server. So there is this rule.
          expect(ours.results).toEqual([false, true])
          expect(ours.events.filter((event) => event === 'harvest')).toEqual([])
          expect(offered(await run(sandbox, ONE, target, node))).toBe(false)
          expect((await got(true)).events).toContain('harvest')
        }))
    })
  }
})

interface OpensslPlace {
  readonly sandbox: Sandbox
  readonly input: ReturnType<typeof inputFor>
  run(options: Partial<RunOptions>): Promise<Attempt>
}

/** Runs a test against `openssl s_server`, which sends a new ticket on each resumption of TLS 1.3. */
function withOpenssl(args: string[], test: (place: OpensslPlace) => Promise<void>): Promise<void> {
  return inSandbox(async (sandbox) => {
    const port = await freePort()
    const cert = sandbox.write('cert.pem', identity.cert)
    const key = sandbox.write('key.pem', identity.key)
    const accept = ['-accept', `127.0.0.1:${port}`, '-cert', cert, '-key', key, '-www', '-quiet']
    const server = spawn('openssl', ['s_server', ...accept, ...args], { stdio: 'ignore' })
    const input = inputFor(port)
    const GET = 'report(await attempt(input, (socket) => socket.write("GET / HTTP/1.0\\r\\n\\r\\n")))'
    try {
      await waitForPort(port)
      await test({ sandbox, input, run: (options) => run<Attempt>(sandbox, GET, input, options) })
    } finally {
      server.kill()
    }
  })
}
