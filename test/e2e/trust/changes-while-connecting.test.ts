import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import type { Sandbox } from '../../support/run-program.ts'
import { type OneServer, useServer } from '../../support/servers.ts'
import { startTlsServer } from '../../support/tls-server.ts'
import { type Attempt, FACE, harvested, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// A program changes its clock, its CAs or its context while a connection is being made.

const given = useServer({ names: ['a.test'], kind: 'raw' })
let input: OneServer['target'] & { readonly ca: string; readonly other: string }
beforeAll(() => {
  input = { ...given.target, ca: given.ca.cert, other: given.otherCa.cert }
})

/** A server whose certificate ends soon, and a stored session of it. */
async function withBriefServer(
  node: { node: string },
  test: (sandbox: Sandbox, brief: typeof input, end: Date) => Promise<void>,
): Promise<void> {
  const end = new Date(Math.ceil(Date.now() / 1000) * 1000 + 6000)
  const brief = await startTlsServer({
    ...(await given.ca.issue({ names: ['a.test'], notAfter: end })),
    kind: 'raw',
  })
  try {
    await inSandbox(async (sandbox) => {
      const to = { ...input, port: brief.port }
      expect(harvested(await run<Attempt>(sandbox, ONE, to, node))).toBe(true)
      await test(sandbox, to, end)
    })
  } finally {
    await brief.close()
  }
}

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('a program that stops its clock is not offered a session of an expired certificate', () =>
      withBriefServer(node, async (sandbox, brief, end) => {
        await sleep(end.getTime() - Date.now() + 1100)
        const body = `const then = ${end.getTime() - 3000}; Date.now = () => then; ${ONE}`
        const late = await run<Attempt>(sandbox, body, brief, node)
        expect([offered(late), late.seen.error]).toEqual([false, 'CERT_HAS_EXPIRED'])
      }))

    it('a session that expires between the call and the handshake is not offered', () =>
      withBriefServer(node, async (sandbox, brief, end) => {
        const body = `const lookup = (_name, { all }, done) => setTimeout(() =>
            all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4), input.wait)
          report(await attempt({ ...input, host: 'a.test', lookup }))`
        // Stored under the name that the connection below asks for.
        expect(harvested(await run<Attempt>(sandbox, body, { ...brief, wait: 0 }, node))).toBe(true)
        const wait = end.getTime() - Date.now() + 1100
        const late = await run<Attempt>(sandbox, body, { ...brief, wait }, node)
        expect([offered(late), late.seen.error]).toEqual([false, 'CERT_HAS_EXPIRED'])
        // The session was taken before it expired, or was not taken at all.
        expect(late.events).toContainEqual(
          expect.stringMatching(/^skip: (the session has expired since the call|no ticket)$/),
        )
      }))

    it('a session of one CA is not offered under another when all arrays have a toJSON', () =>
      inSandbox(async (sandbox) => {
        const body = `Array.prototype.toJSON = () => 'x'
          await attempt(input)
          const refused = await attempt({ ...input, ca: input.other })
          delete Array.prototype.toJSON
          report(refused)`
        const refused = await run<Attempt>(sandbox, body, input, node)
        expect([offered(refused), refused.seen.authorized]).toEqual([false, undefined])
      }))

    it('a buffer of CAs that the lookup function of the program changes counts as it was before', () =>
      inSandbox(async (sandbox) => {
        const body = `await attempt(input)
          const bytes = Buffer.alloc(4096, ' ')
          bytes.write(input.other)
          const lookup = (_name, { all }, done) => {
            bytes.fill(' ').write(input.ca)
            all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
          }
          report(await attempt({ ...input, host: 'a.test', ca: bytes, lookup }))`
        const refused = await run<Attempt>(sandbox, body, input, node)
        expect([offered(refused), refused.seen.authorized]).toEqual([false, undefined])
      }))

    it.each(['TLSv1.2', 'TLSv1.3'])(
      'so it does in the first connection of a process, over %s, which resumes with the CAs of its call',
      (maxVersion) =>
        inSandbox(async (sandbox) => {
          const body = (trusted: string, later: string) => `
            const bytes = Buffer.alloc(4096, ' ')
            bytes.write(${trusted})
            const lookup = (_name, { all }, done) => {
              bytes.fill(' ').write(${later})
              all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
            }
            report(await attempt({ ...input, host: 'a.test', ca: [bytes], lookup }))`
          const get = (trusted: string, later: string) =>
            run<Attempt>(sandbox, body(trusted, later), { ...input, maxVersion }, node)
          expect(harvested(await get('input.ca', 'input.ca'))).toBe(true)
          const refused = await get('input.other', 'input.ca')
          expect([offered(refused), refused.seen.authorized]).toEqual([false, undefined])
          expect((await get('input.ca', 'input.other')).reused).toBe(true)
        }),
    )

    // The library leaves contexts alone: it does not see them being made.
    it.skipIf(FACE)('a context that the program changes after the call is offered no session', () =>
      inSandbox(async (sandbox) => {
        const body = (change: string) => `await attempt({ ...input, servername: 'warm.test' })
          const secureContext = tls.createSecureContext({ ca: input.ca })
          const seen = attempt({ ...input, ca: undefined, secureContext })
          ${change}
          report(await seen)`
        expect(harvested(await run<Attempt>(sandbox, body(''), input, node))).toBe(true)
        const changed = await run<Attempt>(sandbox, body('secureContext.context.setOptions(0)'), input, node)
        expect([offered(changed), changed.reused]).toEqual([false, false])
      }),
    )

    it.skipIf(FACE)(
      'a worker that replaces process.chdir is still left alone for a flag of its process',
      () =>
        inSandbox(async (sandbox) => {
          const worker = `const { parentPort, workerData } = require('node:worker_threads')
          const chdir = process.chdir
          process.chdir = (directory) => chdir(directory)
          const reasons = []
          require('node:diagnostics_channel').subscribe('ticketkeep:skip', ({ reason }) => reasons.push(reason))
          const socket = require('node:tls').connect(workerData, () => {
            parentPort.postMessage({ reasons, reused: require('node:tls').TLSSocket.prototype.isSessionReused.call(socket) })
            socket.destroy()
          })`
          const body = `await attempt(input)
          const { Worker } = require('node:worker_threads')
          const thread = new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [], workerData: input })
          thread.on('message', report)`
          const flags = ['--openssl-shared-config']
          expect(await run(sandbox, body, input, { ...node, flags })).toEqual({
            reasons: ['worker thread: the flags of its process are not known'],
            reused: false,
          })
        }),
    )

    it('a program can still call tls.createSecureContext with new', () =>
      inSandbox(async (sandbox) => {
        const body = `await attempt(input)
          report(typeof new tls.createSecureContext({}).context)`
        expect(await run(sandbox, body, input, node)).toBe('object')
      }))
  })
}
