// Situations that went wrong in other session caches (`test/situations.md`). Each program runs several times with ticketkeep and
// without it, and must print the same.
import { randomBytes } from 'node:crypto'
import { createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect, createServer as createTcpServer, type Server } from 'node:net'
import { createSecureContext, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import { startNginx, type TlsVersion } from '../support/nginx.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { listen, sleep } from '../support/ports.ts'
import { createSandbox, type Outcome, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServerOptions } from '../support/tls-server.ts'
import { startSwitchboard } from './trust/kit.ts'

let ca: Authority
let identity: Identity
/** Another key for the same name. */
let another: Identity
beforeAll(async () => {
  ca = await createAuthority()
  identity = await ca.issue({
    names: ['localhost', 'wild.test', '*.wild.test', 'xn--bcher-kva.test', '127.0.0.1'],
  })
  another = await ca.issue({ names: ['localhost'] })
})

/** Put before each program: prints that ticketkeep has resumed a connection, which the program itself cannot see. */
const SAY = `require('node:diagnostics_channel').subscribe('ticketkeep:resumed', ({ ours }) => {
  if (ours) process.stdout.write('resumed')
})`

/** Prints what ordinary programs look at. Names that end in `test` lead to 127.0.0.1. */
const GET = `
const options = JSON.parse(process.argv[2])
const lookup = (name, { all }, done) => all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
if (/test[.]?$/i.test(options.host)) options.lookup = lookup
require('node:https').get({ host: 'localhost', agent: false, ...options }, (response) => {
  const { socket } = response
  const { subject, issuerCertificate } = socket.getPeerCertificate(true)
  const seen = [socket.authorized, subject?.CN, issuerCertificate?.subject?.CN]
  response.setEncoding('utf8').on('data', (text) => seen.push(text))
  response.on('end', () => console.log(JSON.stringify(seen)))
}).on('error', ({ code }) => console.log(code))`

interface Runs {
  readonly node?: string
  readonly source?: string
  /** Before each run. @returns the program's input */
  readonly steps: readonly (() => object | Promise<object>)[]
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Runs a program once a step, with ticketkeep and without it, and expects the same of both.
 * @returns what it printed without, and of each run with ticketkeep `r` where it resumed, else `.`
 */
async function compare({ node = nodeBinary('24'), source = GET, steps, env = {} }: Runs) {
  const [ours, others] = [createSandbox(), createSandbox()]
  try {
    let resumed = ''
    const printed: string[] = []
    for (const step of steps) {
      const args = [JSON.stringify(await step())]
      const run = (sandbox: Sandbox, preload: boolean) =>
        runProgram({ sandbox, preload, node, source: `${SAY}\n${source}`, args, env })
      const [with_, without] = await Promise.all([run(ours, true), run(others, false)])
      expect({ ...with_, stdout: withoutMark(with_) }).toEqual(without)
      resumed += with_.stdout.includes('resumed') ? 'r' : '.'
      printed.push(without.stdout.trim())
    }
    return { resumed, printed }
  } finally {
    ours.remove()
    others.remove()
  }
}

const withoutMark = ({ stdout }: Outcome) => stdout.replaceAll('resumed', '')

/** All servers have one ticket key, so they accept each other's tickets. */
async function serve(options: Partial<TlsServerOptions> = {}): Promise<number> {
  const server = await startTlsServer({ ticketKeys: Buffer.alloc(48, 9), ...identity, ...options })
  onTestFinished(() => server.close())
  return server.port
}

async function started(server: Server, address?: string): Promise<number> {
  server.on('tlsClientError', () => {})
  const port = await listen(server, address)
  onTestFinished(() => void server.close())
  return port
}

/** One port, which at each run leads to the server whose turn it is. */
async function inTurn(ports: readonly number[], input: object = {}) {
  const board = await startSwitchboard(ports[0]!)
  onTestFinished(() => board.close())
  return ports.map((port) => () => {
    board.target = port
    return { port: board.port, ca: ca.cert, ...input }
  })
}

const times = (count: number, input: object) => Array.from({ length: count }, () => () => input)

const VERSIONS: readonly TlsVersion[] = ['TLSv1.2', 'TLSv1.3']

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}: a server that resumes`, () => {
    const node = nodeBinary(line)

    it('may choose another TLS 1.3 cipher suite with the same hash', async () => {
      const ciphers = ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']
      const ports = await Promise.all(ciphers.map((one) => serve({ ciphers: one })))
      const { resumed } = await compare({ node, steps: await inTurn(ports) })
      expect(resumed).toBe('.r')
    })

    describeWith(missingCommands('nginx'), 'nginx that resumes', () => {
      it('may send a new TLS 1.2 ticket after its ticket keys were rotated', async () => {
        const place = createSandbox()
        onTestFinished(() => place.remove())
        const [first, next] = ['first', 'next'].map((name) => place.write(name, randomBytes(80)))
        const servers = [
          await startNginx({ ...identity, ticketKeys: [first!] }),
          await startNginx({ ...identity, ticketKeys: [next!, first!] }),
        ]
        onTestFinished(() => Promise.all(servers.map((nginx) => nginx.stop())).then(() => {}))
        const [before, after] = servers.map(({ ports }) => ports['TLSv1.2'])
        const { resumed } = await compare({ node, steps: await inTurn([before!, after!, after!]) })
        expect(resumed).toBe('.rr')
      })
    })
  })
}

describeWith(missingNode('24'), 'two servers that take turns', () => {
  describe.each(VERSIONS)('%s', (version) => {
    it('may differ in HTTP/2', async () => {
      const bounds = { minVersion: version, maxVersion: version, ticketKeys: Buffer.alloc(48, 9) }
      const two = await started(createSecureServer({ ...identity, ...bounds }))
      const one = await serve({ version })
      const source = `
        const socket = require('node:tls').connect({ host: 'localhost', ...JSON.parse(process.argv[2]) }, () => {
          console.log(socket.alpnProtocol)
          socket.write(socket.alpnProtocol === 'h2' ? 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' : 'GET / HTTP/1.1\\r\\n\\r\\n')
        })
        socket.once('data', () => socket.end()).on('error', ({ code }) => console.log(code))`
      const steps = await inTurn([two, one, two], { ALPNProtocols: ['h2', 'http/1.1'] })
      const { resumed, printed } = await compare({ source, steps })
      expect(printed).toEqual(['h2', 'http/1.1', 'h2'])
      expect(resumed).toBe('.rr')
    })

    it('may have different keys and ticket keys', async () => {
      const ports = [
        await serve({ version }),
        await serve({ version, ...another, ticketKeys: randomBytes(48) }),
      ]
      const { resumed } = await compare({ steps: await inTurn([0, 1, 0, 1].map((i) => ports[i]!)) })
      expect(resumed).toBe('....')
    })

    it('may be the real one and a captive portal', async () => {
      const portal = await (await createAuthority()).issue({ names: ['localhost'] })
      const [home, away] = [
        await serve({ version }),
        await serve({ version, ...portal, ticketKeys: randomBytes(48) }),
      ]
      const { printed } = await compare({ steps: await inTurn([home, away, home, home]) })
      expect(printed[1]).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    })
  })

  it('may each speak one version of TLS', async () => {
    const [old, young] = await Promise.all(VERSIONS.map((version) => serve({ version })))
    const { resumed } = await compare({ steps: await inTurn([old!, old!, young!, old!]) })
    expect(resumed.slice(0, 3)).toBe('.r.')
  })
})

describeWith(missingNode('24'), 'host names', () => {
  it.each(VERSIONS)('on one port with a certificate each are not mixed up, over %s', async (version) => {
    const issued = await Promise.all(['a.test', 'b.test'].map((name) => ca.issue({ names: [name] })))
    const [a, b] = issued.map(({ cert, key }) => createSecureContext({ cert, key }))
    const port = await serve({ version, SNICallback: (name, done) => done(null, name === 'a.test' ? a : b) })
    const hosts = ['a.test', 'b.test', 'a.test', 'b.test']
    const { resumed, printed } = await compare({
      steps: hosts.map((host) => () => ({ host, port, ca: ca.cert })),
    })
    expect(printed.map((line) => JSON.parse(line)[1])).toEqual(hosts)
    expect(resumed).toBe('..rr')
  })

  it('count as different ones in each spelling', async () => {
    const port = await serve()
    const hosts = [
      'wild.test',
      'WILD.test',
      'wild.test.',
      'x.wild.test',
      'y.wild.test',
      'xn--bcher-kva.test',
      'no.x.wild.test',
    ]
    const steps = [...hosts, ...hosts].map((host) => () => ({ host, port, ca: ca.cert }))
    const { resumed, printed } = await compare({ steps })
    expect(resumed).toBe('.......rrrrrr.')
    expect(printed[6]).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
  })
})

describeWith(missingNode('24'), 'a program resumes', () => {
  it('with a server that asks for another group (HelloRetryRequest)', async () => {
    const port = await serve({ version: 'TLSv1.3', ecdhCurve: 'P-384' })
    const { resumed } = await compare({ steps: times(3, { port, ca: ca.cert, ecdhCurve: 'X25519:P-384' }) })
    expect(resumed).toBe('.rr')
  })

  it.each(VERSIONS)('over a path that carries 97 bytes a segment, %s', async (version) => {
    const target = await serve({ version })
    const path = createTcpServer((client) => {
      const server = connect(target, '127.0.0.1').setNoDelay()
      server.pipe(client)
      client.on('data', async (bytes: Buffer) => {
        client.pause()
        for (let i = 0; i < bytes.length; i += 97) {
          server.write(bytes.subarray(i, i + 97))
          await sleep(1)
        }
        client.resume()
      })
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const)
        one.on('error', () => other.destroy()).on('close', () => other.destroy())
    })
    const { resumed } = await compare({ steps: times(3, { port: await started(path), ca: ca.cert }) })
    expect(resumed).toBe('.rr')
  })

  it.each(VERSIONS)(
    'data connections that must have the session of their control connection (FTPS), %s',
    async (version) => {
      const options = { ...identity, minVersion: version, maxVersion: version, ticketKeys: randomBytes(48) }
      const control = await started(createTlsServer(options, (socket) => socket.resume().write('220 ready')))
      const answer = (socket: TLSSocket) =>
        socket.end(socket.isSessionReused() ? 'data' : '522 reuse required')
      const data = await started(createTlsServer(options, answer))
      const source = `
      const tls = require('node:tls')
      const { control, data, ca } = JSON.parse(process.argv[2])
      const first = tls.connect({ host: 'localhost', port: control, ca }).once('data', async () => {
        await new Promise((done) => setTimeout(done, 50)) // its tickets
        for (let i = 0; i < 2; i++) await new Promise((done) => {
          const options = { host: 'localhost', port: data, ca, session: first.getSession() }
          tls.connect(options).on('data', (text) => console.log(String(text))).on('close', done)
        })
        first.end()
      })`
      const steps = times(3, { control, data, ca: ca.cert })
      const { resumed, printed } = await compare({ source, steps })
      expect(resumed).toMatch(/^\.r/) // the program uses tickets itself
      expect(printed).toEqual(printed.map(() => 'data\ndata'))
    },
  )

  it('TLS inside TLS behind an HTTPS proxy', async () => {
    const port = await serve()
    const proxy = createHttpsServer({ ...identity, ticketKeys: randomBytes(48) })
    proxy.on('connect', (_, client) => {
      const server = connect(port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n')
        client.pipe(server).pipe(client)
      })
      for (const one of [client, server]) one.on('error', () => {})
    })
    const source = `
      const { port, proxy, ca } = JSON.parse(process.argv[2])
      const to = { host: 'localhost', port: proxy, ca, agent: false, method: 'CONNECT', path: 'localhost:' + port }
      require('node:https').request(to).on('connect', (_, outer) => {
        const inner = require('node:tls').connect({ socket: outer, servername: 'localhost', ca }, () => {
          console.log(inner.authorized, inner.getPeerCertificate().subject.CN)
          inner.write('GET / HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n')
        })
        inner.on('data', (text) => console.log(String(text).length)).on('end', () => outer.destroy())
      }).end()`
    const steps = times(3, { port, proxy: await started(proxy), ca: ca.cert })
    expect((await compare({ source, steps })).resumed).toBe('.rr')
  })

  it.each(VERSIONS)('when it sends and half-closes, %s', async (version) => {
    const options = { ...identity, minVersion: version, maxVersion: version, allowHalfOpen: true }
    const server = createTlsServer({ ...options, ticketKeys: randomBytes(48) }, (socket) => {
      let length = 0
      socket.on('data', (bytes) => {
        length += bytes.length
      })
      socket.on('end', () => socket.end(`${length} bytes`)).on('error', () => {})
    })
    const source = `
      const options = { host: 'localhost', allowHalfOpen: true, ...JSON.parse(process.argv[2]) }
      const socket = require('node:tls').connect(options, () => {
        socket.end('x'.repeat(100_000))
      })
      socket.on('data', (text) => console.log(String(text))).on('error', ({ code }) => console.log(code))`
    const { resumed, printed } = await compare({
      source,
      steps: times(3, { port: await started(server), ca: ca.cert }),
    })
    expect(printed).toEqual(printed.map(() => '100000 bytes'))
    expect(resumed).toBe('.rr')
  })

  it('only while its CA file contains the CA of the server', async () => {
    const [place, other] = [createSandbox(), await createAuthority()]
    onTestFinished(() => place.remove())
    const port = await serve()
    const file = place.write('ca.pem', '')
    const step = (bundle: string) => () => {
      place.write('ca.pem', bundle)
      return { port }
    }
    const steps = [ca.cert, ca.cert, other.cert, ca.cert + other.cert, ca.cert].map(step)
    const { resumed, printed } = await compare({ steps, env: { NODE_EXTRA_CA_CERTS: file } })
    expect(printed[2]).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    expect(resumed).toBe('.r..r')
  })
})
