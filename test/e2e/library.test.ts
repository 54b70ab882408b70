import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { DIST, ROOT } from '../support/places.ts'
import { createSandbox, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

// Real clients with the functions of the library. Each program runs twice, and the server says what was resumed. The attacks
// of `trust/` run through each of these functions in `trust/through`.

const path = (name: string) => JSON.stringify(pathToFileURL(join(ROOT, 'node_modules', name)).href)

/** Bodies of `async ({ url, ca, ticketkeep, onEvent })`, which return what the server answered. */
const CLIENTS: Record<string, string> = {
  'https.get with a TicketAgent': `
    const https = require('node:https')
    const agent = new ticketkeep.TicketAgent({ onEvent })
    return new Promise((done, fail) => https.get(url, { agent, ca }, (r) => r.once('data', (text) => done(String(text)))).on('error', fail))`,
  'axios with a TicketAgent': `
    const { default: axios } = await import(${path('axios/index.js')})
    const httpsAgent = new ticketkeep.TicketAgent({ ca, keepAlive: true, onEvent })
    const { data } = await axios.get(url, { httpsAgent })
    httpsAgent.destroy()
    return data`,
  'got with a TicketAgent': `
    const { default: got } = await import(${path('got/dist/source/index.js')})
    const agent = { https: new ticketkeep.TicketAgent({ onEvent }) }
    return (await got(url, { agent, https: { certificateAuthority: ca }, retry: { limit: 0 } })).body`,
  'node-fetch with a TicketAgent': `
    const { default: fetch } = await import(${path('node-fetch/src/index.js')})
    return await (await fetch(url, { agent: new ticketkeep.TicketAgent({ ca, onEvent }) })).text()`,
  'superagent with a TicketAgent': `
    const { default: superagent } = await import(${path('superagent/lib/node/index.js')})
    const { text, body } = await superagent.get(url).agent(new ticketkeep.TicketAgent({ ca, onEvent })).buffer(true).parse(superagent.parse.text)
    return text ?? String(body)`,
  'the handler of the AWS SDK v3 with a TicketAgent': `
    const { NodeHttpHandler } = await import(${path('@smithy/node-http-handler/dist-cjs/index.js')})
    const { hostname, port } = new URL(url)
    const handler = new NodeHttpHandler({ httpsAgent: new ticketkeep.TicketAgent({ ca, onEvent }) })
    const request = { protocol: 'https:', hostname, port: Number(port), method: 'GET', path: '/', headers: {}, query: {} }
    const { response } = await handler.handle(request)
    let text = ''
    for await (const part of response.body) text += part
    handler.destroy()
    return text`,
  'undici’s request with a ticketConnector': `
    const { Agent, request } = await import(${path('undici/index.js')})
    const dispatcher = new Agent({ connect: ticketkeep.ticketConnector({ ca, onEvent }) })
    const text = await (await request(url, { dispatcher })).body.text()
    await dispatcher.close()
    return text`,
  'undici’s fetch with a global ticketConnector': `
    const { Agent, fetch, setGlobalDispatcher } = await import(${path('undici/index.js')})
    setGlobalDispatcher(new Agent({ connect: ticketkeep.ticketConnector({ ca, onEvent }) }))
    return await (await fetch(url)).text()`,
  'undici over HTTP/2 with a ticketConnector': `
    const { Agent, request } = await import(${path('undici/index.js')})
    const dispatcher = new Agent({ allowH2: true, connect: ticketkeep.ticketConnector({ ca, onEvent, allowH2: true }) })
    const text = await (await request(url, { dispatcher })).body.text()
    await dispatcher.close()
    return text`,
  'http2.connect with resumable': `
    const session = require('node:http2').connect(url, ticketkeep.resumable({ ca, allowHTTP1: true, onEvent }))
    return new Promise((done, fail) => {
      session.on('error', fail)
      const stream = session.request({ ':path': '/' })
      stream.once('data', (text) => { session.close(); done(String(text)) })
    })`,
  connect: `
    const { hostname: host, port } = new URL(url)
    return new Promise((done, fail) => {
      const socket = ticketkeep.connect({ host, port, servername: 'localhost', ca, onEvent }, () =>
        socket.write('GET / HTTP/1.0\\r\\n\\r\\n'))
      let text = ''
      socket.on('data', (part) => (text += part)).on('end', () => done(text.split('\\r\\n\\r\\n')[1])).on('error', fail)
    })`,
  'connect over a connected socket': `
    const { hostname, port } = new URL(url)
    const raw = require('node:net').connect(port, hostname)
    await new Promise((done) => raw.once('connect', done))
    return new Promise((done, fail) => {
      const socket = ticketkeep.connect({ socket: raw, host: hostname, port, ca, onEvent, servername: 'localhost' }, () =>
        socket.write('GET / HTTP/1.0\\r\\n\\r\\n'))
      let text = ''
      socket.on('data', (part) => (text += part)).on('end', () => done(text.split('\\r\\n\\r\\n')[1])).on('error', fail)
    })`,
}

let servers: Record<'TLSv1.2' | 'TLSv1.3', TlsServer>
let http2: Record<'TLSv1.2' | 'TLSv1.3', TlsServer>
let proxy: ConnectProxy
let ca: string
let sandbox: Sandbox

beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  const identity = await authority.issue({ names: ['localhost', '127.0.0.1'] })
  const start = (version: 'TLSv1.2' | 'TLSv1.3', kind: 'https' | 'http2') =>
    startTlsServer({ ...identity, kind, version, ...(kind === 'http2' && { allowHTTP1: true }) } as never)
  servers = { 'TLSv1.2': await start('TLSv1.2', 'https'), 'TLSv1.3': await start('TLSv1.3', 'https') }
  http2 = { 'TLSv1.2': await start('TLSv1.2', 'http2'), 'TLSv1.3': await start('TLSv1.3', 'http2') }
  proxy = await startConnectProxy()
  sandbox = createSandbox()
})
afterAll(async () => {
  for (const server of [...Object.values(servers ?? {}), ...Object.values(http2 ?? {})]) await server.close()
  await proxy?.close()
  sandbox?.remove()
})

