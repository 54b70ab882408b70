import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { groupsOf } from '../support/client-hello.ts'
import { GROUP_SERVERS, startOpenssl } from '../support/group-servers.ts'
import { type HelloLog, startHelloLog } from '../support/hello-log.ts'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import { NODE_LINES, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { DIST, ROOT } from '../support/places.ts'
import { listen } from '../support/ports.ts'
import { createSandbox, runProgram, type Sandbox } from '../support/run-program.ts'

// A server that allows none of the groups in Node's key share asks for another one (HelloRetryRequest). That costs a second
// ClientHello and a round trip. The second process, or the second connection, needs one ClientHello.

const P256 = 23
const P384 = 24

const undici = JSON.stringify(pathToFileURL(join(ROOT, 'node_modules/undici/index.js')).href)

/** Bodies of `async ({ url, ca, ticketkeep, onEvent })`, which make one connection each. */
const GET = `
  const agent = new ticketkeep.TicketAgent({ onEvent, ...options })
  await new Promise((done, fail) => https.get(url, { agent, ca }, (r) => r.resume().on('end', done)).on('error', fail))
  agent.destroy()`
const CLIENTS: Record<string, string> = {
  'a TicketAgent': GET,
  'undici with a ticketConnector': `
    const { Agent, request } = await import(${undici})
    const dispatcher = new Agent({ connect: ticketkeep.ticketConnector({ ca, onEvent, ...options }) })
    await (await request(url, { dispatcher })).body.text()
    await dispatcher.close()`,
  'http2.connect with resumable': `
    const session = require('node:http2').connect(url, ticketkeep.resumable({ ca, onEvent, ...options }))
    await new Promise((done, fail) => session.on('error', fail).on('remoteSettings', done))
    session.close()`,
  connect: `
    const { hostname: host, port } = new URL(url)
    await new Promise((done, fail) => {
      const socket = ticketkeep.connect({ host, port, servername: host, ca, onEvent, ...options }, () => setTimeout(done, 50))
      socket.on('error', fail)
    })`,
}
/** With Node's own functions, under the preload. */
const PLAIN = `
  await new Promise((done, fail) =>
    https.get(url, { agent: false, ca, ...options }, (r) => r.resume().on('end', done)).on('error', fail))`
const FETCH = '\nawait (await fetch(url)).text()'

let authority: Authority
let identity: Identity
let sandbox: Sandbox
const toClose: (() => Promise<void>)[] = []

beforeAll(async () => {
  authority = await createAuthority()
  identity = await authority.issue()
  sandbox = createSandbox()
})
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close()
})
afterAll(() => sandbox?.remove())

/** Starts a server that allows only these groups, behind a log of ClientHellos. */
async function start(kind: keyof typeof GROUP_SERVERS, groups: string): Promise<HelloLog> {
  const server = await GROUP_SERVERS[kind](identity, groups)
  const log = await startHelloLog(server.port)
  toClose.push(
    () => server.stop(),
    () => log.close(),
  )
  return log
}

/** Starts another server to put behind the same port. */
async function startOther(groups: string, its = identity): Promise<number> {
  const server = await GROUP_SERVERS.nginx(its, groups)
  toClose.push(() => server.stop())
  return server.port
}

interface Run {
  readonly line: NodeLine
  readonly body: string
  readonly url: string
  readonly store: string
  readonly preload?: boolean
  /** Source of options of the call. */
  readonly options?: string
  /** Source that runs first. */
  readonly first?: string
  readonly env?: Record<string, string>
  readonly flags?: readonly string[]
}

/** Runs a program, which must exit with 0, and returns the events of its sessions. */
async function run({
  line,
  body,
  url,
  store,
  preload = false,
  options = '{}',
  first = '',
  env,
  flags = [],
}: Run) {
  const source = `${first}
    const https = require('node:https')
    const ticketkeep = ${preload ? 'undefined' : `require(${JSON.stringify(join(DIST, 'index.cjs'))})`}
    const events = []
    const onEvent = ({ name, reason }) => events.push(reason ? name + ': ' + reason : name)
    const ca = ${JSON.stringify(authority.cert)}
    const main = async (url, options) => {${body}}
    main(${JSON.stringify(url)}, ${options}).then(() => setTimeout(() => { console.log(JSON.stringify(events)); process.exit() }, 30))`
  const outcome = await runProgram({
    sandbox,
    source,
    preload,
    flags,
    node: nodeBinary(line),
    env: { TICKETKEEP_DIR: join(sandbox.directory, store), ...env },
  })
  expect(outcome.stderr).toBe('')
  return JSON.parse(outcome.stdout) as string[]
}

