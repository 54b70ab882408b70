import { describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { NODE_LINES, nodeBinary, OLDER_NODES } from '../../support/pinned.ts'
import { createAuthority } from '../../support/pki.ts'
import { useServerOfEachVersion } from '../../support/servers.ts'
import { startTlsServer } from '../../support/tls-server.ts'
import { type Attempt, harvested, inSandbox, ONE, offered, run, ticketsIn } from './kit.ts'

const LINES = [...NODE_LINES, ...OLDER_NODES]
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

const given = useServerOfEachVersion({ names: ['a.test', '127.0.0.1'], kind: 'raw' })

const inputFor = (version: (typeof VERSIONS)[number]) => ({
  ...given.targets[version],
  ca: given.ca.cert,
})

describe.each(VERSIONS)('a %s session, stored under an explicit CA', (version) => {
  describe.each(LINES)('by Node %s', (writer) => {
    // Builds of Node differ in their security level.
    it.each(LINES.map((line) => [line]))(
      'is offered by Node %s only if that is the same version',
      async (reader) => {
        if (missingNode(writer) ?? missingNode(reader)) return
        const isShared = writer === reader
        await inSandbox(async (sandbox) => {
          await run(sandbox, ONE, inputFor(version), { node: nodeBinary(writer) })
          const read = await run<Attempt>(sandbox, ONE, inputFor(version), { node: nodeBinary(reader) })
          expect([offered(read), read.reused, read.seen.text]).toEqual([isShared, isShared, 'hello\n'])
        })
      },
    )
  })
})

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('20 offers of a session break none of 25 idle connections', () =>
      inSandbox(async (sandbox) => {
        const body = `
          const net = require('node:net')
          const lives = []
          const idle = []
          for (let i = 0; i < 25; i++) {
            const socket = tls.connect(input.idle)
            lives.push(new Promise((done) => socket.on('error', (e) => done(e.code)).on('data', (d) => done(String(d)))))
            await new Promise((done) => socket.once('secureConnect', done))
            idle.push(socket)
          }
          const attempts = []
          for (let i = 0; i < 20; i++) attempts.push(await attempt(input.target))
          for (const socket of idle) socket.write('GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n')
          const answers = (await Promise.all(lives)).map((answer) => answer.slice(0, 12))
          report({ answers, offers: attempts.filter((a) => a.events.includes('offer')).length,
            texts: attempts.map((a) => a.seen.text) })
          process.exit()`
        const https = await startTlsServer({ ...(await (await createAuthority()).issue()), kind: 'https' })
        const input = {
          target: inputFor('TLSv1.3'),
          idle: { host: '127.0.0.1', port: https.port, rejectUnauthorized: false },
        }
        const env = { TICKETKEEP_REUSE: '1' }
        await run(sandbox, ONE, input.target, { ...node, env })
        const result = await run<{ answers: string[]; offers: number; texts: string[] }>(
          sandbox,
          body,
          input,
          {
            ...node,
            env,
          },
        )
        expect(result.answers).toEqual(Array(25).fill('HTTP/1.1 200'))
        expect(result.texts).toEqual(Array(20).fill('hello\n'))
        expect(result.offers).toBe(20)
        await https.close()
      }))

    it.each(VERSIONS)(
      '%s: if the first address fails, the session is offered to the second and stored from it',
      (version) =>
        inSandbox(async (sandbox) => {
          // Nobody listens on ::1 at the server's port.
          const body = `
          const lookup = (host, options, done) => setImmediate(done, null,
            [{ address: '::1', family: 6 }, { address: '127.0.0.1', family: 4 }])
          const { host, ...rest } = input
          const options = { ...rest, host: 'a.test', lookup, autoSelectFamily: true }
          report([await attempt(options), await attempt(options)])`
          const input = inputFor(version)
          const [first, second] = await run<Attempt[]>(sandbox, body, input, node)
          expect([harvested(first!), first?.seen.text]).toEqual([true, 'hello\n'])
          expect([offered(second!), second?.reused, second?.seen.text]).toEqual([true, true, 'hello\n'])
          expect(ticketsIn(sandbox).length).toBe(1)
          const [later] = await run<Attempt[]>(sandbox, body, input, node)
          expect([offered(later!), later?.reused]).toEqual([true, true])
        }),
    )

    it('if the first address hangs, the session is offered to the second', () =>
      inSandbox(async (sandbox) => {
        const body = `
          const lookup = (host, options, done) => setImmediate(done, null,
            [{ address: '100::1', family: 6 }, { address: '127.0.0.1', family: 4 }])
          const { host, ...rest } = input
          const options = { ...rest, host: 'a.test', lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 50 }
          report([await attempt(options), await attempt(options)])`
        const [first, second] = await run<Attempt[]>(sandbox, body, inputFor('TLSv1.3'), node)
        expect([harvested(first!), second?.reused, second?.seen.text]).toEqual([true, true, 'hello\n'])
      }))
  })
}
