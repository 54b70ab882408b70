import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { useServerOfEachVersion } from '../../support/servers.ts'
import { type Attempt, FACE, harvested, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// Wrappers of `tls.connect`, and options added to those of `resumable`. These also run through the library (`through`).

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

const given = useServerOfEachVersion({ names: ['a.test', 'b.test'], kind: 'raw' })

/** What a wrapper does to the options of `tls.connect`. */
const WRAPPERS: Record<string, string> = {
  'trusts another CA': '{ ...options, ca: input.otherCa }',
  'adds a pin': `{ ...options, checkServerIdentity: () => new Error('PIN') }`,
  'adds a pin before the options': `{ checkServerIdentity: () => new Error('PIN'), ...options }`,
  'asks for a higher security level': `{ ...options, ciphers: tls.DEFAULT_CIPHERS + ':@SECLEVEL=3' }`,
  'passes a context of its own':
    '{ ...options, secureContext: tls.createSecureContext({ ca: input.otherCa }) }',
}

for (const line of FACE === undefined ? (['20', '26'] as const) : LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    for (const version of VERSIONS) {
      const input = () => ({
        ...given.targets[version],
        ca: given.ca.cert,
        otherCa: given.otherCa.cert,
      })
      const connected = `
        const raw = require('node:net').connect(input.port, input.host)
        await new Promise((done) => raw.once('connect', done))
        report(await attempt({ ...input, socket: raw }))`

      for (const [where, body] of Object.entries({ 'a connection': ONE, 'a connected socket': connected })) {
        it.each(Object.entries(WRAPPERS))(
          `${version}, ${where}: a program whose wrapper of tls.connect %s ends as without ticketkeep`,
          (_what, change) =>
            inSandbox(async (sandbox) => {
              await run(sandbox, body, input(), node)
              const plain = await run<Attempt>(sandbox, body, input(), node)
              // TicketAgent leaves connected sockets alone.
              expect(offered(plain)).toBe(where === 'a connection' || FACE !== 'TicketAgent')
              const wrapped = `
                const own = tls.connect
                tls.connect = (options, ...more) => own(${change}, ...more)
                ${body}`
              const without = await run<Attempt>(sandbox, wrapped, input(), { ...node, preload: false })
              const ours = await run<Attempt>(sandbox, wrapped, input(), node)
              expect([ours.seen, ours.reused]).toEqual([without.seen, without.reused])
              // A session that was verified under the options of the wrapper is not offered to a plain program.
              const lax = `
                const own = tls.connect
                tls.connect = (options, ...more) => own({ ...options, ca: input.ca }, ...more)
                ${body.replaceAll('...input', '...input, ca: input.otherCa').replace('attempt(input)', 'attempt({ ...input, ca: input.otherCa })')}`
              const accepted = await run<Attempt>(sandbox, lax, input(), node)
              expect(accepted.seen.authorized).toBe(true)
              const strict = await run<Attempt>(sandbox, body, { ...input(), ca: given.otherCa.cert }, node)
              expect([strict.seen.authorized, offered(strict)]).toEqual([undefined, false])
            }),
        )
      }
    }

    it.skipIf(FACE !== 'resumable')('options that a program adds to those of resumable() are obeyed', () =>
      inSandbox(async (sandbox) => {
        const { port } = given.servers['TLSv1.3']
        const body = `
          const { resumable } = require('${process.cwd()}/dist/index.cjs')
          const options = { ...resumable({ ca: input.ca, servername: 'a.test' }), ...input.added }
          const socket = options.createConnection(new URL('https://127.0.0.1:${port}'), options)
          socket.on('error', ({ code }) => report(code)).on('secureConnect', () => report('accepted'))`
        const common = { ca: given.ca.cert, host: '127.0.0.1' }
        expect(await run(sandbox, body, { ...common, added: {} }, node)).toBe('accepted')
        expect(await run(sandbox, body, { ...common, added: { ca: given.otherCa.cert } }, node)).toBe(
          'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
        )
      }),
    )

    it('a worker without flags that replaces process.chdir is left alone for the flags of its process', () =>
      inSandbox(async (sandbox) => {
        const input = { ...given.targets['TLSv1.3'], ca: given.ca.cert }
        const worker = `
          process.chdir = () => {}
          const { parentPort, workerData } = require('node:worker_threads')
          const { attempt } = require(${JSON.stringify(new URL('attempt.cjs', import.meta.url).pathname)})
          attempt(workerData).then((result) => parentPort.postMessage(result))`
        const body = `
          const { Worker } = require('node:worker_threads')
          new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [], workerData: input }).on('message', report)`
        const flags = ['--openssl-shared-config']
        const seen = await run<Attempt>(sandbox, body, input, { ...node, flags })
        expect([seen.seen.text, offered(seen), harvested(seen)]).toEqual(['hello\n', false, false])
      }))
  })
}
