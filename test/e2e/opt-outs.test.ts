import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { ROOT } from '../support/places.ts'
import { useServerOfEachVersion } from '../support/servers.ts'
import { inSandbox, run } from './trust/kit.ts'

// One process stores sessions with each client under ordinary options. The next one connects with each option that says "no
// sessions", which must be left alone, and then with ordinary options, which must still resume.

interface Client {
  /** The body of `async () => …`, which makes one request on a new connection. */
  readonly ordinary: string
  /** The same program with an option against sessions, and the reason that is given. */
  readonly optOuts: Readonly<Record<string, readonly [body: string, reason: string]>>
  /** Options that look like that and are not. */
  readonly others?: Readonly<Record<string, string>>
}

const NO_SESSIONS = 'the program wants no sessions (maxCachedSessions: 0)'
const NO_TICKETS = 'the program wants no tickets (SSL_OP_NO_TICKET)'
const NO_SESSION = 'the program wants no session (session: null)'

const CLIENTS: Record<string, Client> = {
  'https with an agent': {
    ordinary: `return get({ agent: new https.Agent({ ca }) })`,
    optOuts: {
      'maxCachedSessions: 0 of the agent': [
        `return get({ agent: new https.Agent({ ca, maxCachedSessions: 0 }) })`,
        NO_SESSIONS,
      ],
      'maxCachedSessions set to 0 later': [
        `return get({ agent: Object.assign(new https.Agent({ ca }), { maxCachedSessions: 0 }) })`,
        NO_SESSIONS,
      ],
      'maxCachedSessions: 0 of the request': [
        `return get({ agent: new https.Agent({ ca }), maxCachedSessions: 0 })`,
        NO_SESSIONS,
      ],
      'session: null of the agent': [
        `return get({ agent: new https.Agent({ ca, session: null }) })`,
        NO_SESSION,
      ],
      'session: null of the request': [`return get({ ca, session: null, agent: false })`, NO_SESSION],
      'SSL_OP_NO_TICKET of the agent': [
        `return get({ agent: new https.Agent({ ca, secureOptions }) })`,
        NO_TICKETS,
      ],
    },
    others: {
      'session: undefined': `return get({ ca, session: undefined, agent: false })`,
      'maxCachedSessions: 1': `return get({ agent: new https.Agent({ ca, maxCachedSessions: 1 }) })`,
    },
  },
  'https.globalAgent': {
    ordinary: `return get({ ca })`,
    optOuts: {
      'maxCachedSessions set to 0': [
        `
        https.globalAgent.maxCachedSessions = 0
        try { await get({ ca }) } finally { https.globalAgent.maxCachedSessions = 100 }`,
        NO_SESSIONS,
      ],
      'another agent without sessions': [
        `
        const { globalAgent } = https
        https.globalAgent = new https.Agent({ maxCachedSessions: 0 })
        try { await get({ ca }) } finally { https.globalAgent = globalAgent }`,
        NO_SESSIONS,
      ],
    },
  },
  'tls.connect': {
    ordinary: `return connect({ ca })`,
    optOuts: {
      SSL_OP_NO_TICKET: [`return connect({ ca, secureOptions })`, NO_TICKETS],
      'SSL_OP_NO_TICKET with other options': [
        `return connect({ ca, secureOptions: secureOptions | constants.SSL_OP_NO_RENEGOTIATION })`,
        NO_TICKETS,
      ],
      'a context with SSL_OP_NO_TICKET': [
        `return connect({ secureContext: tls.createSecureContext({ ca, secureOptions }) })`,
        NO_TICKETS,
      ],
      'SSL_OP_NO_TICKET in addition to a context': [
        `return connect({ secureContext: tls.createSecureContext({ ca }), secureOptions })`,
        NO_TICKETS,
      ],
      'session: null without a listener for sessions': [`return connect({ ca, session: null })`, NO_SESSION],
    },
    others: {
      'session: null with a listener for sessions': `
        return connect({ ca, session: null }, (socket) => socket.on('session', () => {}))`,
      'a context': `return connect({ secureContext: tls.createSecureContext({ ca }) })`,
    },
  },
  'https-proxy-agent': {
    ordinary: `return tunnelled({})`,
    optOuts: {
      'maxCachedSessions: 0 of the request': [`return tunnelled({ maxCachedSessions: 0 })`, NO_SESSIONS],
      'session: null of the request': [`return tunnelled({ session: null })`, NO_SESSION],
      'SSL_OP_NO_TICKET of the request': [`return tunnelled({ secureOptions })`, NO_TICKETS],
    },
  },
  got: {
    ordinary: `return viaGot({})`,
    optOuts: {
      'an agent with maxCachedSessions: 0': [
        `return viaGot({ agent: { https: new https.Agent({ maxCachedSessions: 0 }) } })`,
        NO_SESSIONS,
      ],
      'https.secureOptions': [
        `return viaGot({ https: { certificateAuthority: ca, secureOptions } })`,
        NO_TICKETS,
      ],
    },
  },
  axios: {
    ordinary: `return viaAxios({ ca })`,
    optOuts: {
      'an httpsAgent with maxCachedSessions: 0': [
        `return viaAxios({ ca, maxCachedSessions: 0 })`,
        NO_SESSIONS,
      ],
    },
  },
  undici: {
    ordinary: `return viaUndici({ ca })`,
    optOuts: {
      'SSL_OP_NO_TICKET of the connector': [`return viaUndici({ ca, secureOptions })`, NO_TICKETS],
    },
  },
  'undici through a proxy': {
    ordinary: `return viaUndiciProxy({ ca })`,
    optOuts: {
      'SSL_OP_NO_TICKET of requestTls': [`return viaUndiciProxy({ ca, secureOptions })`, NO_TICKETS],
    },
  },
}