let stores = 0
const newStore = () => `groups-${++stores}`
const urlOf = ({ port }: { port: number }) => `https://localhost:${port}/`
/** How many ClientHellos each connection needed. */
const counts = (log: HelloLog) => log.take().map((hellos) => hellos.length)

describeWith(missingCommands('nginx'), 'a server that allows P-256 alone', () => {
  for (const line of NODE_LINES) {
    describeWith(missingNode(line), `Node ${line}`, () => {
      it.each(Object.entries(CLIENTS))('%s needs one ClientHello in its second run', async (_name, body) => {
        const log = await start('nginx', 'prime256v1')
        const job = { line, body, url: urlOf(log), store: newStore() }
        await run(job)
        expect(await run(job)).toContain('resumed')
        const [first, second] = log.take()
        expect([first!.length, second!.length]).toEqual([2, 1])
        const [usual, changed] = [groupsOf(first![0]!), groupsOf(second![0]!)]
        expect(changed.allowed.toSorted()).toEqual(usual.allowed.toSorted())
        expect(changed.shares).toEqual(line === '20' ? [P256] : [...usual.shares, P256])
      })

      it('under the preload all connections of a process but the first need one ClientHello', async () => {
        const log = await start('nginx', 'prime256v1')
        const job = { line, url: urlOf(log), store: newStore(), preload: true }
        const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', authority.cert) }
        await run({ ...job, body: PLAIN.repeat(3) })
        expect(counts(log)).toEqual([2, 1, 1])
        await run({ ...job, env, body: PLAIN.replace('ca,', '') + FETCH })
        expect(counts(log)).toEqual([2, 1])
      })
    })
  }
})

describeWith(missingNode('24'), 'a server', () => {
  for (const kind of Object.keys(GROUP_SERVERS) as (keyof typeof GROUP_SERVERS)[]) {
    describeWith(missingCommands(kind), kind, () => {
      it.each(['P-256', 'P-384'])(
        'that allows %s alone gets a key share of it in the second run',
        async (group) => {
          const log = await start(kind, group)
          const job = { line: '24' as const, body: GET, url: urlOf(log), store: newStore() }
          await run(job)
          await run(job)
          expect(counts(log)).toEqual([2, 1])
        },
      )
    })
  }

  it('that issues no tickets still gets a key share of its group', async () => {
    const server = await startOpenssl(identity, 'P-256', ['-num_tickets', '0'])
    const log = await startHelloLog(server.port)
    toClose.push(
      () => server.stop(),
      () => log.close(),
    )
    const job = { line: '24' as const, body: GET, url: urlOf(log), store: newStore() }
    await run(job)
    expect(await run(job)).not.toContain('harvest')
    expect(counts(log)).toEqual([2, 1])
  })
})

