import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { useServerOfEachVersion } from '../../support/servers.ts'
import { startTlsServer } from '../../support/tls-server.ts'
import { type Attempt, FACE, harvested, inSandbox, LINES, ONE, offered, run, ticketsIn } from './kit.ts'

// A program calls, replaces or wraps methods of its sockets.

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

const given = useServerOfEachVersion({ names: ['a.test', 'b.test'], kind: 'raw' })

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    for (const version of VERSIONS) {
      const input = () => ({ ...given.targets[version], ca: given.ca.cert })
      /** Fills a store, and runs a program with it and without. */
      const both = <T>(body: string, fill = ONE) =>
        inSandbox(async (sandbox) => {
          await run(sandbox, fill, input(), node)
          const without = await run<T>(sandbox, body, input(), { ...node, preload: false })
          return { sandbox, without, ours: await run<T>(sandbox, body, input(), node) }
        })

      it(`${version}: no session is stored when the server name is changed after the call`, () =>
        inSandbox(async (sandbox) => {
          const body = `
            const socket = open(input)
            socket.setServername('b.test')
            socket.on('data', () => {}).on('close', () => setTimeout(() => report(events), 5))`
          const events = await run<string[]>(sandbox, body, input(), node)
          expect(events).not.toContain('harvest')
          expect(events).toContain('skip: not kept: the server name was changed during the handshake')
          expect(ticketsIn(sandbox)).toEqual([])
        }))

      it.each([
        ['the first connection', ''],
        ['a later connection', `await attempt({ ...input, servername: 'b.test' })`],
      ])(
        `${version}: no session is offered in %s when a listener changes the server name right before the handshake`,
        (_which, before) =>
          inSandbox(async (sandbox) => {
            await run(sandbox, ONE, input(), node)
            const body = `${before}
            events.length = 0
            const socket = open(input)
            socket.prependListener('connect', () => socket.setServername('b.test'))
            socket.on('data', () => {}).on('close', () => report(events))`
            const events = await run<string[]>(sandbox, body, input(), node)
            expect(events).toContain('skip: the server name was changed since the call')
            expect(events).not.toContain('offer')
          }),
      )

      it.each(['setServername', 'getSession'])(
        `${version}: a program that replaces %s is left alone`,
        (name) =>
          inSandbox(async (sandbox) => {
            await run(sandbox, ONE, input(), node)
            const body = `
            const own = tls.TLSSocket.prototype.${name}
            tls.TLSSocket.prototype.${name} = function (...args) { return own.apply(this, args) }
            ${ONE}`
            const seen = await run<Attempt>(sandbox, body, input(), node)
            expect([offered(seen), harvested(seen), seen.seen.text]).toEqual([false, false, 'hello\n'])
          }),
      )

      const NARROW = `const narrow = (own) => function (...args) {
        own.apply(this, args)
        return { subject: { CN: 'not pinned' } }
      }`
      it.each([
        ['on the socket', 'socket.getPeerCertificate = narrow(socket.getPeerCertificate)'],
        [
          'on the socket once TCP is connected',
          `socket.once('connect', () => { socket.getPeerCertificate = narrow(socket.getPeerCertificate) })`,
        ],
        ['on the prototype', 'P.getPeerCertificate = narrow(P.getPeerCertificate)'],
        [
          'on the prototype once TCP is connected',
          `socket.once('connect', () => { P.getPeerCertificate = narrow(P.getPeerCertificate) })`,
        ],
        [
          'on a prototype of its own',
          'Object.setPrototypeOf(socket, Object.create(P, { getPeerCertificate: { value: narrow(P.getPeerCertificate) } }))',
        ],
      ])(
        `${version}: a getPeerCertificate that the program replaces %s decides as in a full handshake`,
        async (_where, change) => {
          const body = `${NARROW}
          const P = tls.TLSSocket.prototype
          const socket = open(input)
          socket.on('error', ({ code }) => report(code)).on('secureConnect', () => report('accepted'))
          ${change}`
          const { ours, without } = await both<string>(body)
          expect([ours, without]).toEqual(['ERR_TLS_CERT_ALTNAME_INVALID', 'ERR_TLS_CERT_ALTNAME_INVALID'])
        },
      )

      it.each([
        ['returns nothing', '() => undefined'],
        ['returns text', `() => 'text'`],
      ])(
        `${version}: a getSession of the program that %s does not hide the certificate from a pin`,
        async (_what, own) => {
          const body = `
          const socket = open(input)
          socket.getSession = ${own}
          socket.on('error', ({ message }) => report(message))
          socket.on('secureConnect', () => {
            if (socket.isSessionReused()) return report('passed over')
            socket.destroy(new Error(socket.getPeerCertificate().subject?.CN ?? 'no certificate'))
          })`
          const { ours, without } = await both<string>(body)
          expect(ours).toBe(without)
        },
      )

      it(`${version}: a program can replace isSessionReused on its socket`, async () => {
        const body = `
          const socket = open(input)
          socket.isSessionReused = () => false
          socket.on('error', ({ code }) => report(code)).on('secureConnect', () => report('accepted'))`
        const { ours, without } = await both<string>(body)
        expect([ours, without]).toEqual(['accepted', 'accepted'])
      })

      it(`${version}: a toJSON on Object.prototype or Array.prototype sees no ticket`, () =>
        inSandbox(async (sandbox) => {
          const body = `
            const seen = []
            Object.prototype.toJSON = function () { seen.push(...Object.keys(this)); return this }
            Array.prototype.toJSON = function () { seen.push('list of ' + this.length); return this }
            await attempt(input)
            setTimeout(() => {
              delete Object.prototype.toJSON
              delete Array.prototype.toJSON
              report(seen)
            }, 200)`
          const seen = await run<string[]>(sandbox, body, input(), node)
          expect(ticketsIn(sandbox).length).toBeGreaterThan(0)
          expect(seen.filter((name) => /ticket|spkiFp|certificate|list/.test(name))).toEqual([])
        }))
    }

    it('TLSv1.3: a ticket that was sent is not put back when connect is emitted again', () =>
      inSandbox(async (sandbox) => {
        const input = { ...given.targets['TLSv1.3'], ca: given.ca.cert }
        await run(sandbox, ONE, input, node)
        const before = ticketsIn(sandbox).length
        const body = `
          const socket = open(input)
          socket.once('connect', () => setImmediate(() => socket.emit('connect')))
          socket.on('error', () => {}).on('data', () => {}).on('close', () => report(events))`
        const events = await run<string[]>(sandbox, body, input, node)
        expect(events).toContain('offer')
        // The server sends no ticket on a resumption.
        expect(ticketsIn(sandbox)).toHaveLength(before - 1)
      }))

    it.skipIf(FACE)(
      'TLSv1.2: the session of a renegotiation is not stored, even if the program replaces process.nextTick',
      () =>
        inSandbox(async (sandbox) => {
          const server = await startTlsServer({ ...given.identity, kind: 'https', version: 'TLSv1.2' })
          const input = { ...given.targets['TLSv1.2'], port: server.port, ca: given.ca.cert }
          const body = `
          const socket = open(input)
          const own = process.nextTick
          socket.once('connect', () => { process.nextTick = () => {} })
          socket.once('secureConnect', () => {
            process.nextTick = own
            setTimeout(() => socket.renegotiate({}, () => setTimeout(() => socket.destroy(), 50)), 50)
          })
          socket.on('error', () => {}).on('close', () => report(events.filter((event) => event === 'harvest').length))`
          expect(await run(sandbox, body, input, node)).toBe(1)
          await server.close()
        }),
    )
  })
}