const BODY = `
  const https = require('node:https')
  const { constants } = require('node:crypto')
  const secureOptions = constants.SSL_OP_NO_TICKET
  const { ca } = input
  const get = (options) => new Promise((done, fail) =>
    https.get(input.url, { ...options, headers: { connection: 'close' } }, (response) =>
      response.resume().on('end', done)).on('error', fail))
  const connect = (options, then = () => {}) => new Promise((done, fail) => {
    const socket = tls.connect({ host: 'localhost', port: input.port, servername: 'localhost', ...options })
    then(socket)
    socket.on('error', fail).on('close', done).resume()
    socket.write('GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
  })
  const tunnelled = async (options) => {
    const { HttpsProxyAgent } = await import(input.httpsProxyAgent)
    return get({ ca, agent: new HttpsProxyAgent(input.proxy), ...options })
  }
  const viaGot = async (options) => {
    const { default: got } = await import(input.got)
    await got(input.url, { https: { certificateAuthority: ca }, retry: { limit: 0 }, ...options })
  }
  const viaAxios = (options) =>
    require(input.axios).get(input.url, { httpsAgent: new https.Agent(options), proxy: false })
  const requestBy = async (dispatcher) => {
    const { body } = await require(input.undici).request(input.url, { dispatcher })
    await body.dump()
    await dispatcher.close()
  }
  const viaUndici = (connect) => requestBy(new (require(input.undici).Agent)({ connect }))
  const viaUndiciProxy = (requestTls) =>
    requestBy(new (require(input.undici).ProxyAgent)({ uri: input.proxy, requestTls, proxyTunnel: true }))

  const seen = async (body) => {
    const first = events.length
    let error
    try { await body() } catch (e) { error = e.message }
    await new Promise((done) => setTimeout(done, 30))
    return { error, events: events.slice(first) }
  }
  const results = {}
  for (const [name, body] of Object.entries({ {bodies} })) results[name] = await seen(body)
  report(results)
  process.exit()`

const programOf = (bodies: Record<string, string>) =>
  BODY.replace('{bodies}', () =>
    Object.entries(bodies)
      .map(([name, body]) => `${JSON.stringify(name)}: async () => {${body}}`)
      .join(',\n'),
  )

