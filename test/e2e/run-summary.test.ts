import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Summary } from '../../src/cli/summary/tally.ts'
import { type ConnectionLine, decodeLines, type Line } from '../../src/runtime/summary-file.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { CLI } from '../support/places.ts'
import { listen } from '../support/ports.ts'
import { createSandbox, runCommand, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

let sandbox: Sandbox
let ca: string
let server: TlsServer
let older: TlsServer
let without: TlsServer
let http2: TlsServer
beforeAll(async () => {
  const authority = await createAuthority()
  const identity = await authority.issue({ names: ['localhost'] })
  sandbox = createSandbox()
  ca = sandbox.write('ca.pem', authority.cert)
  server = await startTlsServer(identity)
  older = await startTlsServer({ ...identity, version: 'TLSv1.2' })
  without = await startTlsServer({
    ...identity,
    version: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET,
  })
  http2 = await startTlsServer({ ...identity, kind: 'http2' })
})
afterAll(async () => {
  for (const one of [server, older, without, http2]) await one?.close()
  sandbox?.remove()
})

let directory = 0
const fresh = () => ({ TICKETKEEP_DIR: join(sandbox.directory, `tickets-${++directory}`) })
let env: Record<string, string | undefined> = {}
beforeEach(() => {
  env = fresh()
})

/** `get(options)` makes one request, and resolves with its socket once the answer has come, or with its error. */
const PRELUDE = `
const https = require('node:https')
const ca = require('node:fs').readFileSync(${JSON.stringify('CA')})
const get = (options) => new Promise((done) => {
  const agent = new https.Agent()
  https.get({ host: 'localhost', ca, agent, ...options }, (response) => {
    response.resume()
    response.on('end', () => done(response.socket))
  }).on('error', done)
});`

const program = (source: string) =>
  sandbox.write('program.cjs', `${PRELUDE.replace('"CA"', JSON.stringify(ca))}\n${source}`)

async function summaryOf(source: string, more: typeof env = {}, flags: string[] = []) {
  const command = [
    process.execPath,
    CLI,
    'run',
    '--summary',
    '--json',
    process.execPath,
    ...flags,
    program(source),
  ]
  const ran = await runCommand({ sandbox, preload: false, env: { ...env, ...more } }, command)
  const [last = ''] = ran.stderr.trimEnd().split('\n').slice(-1)
  return { ...ran, summary: JSON.parse(last) as Summary }
}

async function reasonsOf(source: string, more?: typeof env, flags?: string[]): Promise<string[]> {
  const { summary } = await summaryOf(source, more, flags)
  return summary.hosts.flatMap(({ notResumed }) => notResumed.map(({ reason }) => reason))
}

describe('ticketkeep run --summary', () => {
  it.each([['TLS 1.3', () => server] as const, ['TLS 1.2', () => older] as const])(
    'counts what is stored and then what is resumed, over %s',
    async (_version, to) => {
      const source = `get({ port: ${to().port} })`
      const host = { host: 'localhost', port: to().port, connections: 1 }
      const first = (await summaryOf(source)).summary
      expect(first).toMatchObject({ connections: 1, resumed: 0, savedMs: null, off: null, notSeen: [] })
      expect(first.hosts).toMatchObject([
        {
          ...host,
          notResumed: [{ reason: 'nothing-stored', words: 'nothing was stored yet', connections: 1 }],
        },
      ])
      expect(first.kept).toBeGreaterThan(0)
      const { summary } = await summaryOf(source)
      expect(summary).toMatchObject({ connections: 1, resumed: 1, resumedByProgram: 0, incomplete: false })
      expect(summary.hosts).toMatchObject([{ ...host, resumed: 1, notResumed: [] }])
      // Over TLS 1.2 a resumption saves a round trip, which was timed.
      expect(typeof summary.savedMs).toBe(to() === older ? 'number' : 'object')
    },
  )

  it('recognises a server that issues no tickets, in both runs', async () => {
    const source = `get({ port: ${without.port} })`
    expect(await reasonsOf(source)).toEqual(['no-tickets'])
    expect(await reasonsOf(source)).toEqual(['no-tickets'])
  })

  it('counts a ticket that the server refused', async () => {
    const source = `get({ port: ${older.port} })`
    await summaryOf(source)
    older.rotateTicketKeys()
    expect(await reasonsOf(source)).toEqual(['turned-down'])
  })

  it.each([
    ['verification-disabled', 'get({ port, rejectUnauthorized: false })'],
    ['identity-check', 'get({ port, checkServerIdentity: () => undefined })'],
    ['sessions-not-wanted', 'get({ port, agent: new https.Agent({ maxCachedSessions: 0 }) })'],
    ['failed', 'get({ port: closed })'],
    // process.title overwrites the flags in memory.
    ['worker-thread', 'if (isMainThread) { process.title = "x"; new Worker(__filename) } else get({ port })'],
  ])('gives the reason of a connection: %s', async (reason, source) => {
    const names = `
      const { isMainThread, Worker } = require('node:worker_threads')
      const [port, closed] = [${server.port}, ${await closedPort()}]`
    expect(await reasonsOf(`${names}\n${source}`)).toEqual([reason])
  })

  it.each([
    ['flag', {}, ['--use-openssl-ca']],
    ['variable', { OPENSSL_CONF: '/dev/null' }, []],
    ['no-key', { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_SOURCE: 'file' }, []],
    ['key-late', { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: 'sleep 0.5' }, []],
    ['setting', { TICKETKEEP_CIPHER: 'rot13' }, []],
    ['not-saved', { TICKETKEEP_DIR: '/proc/nowhere' }, []],
  ])('gives the reason of a whole process: %s', async (reason, more, flags) => {
    expect(await reasonsOf(`get({ port: ${server.port} })`, more, flags)).toEqual([reason])
  })

  it('says that ticketkeep is disabled, by the user or by a child program', async () => {
    const source = `get({ port: ${server.port} })`
    const { summary } = await summaryOf(source, { TICKETKEEP_DISABLE: '1' })
    expect(summary).toMatchObject({ connections: 0, off: 'disabled' })
    expect(await reasonsOf(`process.env.TICKETKEEP_DISABLE = '1'; ${source}`)).toEqual(['disabled'])
  })

  it('tells a resumption by the program from one by ticketkeep', async () => {
    const { summary } = await summaryOf(`
      const agent = new https.Agent()
      const options = { port: ${older.port}, agent, rejectUnauthorized: false }
      get(options).then(() => get(options))`)
    expect(summary).toMatchObject({ connections: 2, resumed: 1, resumedByProgram: 1, savedMs: null })
  })

  it.each([
    ['SIGTERM', 1, ''],
    ['SIGKILL', 1, ''],
    // This connection stores nothing, so nothing is saved before the signal.
    ['SIGKILL', 0, 'rejectUnauthorized: false'],
  ])('counts a program that %s ended', async (signal, resumed, options) => {
    const request = `get({ port: ${server.port}, ${options} })`
    await summaryOf(request)
    const ran = await summaryOf(`${request}.then(() => process.kill(process.pid, '${signal}'))`)
    expect(ran.signal).toBe(signal)
    expect(ran.summary).toMatchObject({ connections: 1, resumed })
  })

  it('prints and exits as without --summary when its temporary file is removed', async () => {
    const source = `
      require('node:fs').unlinkSync(process.env.TICKETKEEP_SUMMARY_FILE)
      get({ port: ${server.port} }).then(() => { console.log('done'); process.exitCode = 5 })`
    const ran = await summaryOf(source)
    expect(ran).toMatchObject({ status: 5, stdout: 'done\n', summary: { connections: 0 } })
  })
})

describe('ticketkeep run --report', () => {
  it('draws the connections of real programs', async () => {
    const file = join(sandbox.directory, 'page.html')
    const source = program(`get({ port: ${older.port} }).then(() => get({ port: ${older.port} }))`)
    const command = [process.execPath, CLI, 'run', '--report', file, process.execPath, source]
    expect(await runCommand({ sandbox, preload: false, env }, command)).toMatchObject({
      status: 0,
      stderr: '',
    })
    const page = readFileSync(file, 'utf8')
    expect(page.match(/<tr role="row" class="(full|resumed)">/g)).toHaveLength(2)
    for (const name of ['dns', 'tcp', 'full', 'resumed', 'wait'])
      expect(page).toContain(`<rect class="${name}" x`)
  })
})

for (const node of NODE_LINES) {
  describeWith(missingNode(node), `Node ${node}`, () => {
    const linesOf = async (source: string): Promise<{ lines: ConnectionLine[]; stdout: string }> => {
      const file = sandbox.write('lines', '')
      const more = { ...env, TICKETKEEP_SUMMARY_FILE: file, NODE_EXTRA_CA_CERTS: ca }
      const { stdout, stderr } = await runProgram({
        sandbox,
        file: program(source),
        node: nodeBinary(node),
        env: more,
      })
      expect(stderr).toBe('')
      const isConnection = (line: Line): line is ConnectionLine => 'handshake' in line
      return { lines: decodeLines(readFileSync(file, 'utf8')).filter(isConnection), stdout }
    }

    it('the parts of a connection are timed in order for https, fetch and http2', async () => {
      const { lines } = await linesOf(`
        (async () => {
          await get({ port: ${server.port} })
          await get({ port: ${server.port} })
          await (await fetch('https://localhost:${server.port}')).text()
          const session = require('node:http2').connect('https://localhost:${http2.port}')
          session.request({ ':path': '/' }).resume().on('close', () => session.close())
        })()`)
      expect(lines.map(({ handshake }) => handshake)).toEqual(['full', 'resumed', 'full', 'full'])
      for (const { times } of lines) {
        const { called, lookedUp, attempted, connected, secure, firstByte } = times
        const all = [called, lookedUp, attempted, connected, secure, firstByte]
        expect(all).toEqual(all.map((time) => time ?? 0).sort((a, b) => a - b))
        expect(all).not.toContain(undefined)
      }
    })

    it('no listener of ticketkeep stays on a socket', async () => {
      const source = `
        const names = ['lookup', 'connectionAttempt', 'connect', 'secureConnect', 'close', 'error', 'session', 'end', 'data']
        get({ port: ${server.port} }).then(() => get({ port: ${server.port} })).then((socket) => setTimeout(() =>
          console.log(JSON.stringify([socket.getMaxListeners(), ...names.map((name) => socket.listenerCount(name))])), 50))`
      const { stdout } = await linesOf(source)
      const plain = await runProgram({
        sandbox,
        file: program(source),
        node: nodeBinary(node),
        preload: false,
      })
      expect(stdout).toBe(plain.stdout)
      expect(stdout).toMatch(/^\[10,/)
    })
  })
}

/** A port at which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer()
  const port = await listen(server)
  await new Promise((done) => server.close(done))
  return port
}
