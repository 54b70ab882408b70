import { randomBytes } from 'node:crypto'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import { type Nginx, startNginx, type TlsVersion } from '../support/nginx.ts'
import { NODE_LINES, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { freePort } from '../support/ports.ts'
import { createSandbox, runProgram, type Sandbox } from '../support/run-program.ts'

// One name has several servers, each at its own address. Only the server that issued a ticket can resume it, unless the
// servers share their ticket keys.

const ADDRESSES = ['127.0.77.1', '127.0.77.2', '127.0.77.3']
const VERSIONS: readonly TlsVersion[] = ['TLSv1.2', 'TLSv1.3']

/** Makes one request to the address that the program is given, as if its resolver had picked that address. */
const GET = `
  const https = require('node:https')
  const [url, ...addresses] = process.argv.slice(2)
  const all = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  const lookup = (_host, options, done) =>
    setImmediate(() => (options.all ? done(null, all) : done(null, all[0].address, all[0].family)))
  https.get(url, { lookup, agent: false }, (response) => response.pipe(process.stdout))
    .on('error', (error) => console.log(error.code))`

let authority: Authority
let identity: Identity
let sandbox: Sandbox
let env: Record<string, string>
const servers: Nginx[] = []
let ports: Nginx['ports']

beforeAll(async () => {
  authority = await createAuthority()
  identity = await authority.issue({ names: ['srv.example'] })
})
afterEach(async () => {
  for (const one of servers.splice(0)) await one.stop()
  sandbox?.remove()
})

/** Starts a server at each of the addresses, on the same ports. */
async function start(each: readonly Partial<Parameters<typeof startNginx>[0]>[]): Promise<void> {
  sandbox = createSandbox()
  env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', authority.cert) }
  ports = { 'TLSv1.2': await freePort(), 'TLSv1.3': await freePort() }
  for (const [i, options] of each.entries())
    servers.push(await startNginx({ ...identity, ...options, address: ADDRESSES[i]!, ports }))
}

/**
 * One program, and whether the server at that address resumed its session.
 * @param before addresses that are tried first, and where nobody listens
 */
async function get(
  line: NodeLine,
  version: TlsVersion,
  server: number,
  before: readonly string[] = [],
): Promise<boolean> {
  const { stdout, stderr } = await runProgram({
    sandbox,
    source: GET,
    args: [`https://srv.example:${ports[version]}/`, ...before, ADDRESSES[server]!],
    node: nodeBinary(line),
    env,
  })
  expect([stdout, stderr]).toEqual(['hello\n', ''])
  const [request] = await servers[server]!.requests(1)
  return request!.reused === 'r'
}

/** Programs one after the other. */
async function getEach(line: NodeLine, version: TlsVersion, order: readonly number[]): Promise<boolean[]> {
  const resumed: boolean[] = []
  for (const server of order) resumed.push(await get(line, version, server))
  return resumed
}

const ticketKey = (name: string) => sandbox.write(name, randomBytes(80))

describeWith(missingCommands('nginx'), 'servers behind one name', () => {
  for (const line of NODE_LINES) {
    describeWith(missingNode(line), `Node ${line}`, () => {
      it('store a ticket under the address that Happy Eyeballs has reached', async () => {
        await start([{}, {}])
        expect(await getEach(line, 'TLSv1.3', [0, 1])).toEqual([false, false])
        expect(await get(line, 'TLSv1.3', 1, ['::1'])).toBe(true)
        expect(await get(line, 'TLSv1.3', 0, ['::1'])).toBe(true)
      })

      it.each(VERSIONS)(
        'all resume from the second round on if they share no ticket keys, over %s',
        async (version) => {
          await start([{}, {}, {}])
          const rounds = await getEach(line, version, [0, 1, 2, 0, 1, 2, 2, 1, 0])
          expect(rounds).toEqual([false, false, false, true, true, true, true, true, true])
        },
      )
    })
  }

  describeWith(missingNode('24'), 'Node 24', () => {
    it.each(VERSIONS)(
      'resume each other’s tickets if they share their ticket keys, over %s',
      async (version) => {
        await start([{}, {}])
        for (const one of servers.splice(0)) await one.stop()
        const ticketKeys = [ticketKey('shared')]
        for (const i of [0, 1])
          servers.push(await startNginx({ ...identity, ticketKeys, address: ADDRESSES[i]!, ports }))
        expect(await getEach('24', version, [0, 1, 1, 0])).toEqual([false, true, true, true])
      },
    )

    it.each(VERSIONS)('keep the tickets of the others when one is restarted, over %s', async (version) => {
      await start([{}, {}])
      expect(await getEach('24', version, [0, 1, 0, 1])).toEqual([false, false, true, true])
      await servers[0]!.stop()
      servers[0] = await startNginx({ ...identity, address: ADDRESSES[0]!, ports })
      expect(await getEach('24', version, [0, 1, 0])).toEqual([false, true, true])
    })

    it.each(VERSIONS)(
      'are not offered each other’s tickets again once one has refused such a ticket, over %s',
      async (version) => {
        await start([{}, {}, {}])
        expect(await getEach('24', version, [0, 1])).toEqual([false, false])
        const { stderr } = await runProgram({
          sandbox,
          source: GET,
          args: [`https://srv.example:${ports[version]}/`, ADDRESSES[2]!],
          node: nodeBinary('24'),
          env: { ...env, NODE_DEBUG: 'ticketkeep' },
        })
        expect(stderr).toContain('"reason":"no ticket"')
        expect(stderr).not.toContain('offer')
      },
    )

    it('lose their tickets when another server shows another public key', async () => {
      await start([{}, await authority.issue({ names: ['srv.example'] })])
      expect(await getEach('24', 'TLSv1.3', [0, 1, 0])).toEqual([false, false, false])
    })

    it('are refused if they are not trusted, even with a ticket of a trusted one', async () => {
      await start([{}, await (await createAuthority()).issue({ names: ['srv.example'] })])
      expect(await get('24', 'TLSv1.3', 0)).toBe(false)
      const { stdout } = await runProgram({
        sandbox,
        source: GET,
        args: [`https://srv.example:${ports['TLSv1.3']}/`, ADDRESSES[1]!],
        node: nodeBinary('24'),
        env,
      })
      expect(stdout).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE\n')
    })
  })
})
