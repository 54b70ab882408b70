import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import type { Sandbox } from '../../support/run-program.ts'
import { type OneServer, useServer } from '../../support/servers.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, run, ticketsIn } from './kit.ts'

// A program changes what decides trust after it has called `tls.connect`, or shows or reads a session in its own way.

const given = useServer({ names: ['a.test'], kind: 'raw' })

interface Place {
  readonly sandbox: Sandbox
  readonly input: OneServer['target'] & { readonly ca: string; readonly other: string }
}

const place = (test: (place: Place) => Promise<void>): Promise<void> =>
  inSandbox((sandbox) =>
    test({ sandbox, input: { ...given.target, ca: given.ca.cert, other: given.otherCa.cert } }),
  )

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('no session is offered when the program changes the server name after the call', () =>
      place(async ({ sandbox, input }) => {
        await run(sandbox, ONE, input, node)
        const body = `
          const socket = open(input)
          socket.setServername('b.test')
          socket.on('error', () => {}).on('data', () => {}).on('close', () => report(events))`
        const seen = await run<string[]>(sandbox, body, input, node)
        expect(seen).not.toContain('offer')
        expect(seen).toContain('skip: the server name was changed since the call')
      }))

    it('CAs as text and as bytes share a session only where OpenSSL gets the same bytes', () =>
      place(async ({ sandbox, input }) => {
        const accepts = `report(await attempt({ ...input, ca: '# \\u00e9\\n' + input.ca }))`
        const latin1 = `report(await attempt({ ...input, ca: Buffer.from('# \\u00e9\\n' + input.ca, 'latin1') }))`
        const utf8 = `report(await attempt({ ...input, ca: Buffer.from('# \\u00e9\\n' + input.ca) }))`
        await run(sandbox, accepts, input, node)
        expect(offered(await run(sandbox, latin1, input, node))).toBe(false)
        await run(sandbox, accepts, input, node)
        expect(offered(await run(sandbox, utf8, input, node))).toBe(true)
      }))

    /** In the second connection of a process, since its options are noted as the context is made. */
    const pinsLater = (pin: string) => `
      await attempt({ ...input, servername: 'warm.test' })
      const { Socket } = require('node:net')
      const { connect } = Socket.prototype
      Socket.prototype.connect = function (options, callback) {
        if (options.checkServerIdentity) ${pin}
        return connect.call(this, options, callback)
      }
      report(await attempt(input))`

    it.runIf(line !== '20')(
      'default CAs that the lookup function of the first connection sets do not count for that connection',
      () =>
        place(async ({ sandbox, input }) => {
          const lookup = (change: string) => `
          const lookup = (_name, { all }, done) => {
            ${change}
            all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
          }
          report(await attempt({ ...input, ca: undefined, host: 'a.test', lookup }))`
          const trusted = `tls.setDefaultCACertificates([input.ca])`
          expect(harvested(await run(sandbox, `${trusted}; ${lookup('')}`, input, node))).toBe(true)
          const refused = await run<Attempt>(sandbox, lookup(trusted), input, node)
          expect([offered(refused), refused.seen.authorized]).toEqual([false, undefined])
        }),
    )

    it('a checkServerIdentity that a wrapper puts into Node’s copy of the options is called', () =>
      place(async ({ sandbox, input }) => {
        await run(sandbox, ONE, input, node)
        const body = pinsLater(`options.checkServerIdentity = () => new Error('PIN')`)
        const refused = await run<Attempt>(sandbox, body, input, node)
        expect([offered(refused), refused.seen.error]).toEqual([false, 'PIN'])
      }))

    it('a session that was verified under changed options is not stored', () =>
      place(async ({ sandbox, input }) => {
        const body = pinsLater('options.checkServerIdentity = () => undefined')
        const accepted = await run<Attempt>(sandbox, body, { ...input, servername: 'wrong.test' }, node)
        expect([accepted.seen.authorized, harvested(accepted)]).toEqual([true, false])
        expect(ticketsIn(sandbox)).toEqual([])
      }))

    it('a pin that skips reused sessions is checked on a resumed connection', () =>
      place(async ({ sandbox, input }) => {
        // As snowflake-sdk does, which has checked the pin when its own session was made.
        const pinned = `report(await attempt(input, (socket) => {
          const { fingerprint256 } = socket.getPeerCertificate()
          if (fingerprint256 !== 'AA:BB' && !socket.isSessionReused()) socket.destroy(new Error('PIN'))
        }))`
        await run(sandbox, ONE, input, node)
        const refused = await run<Attempt>(sandbox, pinned, input, node)
        expect([refused.reused, refused.seen.error]).toEqual([true, 'PIN'])
      }))

    it('isSessionReused() says true for a session that the program passes itself', () =>
      place(async ({ sandbox, input }) => {
        const body = `
          let session
          await attempt(input, (socket) => socket.on('session', (s) => (session = s)))
          let isReused
          await attempt({ ...input, session }, (socket) => (isReused = socket.isSessionReused()))
          report(isReused)`
        expect(await run(sandbox, body, input, node)).toBe(true)
      }))
  })
}
