import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ConnectProxy, startConnectProxy } from '../../support/connect-proxy.ts'
import { describeWith, missingClients, missingNode } from '../../support/missing.ts'
import { clientScript, nodeBinary } from '../../support/pinned.ts'
import { createAuthority } from '../../support/pki.ts'
import { ROOT } from '../../support/places.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { inSandbox, run } from './kit.ts'

/**
 * How each client takes TLS options and passes them to `tls.connect`, according to its source. Each is the body of
 * `async (options) => …`, and makes one request on a new connection.
 */
const CLIENTS: Record<string, string> = {
  'https.get, options of the request': `
    return get(require('node:https'), { ...options, agent: false })`,
  'https.Agent, options of the agent': `
    const https = require('node:https')
    return get(https, { agent: new https.Agent(options) })`,
  'http2.connect': `
    const session = require('node:http2').connect(input.http2, options)
    return new Promise((done, fail) => {
      session.on('error', fail)
      const request = session.request({ ':path': '/' })
      request.on('error', fail).resume().on('end', () => session.close(() => done()))
    })`,
  'undici Agent': `return viaUndici(({ Agent }) => new Agent({ connect: options }))`,
  'undici Client': `return viaUndici(({ Client }) => new Client(input.url, { connect: options }))`,
  'undici with buildConnector': `
    return viaUndici(({ Agent, buildConnector }) => new Agent({ connect: buildConnector(options) }))`,
  'undici ProxyAgent': `
    return viaUndici(({ ProxyAgent }) => new ProxyAgent({ uri: input.proxy, requestTls: options, proxyTunnel: true }))`,
  got: `
    const { default: got } = await import(input.got)
    const { ca: certificateAuthority, ...others } = options
    await got(input.url, { https: { certificateAuthority, ...others }, retry: { limit: 0 } })`,
  axios: `
    const https = require('node:https')
    await axios().get(input.url, { httpsAgent: new https.Agent(options), proxy: false })`,
  'https-proxy-agent, options of the request': `
    const { HttpsProxyAgent } = await import(input.httpsProxyAgent)
    return get(require('node:https'), { ...options, agent: new HttpsProxyAgent(input.proxy) })`,
  '@npmcli/agent': `
    const { HttpsAgent } = require(input.npmAgent)
    return get(require('node:https'), { agent: new HttpsAgent({ ...options, proxy: undefined, noProxy: '*' }) })`,
  '@npmcli/agent, through a proxy': `
    const { HttpsAgent } = require(input.npmAgent)
    return get(require('node:https'), { ...options, agent: new HttpsAgent({ ...options, proxy: input.proxy }) })`,
}

const BODY = `
  const axios = () => require(input.axios)
  const get = (module, more) => new Promise((done, fail) =>
    module.get(input.url, { ...more, headers: { connection: 'close' } }, (response) =>
      response.resume().on('end', done)).on('error', fail))
  const viaUndici = async (make) => {
    const undici = require(input.undici)
    const dispatcher = make(undici)
    try {
      const { body } = await undici.request(input.url, { dispatcher })
      await body.dump()
    } finally {
      await dispatcher.close()
    }
  }
  const one = async (options) => { {client} }
  const results = []
  for (const options of input.fill ? [{ ca: input.ca }] : [
    { ca: input.otherCa },
    { ca: [input.ca, input.otherCa] },
    { rejectUnauthorized: false },
    { ca: input.ca, checkServerIdentity: () => undefined },
    { ca: input.ca },
  ]) {
    const first = events.length
    let error
    try { await one(options) } catch (e) { error = 'failed' }
    await new Promise((done) => setTimeout(done, 30))
    results.push({ error, events: events.slice(first) })
  }
  report(results)
  process.exit()`

let server: TlsServer
let server2: TlsServer
let proxy: ConnectProxy
let input: Record<string, string>
beforeAll(async () => {
  const ca = await createAuthority()
  const other = await createAuthority({ commonName: 'another root' })
  const identity = await ca.issue()
  server = await startTlsServer({ ...identity })
  server2 = await startTlsServer({ ...identity, kind: 'http2' })
  proxy = await startConnectProxy()
  const module = (name: string) => join(ROOT, 'node_modules', name)
  input = {
    ca: ca.cert,
    otherCa: other.cert,
    url: `https://localhost:${server.port}/`,
    http2: `https://localhost:${server2.port}/`,
    proxy: proxy.url,
    undici: module('undici'),
    axios: module('axios'),
    got: module('got/dist/source/index.js'),
    httpsProxyAgent: module('https-proxy-agent/dist/index.js'),
    npmAgent: clientScript('npm/node_modules/@npmcli/agent'),
  }
})
afterAll(async () => {
  for (const one of [server, server2, proxy]) await one?.close()
})

interface Result {
  error?: string
  events: string[]
}

for (const line of ['22', '24', '26'] as const) {
  describeWith(
    [missingNode(line), missingClients()],
    `Node ${line}: a client with other trust options is offered no session`,
    () => {
      const node = { node: nodeBinary(line) }

      it.each(Object.entries(CLIENTS))('%s', (_name, client) =>
        inSandbox(async (sandbox) => {
          const body = BODY.replace('{client}', () => client)
          const get = (fill: boolean) => run<Result[]>(sandbox, body, { ...input, fill }, node)
          const [filled] = await get(true)
          expect(filled).toMatchObject({ events: expect.arrayContaining(['harvest']) })
          const [otherCa, moreCas, off, ownCheck, same] = (await get(false)) as Result[]
          expect(otherCa?.error).toBe('failed')
          for (const result of [otherCa, moreCas, off, ownCheck])
            expect(result?.events).not.toContain('offer')
          expect(off?.events).toEqual(['skip: certificate verification is disabled'])
          expect(ownCheck?.events).toEqual([
            'skip: the program checks the identity itself (checkServerIdentity)',
          ])
          expect([moreCas?.error, off?.error, ownCheck?.error]).toEqual([undefined, undefined, undefined])
          expect(same?.error).toBeUndefined()
          expect(same?.events).toEqual(expect.arrayContaining(['offer', 'resumed']))
        }),
      )
    },
  )
}
