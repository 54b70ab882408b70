import { randomBytes, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { useServerOfEachVersion } from '../../support/servers.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, FACE, inSandbox, LINES, ONE, offered, run, startSwitchboard } from './kit.ts'

// Programs that refuse a server during or right after the handshake, in unusual ways, refuse a resumed one as well.

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

const given = useServerOfEachVersion({ names: ['a.test'], kind: 'raw' })
/** Two servers with the same ticket keys. The second has a renewed certificate. */
let renewed: { before: TlsServer; after: TlsServer; pin: string }

beforeAll(async () => {
  const next = await given.ca.issue({ names: ['a.test'] })
  const ticketKeys = randomBytes(48)
  const [before, after] = await Promise.all(
    [given.identity, next].map((one) =>
      startTlsServer({ ...one, kind: 'raw', version: 'TLSv1.2', ticketKeys }),
    ),
  )
  renewed = { before: before!, after: after!, pin: new X509Certificate(next.cert).fingerprint256 }
})
afterAll(async () => {
  for (const server of [renewed?.before, renewed?.after]) await server?.close()
})

/** Programs that refuse the server while the handshake is under way, before Node calls the socket authorized. */
const REFUSING: Record<string, string> = {
  'in its own emit, if the session is not reused': `
    const own = socket.emit
    socket.emit = function (name, ...args) {
      if (name !== 'secure' || this.isSessionReused()) return own.call(this, name, ...args)
      const { issuerCertificate } = this.getPeerCertificate(true)
      if (issuerCertificate.raw) this.destroy(new Error('refused'))
      return true
    }`,
  'in its own _finishInit, if the session is not reused': `
    const own = tls.TLSSocket.prototype._finishInit
    tls.TLSSocket.prototype._finishInit = function (...args) {
      return this.isSessionReused() ? own.apply(this, args) : this.destroy(new Error('refused'))
    }`,
  'by a checkServerIdentity in Node’s copy of the options': `
    socket.on('ready', () => {
      const options = Object.getOwnPropertySymbols(socket).find((one) => one.description === 'connect-options')
      socket[options].checkServerIdentity = () => new Error('refused')
    })`,
}

/** Changes for the time of one call, which make that call refuse the server. `options` are those of the call. */
const FOR_ONE_CALL: Record<string, [before: string, after: string]> = {
  'changes the array of CAs': [
    'options.ca.splice(0, 1, input.otherCa)',
    'options.ca.splice(0, 1, input.ca[0])',
  ],
  'replaces createSecureContext': [
    'const own = tls.createSecureContext; tls.createSecureContext = (given) => own({ ...given, ca: input.otherCa })',
    'tls.createSecureContext = own',
  ],
}

/** Functions that a connection is made by, and that a program may wrap. */
const MAKERS: Record<string, string> = {
  'tls.connect': 'tls, "connect"',
  ...(FACE === 'TicketAgent' && {
    'https.Agent': 'require("node:https").Agent.prototype, "createConnection"',
  }),
}

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }
    for (const version of VERSIONS) {
      it.each(Object.entries(REFUSING))(
        `${version}: a program that refuses servers %s refuses a resumed one as well`,
        (_how, refuse) =>
          inSandbox(async (sandbox) => {
            const input = { ...given.targets[version], ca: given.ca.cert }
            const program = `
            const socket = open(input)
            ${refuse}
            let end = 'none'
            socket.on('secureConnect', () => { end = 'accepted' })
            socket.on('error', () => { end = 'refused' })
            socket.on('data', () => {}).on('close', () => report([end, events.includes('offer')]))`
            await run<Attempt>(sandbox, ONE, input, node)
            const [end] = await run<string[]>(sandbox, program, input, { ...node, preload: false })
            expect(end).not.toBe('accepted')
            expect(await run(sandbox, program, input, node)).toEqual([end, true])
          }),
      )

      const input = () => ({
        ...given.targets[version],
        ca: [given.ca.cert],
        otherCa: given.otherCa.cert,
      })
      const wrappers = Object.entries(MAKERS).flatMap(([maker, place]) =>
        Object.entries(FOR_ONE_CALL).map(([what, change]) => [maker, what, place, ...change] as const),
      )
      it.each(wrappers)(
        `${version}: a wrapper of %s that %s for the time of one call is obeyed`,
        (maker, _what, place, before, after) =>
          inSandbox(async (sandbox) => {
            await run(sandbox, ONE, input(), node)
            const body = `
              const wrap = (owner, name) => {
                const made = owner[name]
                owner[name] = function (...args) {
                  const options = args.find((one) => one && typeof one === 'object')
                  ${before}
                  try { return made.apply(this, args) } finally { ${after} }
                }
              }
              wrap(${place})
              ${ONE}`
            if (maker === 'tls.connect') {
              const without = await run<Attempt>(sandbox, body, input(), { ...node, preload: false })
              expect(without.seen.authorized).toBe(undefined)
            }
            const { seen } = await run<Attempt>(sandbox, body, input(), node)
            expect([seen.authorized, seen.error]).toEqual([undefined, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
          }),
      )

      it(`${version}: a wrapper of tls.createSecureContext that serves one later connection is obeyed`, () =>
        inSandbox(async (sandbox) => {
          const again = { ...node, env: { TICKETKEEP_REUSE: '1' } }
          await run(sandbox, ONE, input(), again)
          const body = (change: string) => `
              await attempt(input)
              const own = tls.createSecureContext
              ${change}
              ${ONE}`
          const others = `tls.createSecureContext = (given) => {
              tls.createSecureContext = own
              return own({ ...given, ca: input.otherCa })
            }`
          const without = await run<Attempt>(sandbox, body(others), input(), { ...node, preload: false })
          expect(without.seen.authorized).toBe(undefined)
          expect((await run<Attempt>(sandbox, body(others), input(), again)).seen).toEqual(without.seen)
          expect(offered(await run<Attempt>(sandbox, body(''), input(), again))).toBe(true)
        }))
    }

    it.each(['socket.destroy()', 'process.exit(1)', 'throw new Error("refused")'])(
      'TLSv1.2: a program that pins a renewed certificate refuses the old one at most once, by %s',
      (refuse) =>
        inSandbox(async (sandbox) => {
          const board = await startSwitchboard(renewed.before.port)
          const input = { ...given.targets['TLSv1.2'], port: board.port, ca: given.ca.cert, pin: renewed.pin }
          await run<Attempt>(sandbox, ONE, input, node)
          board.target = renewed.after.port
          // Written synchronously, since the program may end right after it.
          const body = `
            const { writeSync } = require('node:fs')
            const socket = open(input, () => {
              if (socket.getPeerCertificate().fingerprint256 !== input.pin) { writeSync(1, '"refused"'); ${refuse}; return }
              socket.on('data', () => {}).on('end', () => writeSync(1, '"accepted"'))
            })`
          const seen: string[] = []
          for (let i = 0; i < 2; i++) seen.push(await run<string>(sandbox, body, input, node))
          expect(seen).toEqual(['refused', 'accepted'])
          await board.close()
        }),
    )
  })
}