const NOT_KEPT = `
    const { hostname, port } = new URL(url)
    const raw = require('node:net').connect(port, hostname)
    await new Promise((done) => raw.once('connect', done))
    const socket = ticketkeep.connect({ socket: raw, host: hostname, port, ca, onEvent, servername: 'localhost' })
    const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'connect-options')
    const kept = [socket._tlsOptions?.session, socket[symbol]?.session].flatMap((session) => [...(session ?? [])])
    await new Promise((done) => socket.on('secureConnect', done))
    await new Promise((done) => setTimeout(done, 50))
    socket.destroy()
    return kept.filter((byte) => byte !== 0).length`

interface Ran {
  readonly text: unknown
  readonly events: readonly string[]
}

/** Runs a body with the library, and returns what it returned and the events of it. */
async function run(
  body: string,
  url: string,
  line: (typeof NODE_LINES)[number],
  env = {},
  first = '',
): Promise<Ran> {
  const source = `${first}
    const ticketkeep = require(${JSON.stringify(join(DIST, 'index.cjs'))})
    const events = []
    const onEvent = ({ name, reason }) => events.push(reason ? name + ': ' + reason : name)
    const main = async ({ url, ca }) => {${body}}
    main(JSON.parse(process.argv[2])).then(
      (text) => setTimeout(() => { console.log(JSON.stringify({ text, events })); process.exit() }, 20),
      (error) => { console.log(JSON.stringify({ text: error.code ?? error.message, events })); process.exit(1) })`
  const args = [JSON.stringify({ url, ca })]
  const { stdout, stderr } = await runProgram({
    sandbox,
    source,
    args,
    preload: false,
    node: nodeBinary(line),
    env,
  })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Ran
}

