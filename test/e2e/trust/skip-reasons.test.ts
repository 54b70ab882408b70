import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Certified, certify } from './differential/certificates.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// Why a connection is left alone, as a program and `run --summary` are told.

let root: Certified
let server: TlsServer
let noExtendedMasterSecret: TlsServer
let local: TlsServer
let input: { host: string; port: number; servername: string; ca: string }

beforeAll(async () => {
  root = await certify({ subject: 'root' })
  const of = async (name: string) => {
    const { cert, key } = await certify({ subject: name, names: [name], issuer: root })
    return { cert, key, kind: 'raw' } as const
  }
  server = await startTlsServer(await of('a.test'))
  local = await startTlsServer(await of('localhost'))
  noExtendedMasterSecret = await startTlsServer({
    ...(await of('a.test')),
    version: 'TLSv1.2',
    secureOptions: 1,
  })
  input = { host: '127.0.0.1', port: server.port, servername: 'a.test', ca: root.cert }
})
afterAll(() => Promise.all([server, local, noExtendedMasterSecret].map((one) => one?.close())))

for (const line of LINES) {
  const node = { node: nodeBinary(line) }

  describeWith(missingNode(line), `Node ${line}: the reason why a connection is left alone`, () => {
    const skipped = ({ events }: Attempt) =>
      events.filter((event) => event.startsWith('skip: ') && event !== 'skip: no ticket')

    it('differs from cause to cause', () =>
      inSandbox(async (sandbox) => {
        const ways: Record<string, string> = {
          'verification off': '{ ...input, rejectUnauthorized: false }',
          'a check of its own': '{ ...input, checkServerIdentity: () => undefined }',
          'a revocation list': '{ ...input, crl: input.crl }',
          'an OCSP response': '{ ...input, requestOCSP: true }',
          'a client certificate': '{ ...input, cert: input.own.cert, key: input.own.key }',
          'a pre-shared key': '{ ...input, pskCallback: () => null }',
        }
        const said: string[] = []
        const own = await certify({ subject: 'alice', client: true })
        for (const options of Object.values(ways)) {
          const body = `report(await attempt(${options}))`
          const one = { ...input, own: { cert: own.cert, key: own.key } }
          said.push(skipped(await run<Attempt>(sandbox, body, one, node)).join())
        }
        expect(said.filter((one) => one !== '').length).toBeGreaterThanOrEqual(5)
        expect(new Set(said).size).toBe(said.length)
      }))

    it('names extended master secret where the session lacks it', () =>
      inSandbox(async (sandbox) => {
        const { port } = noExtendedMasterSecret
        const made = await run<Attempt>(sandbox, ONE, { ...input, port }, node)
        expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
        expect(skipped(made).join()).toMatch(/extended master secret/i)
        expect(skipped(made).join()).not.toMatch(/unreadable/)
      }))

    it('names the socket, unless a connection without a server name is resumed as localhost', () =>
      inSandbox(async (sandbox) => {
        const body = `const net = require('node:net')
          const socket = net.connect(input.port, '127.0.0.1')
          await new Promise((done) => socket.on('connect', done))
          report(await attempt({ socket, ca: input.ca }))`
        const one = { ...input, port: local.port }
        const first = await run<Attempt>(sandbox, body, one, node)
        expect(first.seen).toEqual({ authorized: true, text: 'hello\n' })
        if (harvested(first)) expect(offered(await run<Attempt>(sandbox, body, one, node))).toBe(true)
        else expect(skipped(first).join()).toMatch(/socket/)
      }))
  })

  describeWith(
    missingNode(line),
    `Node ${line}: a connection with a context that was made before the first connection`,
    () => {
      const body = `const secureContext = tls.createSecureContext({ ca: input.ca })
      report(await attempt({ ...input, ca: undefined, secureContext }))`
      // Both public ways to see the context being made change the stacks of the program's errors (CONTRIBUTING.md).
      it('is left alone, with a reason', () =>
        inSandbox(async (sandbox) => {
          const { events } = await run<Attempt>(sandbox, body, input, node)
          expect(events).toEqual([expect.stringMatching(/^skip: .*(context|createSecureContext)/i)])
        }))
    },
  )
}