describeWith(
  [missingNode('20'), missingNode('24'), missingCommands('nginx')],
  'remembering the group of a server is no less safe',
  () => {
    describe.each(['20', '24'] as const)('Node %s', (line) => {
      /** After a run in which the server has asked for P-256. */
      async function known(groups = 'prime256v1') {
        const log = await start('nginx', groups)
        const job = { line, body: GET, url: urlOf(log), store: newStore() }
        await run(job)
        log.take()
        return { log, job }
      }

      it('a server that asks for another group each time costs no more ClientHellos than without ticketkeep', async () => {
        const { log, job } = await known()
        const p256 = log.target
        const p384 = await startOther('secp384r1')
        for (const target of [p384, p256, p384]) {
          log.target = target
          await run(job)
        }
        expect(counts(log)).toEqual([2, 2, 2])
        await run(job)
        expect(counts(log)).toEqual([1])
      })

      it('a server that now allows all groups is offered those of Node again', async () => {
        const { log, job } = await known()
        log.target = await startOther('X25519')
        await run(job)
        await run(job)
        const [, after] = log.take()
        expect(groupsOf(after![0]!).shares).not.toContain(P256)
      })

      it('another server in its place is verified as without ticketkeep', async () => {
        const { log, job } = await known()
        const other = await (await createAuthority()).issue()
        const { target } = log
        log.target = await startOther('secp384r1', other)
        const body = `
        const error = await new Promise((done) =>
          https.get(url, { agent: new ticketkeep.TicketAgent(), ca }, () => done()).on('error', done))
        events.push(error.code)`
        expect(await run({ ...job, body })).toEqual(['UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
        // Nothing is learned of that server.
        log.target = target
        await run(job)
        expect(counts(log)).toEqual([2, 1])
      })

      it('groups that the program or the process has chosen are sent unchanged', async () => {
        const { log, job } = await known('prime256v1:secp384r1:X25519')
        await run({ ...job, options: "{ ecdhCurve: 'P-256' }" })
        log.take()
        // This server has not asked for a group, so nothing was learned from the program's choice.
        await run(job)
        expect(groupsOf(log.take()[0]![0]!).shares).not.toContain(P256)

        const asked = await known()
        const shares = async (other: Partial<Run>) => {
          await run({ ...asked.job, ...other })
          return asked.log.take().map((hellos) => groupsOf(hellos[0]!))
        }
        const chosen = { allowed: [P384, P256], shares: [P384] }
        expect(await shares({ options: "{ ecdhCurve: 'P-384:P-256' }" })).toEqual([chosen])
        const set = "require('node:tls').DEFAULT_ECDH_CURVE = 'P-384:P-256'"
        expect(await shares({ first: set })).toEqual([chosen])
        // Node reads the section `nodejs_conf` of OpenSSL's configuration.
        const configuration = sandbox.write(
          'openssl.cnf',
          'nodejs_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nGroups = P-384:P-256\n',
        )
        expect(await shares({ env: { OPENSSL_CONF: configuration } })).toEqual([chosen])
        expect(await shares({ flags: [`--openssl-config=${configuration}`] })).toEqual([chosen])
        expect((await shares({}))[0]!.shares).toContain(P256)
      })

      it('a connection that is left alone sends the groups of Node', async () => {
        const { log, job } = await known()
        await run({ ...job, options: '{ rejectUnauthorized: false }' })
        await run({ ...job, options: '{ checkServerIdentity: () => undefined }' })
        for (const [hello] of log.take()) expect(groupsOf(hello!).shares).not.toContain(P256)
      })

      it('under the preload too, each call sends the groups that it has chosen or those of Node', async () => {
        const log = await start('nginx', 'prime256v1:secp384r1')
        const call = (options: string) => PLAIN.replace('...options', options)
        const calls = [
          '',
          "ecdhCurve: 'P-384:P-256'",
          'rejectUnauthorized: false',
          'checkServerIdentity() {}',
          '',
        ]
        await run({
          line,
          url: urlOf(log),
          store: newStore(),
          preload: true,
          body: calls.map(call).join('\n'),
        })
        const [first, chosen, unverified, ownCheck, last] = log.take().map((hellos) => groupsOf(hellos[0]!))
        expect(chosen).toEqual({ allowed: [P384, P256], shares: [P384] })
        expect([unverified, ownCheck]).toEqual([first, first])
        expect(last!.shares).toContain(P256)
      })

      it('a secure context of the program sends the groups of Node', async () => {
        const log = await start('nginx', 'prime256v1:secp384r1')
        const own = `
        const { checkServerIdentity } = tls
        const { hostname: host, port } = new URL(url)
        const secureContext = tls.createSecureContext({ host, port, ca, minDHSize: 1024, checkServerIdentity })`
        const body = [
          PLAIN,
          PLAIN,
          own,
          PLAIN.replace('...options', 'secureContext, maxVersion: "TLSv1.3"'),
        ].join('\n')
        const first = "const tls = require('node:tls')"
        await run({ line, url: urlOf(log), store: newStore(), preload: true, first, body })
        const [usual, changed, ofContext] = log.take().map((hellos) => groupsOf(hellos[0]!))
        expect(changed!.shares).toContain(P256)
        expect(ofContext).toEqual(usual)
      })

      it('a server that fails on a key share of its group fails one connection', async () => {
        const { log, job } = await known()
        const { target } = log
        const picky = createServer((client) => passUnlessP256(client, target))
        log.target = await listen(picky)
        toClose.push(() => new Promise((done) => picky.close(() => done())))
        const body = GET.replace(
          ".on('error', fail)",
          ".on('error', (error) => done(events.push(error.code)))",
        )
        expect(await run({ ...job, body })).toContain('ECONNRESET')
        await run(job)
        await run(job)
        expect(counts(log)).toEqual([1, 2, 2])
      })
    })
  },
)

/** Resets a connection whose first ClientHello has a key share of P-256. */
function passUnlessP256(client: Socket, target: number): void {
  client.on('error', () => {})
  client.once('data', (hello) => {
    if (groupsOf(hello).shares.includes(P256)) {
      client.resetAndDestroy()
      return
    }
    const upstream = connect(target, '127.0.0.1').on('error', () => client.destroy())
    upstream.write(hello)
    client.pipe(upstream).pipe(client)
  })
}