let stores = 0
const newStore = () => ({ TICKETKEEP_DIR: join(sandbox.directory, `store-${++stores}`) })

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
      it('leaves no session among the options of a socket that resumes over another', async () => {
        const url = `https://localhost:${servers[version].port}/`
        const env = newStore()
        await run(CLIENTS['connect over a connected socket']!, url, line, env)
        const { text, events } = await run(NOT_KEPT, url, line, env)
        expect(text).toBe(0)
        expect(events).toContain('resumed')
      })

      it.each(Object.entries(CLIENTS))('%s resumes in its second run', async (name, body) => {
        const server = (/http2|HTTP\/2/.test(name) ? http2 : servers)[version]
        const url = `https://localhost:${server.port}/`
        const before = server.handshakes.length
        const env = newStore()
        const first = await run(body, url, line, env)
        const second = await run(body, url, line, env)
        expect([first.text, second.text]).toEqual(['hello\n', 'hello\n'])
        expect(server.handshakes.slice(before).map(({ reused }) => reused)).toEqual([false, true])
        expect(second.events).toEqual(expect.arrayContaining(['offer', 'resumed']))
      })
    })

    const url = () => `https://localhost:${servers['TLSv1.3'].port}/`
    const GET = CLIENTS['https.get with a TicketAgent']!

    it('an agent with maxCachedSessions: 0 stores nothing', async () => {
      const body = GET.replace('{ onEvent }', '{ onEvent, maxCachedSessions: 0 }')
      const { text, events } = await run(body, url(), line, newStore())
      expect([text, events]).toEqual([
        'hello\n',
        ['skip: the program wants no sessions (maxCachedSessions: 0)'],
      ])
    })

    it('a connector with maxCachedSessions: 0 stores nothing', async () => {
      const body = CLIENTS['undici’s request with a ticketConnector']!.replace(
        '{ ca, onEvent }',
        '{ ca, onEvent, maxCachedSessions: 0 }',
      )
      const { text, events } = await run(body, url(), line, newStore())
      expect([text, events]).toEqual([
        'hello\n',
        ['skip: the program wants no sessions (maxCachedSessions: 0)'],
      ])
    })

    it('a session of the agent’s own cache is recognised as a stored one', async () => {
      const body = `
        const https = require('node:https')
        const agent = new ticketkeep.TicketAgent({ onEvent, keepAlive: false })
        const get = () => new Promise((done, fail) => https.get(url, { agent, ca }, (r) => r.resume().on('end', () => setTimeout(done, 20))).on('error', fail))
        await get()
        await get()`
      const server = servers['TLSv1.2']
      const before = server.handshakes.length
      const { events } = await run(body, `https://localhost:${server.port}/`, line, newStore())
      expect(server.handshakes.slice(before).map(({ reused }) => reused)).toEqual([false, true])
      expect(events.filter((event) => event.startsWith('skip: not kept'))).toEqual([])
    })

    it('TICKETKEEP_DISABLE wins over the options of the program', async () => {
      const body = GET.replace(
        '{ onEvent }',
        `{ onEvent, keySource: 'variable', directory: '${sandbox.directory}/off' }`,
      )
      const { text, events } = await run(body, url(), line, { TICKETKEEP_DISABLE: '1' })
      expect([text, events]).toEqual(['hello\n', []])
    })

    it('a clock that was replaced before the library was loaded is not asked', async () => {
      const env = newStore()
      expect((await run(GET, url(), line, env)).events).toContain('harvest')
      const frozen = await run(GET, url(), line, env, 'Date.now = () => 0')
      expect(frozen.events).toContain('resumed')
    })

    it('an inline onEvent gets the events of its own connection once', async () => {
      const body = `
        const { hostname: host, port } = new URL(url)
        const heard = [[], []]
        for (const list of heard)
          await new Promise((done, fail) =>
            ticketkeep
              .connect({ host, port, ca, servername: 'localhost', onEvent: ({ name }) => list.push(name) }, function () {
                setTimeout(() => this.destroy(), 30)
              })
              .on('close', done)
              .on('error', fail))
        return heard`
      const { text } = await run(body, url(), line, newStore())
      expect(text).toEqual([
        ['skip', 'harvest', 'harvest'],
        ['offer', 'resumed'],
      ])
    })

    it('an error of onEvent is the program’s, and the connection is still made', async () => {
      const body = `
        const thrown = []
        process.on('uncaughtException', ({ message }) => thrown.push(message))
        const onEventThatThrows = () => { throw new Error('mine') }
        const text = await (async () => { ${CLIENTS.connect!.replace('ca, onEvent }', 'ca, onEvent: onEventThatThrows }')} })()
        return [text, thrown[0]]`
      expect((await run(body, url(), line, newStore())).text).toEqual(['hello\n', 'mine'])
    })

    it('the option directory says where tickets are stored', async () => {
      const body = GET.replace('{ onEvent }', `{ onEvent, directory: '${sandbox.directory}/own-${line}' }`)
      const env = { TICKETKEEP_DIR: '/nowhere' }
      const runs = [await run(body, url(), line, env), await run(body, url(), line, env)]
      expect(runs.map(({ events }) => events.includes('resumed'))).toEqual([false, true])
    })

    it.runIf(Number(line) >= 24)('an agent with a proxy of its own is left alone and connects', async () => {
      const body = GET.replace('{ onEvent }', `{ onEvent, proxyEnv: { HTTPS_PROXY: '${proxy.url}' } }`)
      const env = newStore()
      for (let i = 0; i < 2; i++) {
        const { text, events } = await run(body, url(), line, env)
        expect([text, events]).toEqual(['hello\n', []])
      }
    })

    it.each([
      ['a wrong CA', `{ ...options, ca: undefined }`, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ['a port at which nobody listens', `{ ...options, port: 1 }`, 'ECONNREFUSED'],
    ])('%s gives the same error as tls.connect', async (_what, options, code) => {
      const body = (connect: string) => `
        const { hostname: host, port } = new URL(url)
        const options = { host, port, ca, servername: 'localhost' }
        return new Promise((done, fail) => ${connect}(${options}).on('error', fail))`
      expect((await run(body('ticketkeep.connect'), url(), line, newStore())).text).toBe(code)
      expect((await run(body(`require('node:tls').connect`), url(), line, newStore())).text).toBe(code)
    })

    it('a connector gives up after its timeout', async () => {
      const body = `
        const server = require('node:net').createServer(() => {}).listen(0, '127.0.0.1')
        await new Promise((done) => server.once('listening', done))
        const connect = ticketkeep.ticketConnector({ timeout: 50 })
        const target = { hostname: '127.0.0.1', protocol: 'https:', port: server.address().port }
        const error = await new Promise((done) => connect(target, done))
        return error.code`
      expect((await run(body, url(), line)).text).toBe('UND_ERR_CONNECT_TIMEOUT')
    })
  })
}