interface Result {
  readonly error?: string
  readonly events: readonly string[]
}
type Results = Record<string, Result>

const ordinary = Object.fromEntries(
  Object.entries(CLIENTS).map(([name, client]) => [`${name}: ordinary`, client.ordinary]),
)
const optOuts = Object.entries(CLIENTS).flatMap(([name, client]) =>
  Object.entries(client.optOuts).map(([what, [body, reason]]) => ({
    name: `${name}: ${what}`,
    body,
    reason,
  })),
)
const others = Object.entries(CLIENTS).flatMap(([name, client]) =>
  Object.entries(client.others ?? {}).map(([what, body]) => ({ name: `${name}: ${what}`, body })),
)

let proxy: ConnectProxy
const given = useServerOfEachVersion()
let input: Record<string, string>
beforeAll(async () => {
  proxy = await startConnectProxy()
  const module = (name: string) => join(ROOT, 'node_modules', name)
  input = {
    ca: given.ca.cert,
    proxy: proxy.url,
    undici: module('undici'),
    axios: module('axios'),
    got: module('got/dist/source/index.js'),
    httpsProxyAgent: module('https-proxy-agent/dist/index.js'),
  }
})
afterAll(() => proxy?.close())

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
      let results: Results
      beforeAll(() =>
        inSandbox(async (sandbox) => {
          const { port } = given.servers[version]
          const all = { ...input, port, url: `https://localhost:${port}/` }
          // With reuse the number of tickets does not matter.
          const options = { node: nodeBinary(line), env: { TICKETKEEP_REUSE: '1' } }
          const runAll = (bodies: Record<string, string>) =>
            run<Results>(sandbox, programOf(bodies), all, options)
          await runAll(ordinary)
          const bodies = [...optOuts, ...others].map(({ name, body }) => [name, body])
          results = await runAll({ ...Object.fromEntries(bodies), ...ordinary })
        }),
      )

      it.each(optOuts.map(({ name, reason }) => [name, reason]))('%s is left alone', (name, reason) => {
        expect(results[name]).toEqual({ events: [`skip: ${reason}`] })
      })

      it.each([...others.map(({ name }) => name), ...Object.keys(ordinary)])('%s resumes', (name) => {
        expect(results[name]?.error).toBeUndefined()
        // Without an offer where a shared agent has a session of its own by then. got uses the global agent.
        expect(results[name]?.events).toContain('resumed')
      })
    })

    it('a Node server sees the server name of a resumed connection over TLS 1.3 only', () =>
      inSandbox(async (sandbox) => {
        const seen: Record<string, unknown> = {}
        for (const [version, { port, handshakes }] of Object.entries(given.servers)) {
          const all = { ...input, port, url: `https://localhost:${port}/` }
          for (const _ of ['full', 'resumed'])
            await run(sandbox, programOf({ 'tls.connect': CLIENTS['tls.connect']!.ordinary }), all, {
              node: nodeBinary(line),
            })
          seen[version] = handshakes.slice(-2).map(({ reused, servername }) => ({ reused, servername }))
        }
        const full = { reused: false, servername: 'localhost' }
        expect(seen).toEqual({
          'TLSv1.2': [full, { reused: true, servername: false }],
          'TLSv1.3': [full, { reused: true, servername: 'localhost' }],
        })
      }))

    it('undici makes the same call of tls.connect with maxCachedSessions: 0 as without it', () =>
      inSandbox(async (sandbox) => {
        const body = `
          const { buildConnector } = require(input.undici)
          const given = []
          tls.connect = (options) => {
            given.push(options)
            throw new Error('far enough')
          }
          const server = { hostname: 'localhost', host: 'localhost', protocol: 'https:', port: 443 }
          for (const options of [{}, { maxCachedSessions: 0 }])
            try { buildConnector(options)(server, () => {}) } catch {}
          report(given)`
        const [without, withIt] = await run<unknown[]>(sandbox, body, input, { node: nodeBinary(line) })
        expect(without).toMatchObject({ session: null })
        expect(withIt).toEqual(without)
      }))
  })
}
