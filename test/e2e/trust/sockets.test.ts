import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { useServer } from '../../support/servers.ts'
import { type Attempt, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// Programs that use their sockets in unusual ways end as without ticketkeep.

const given = useServer({ names: ['a.test'], kind: 'raw' })

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it.each([
      [
        'a stream of the program’s own',
        `
        const { Duplex } = require('node:stream')
        
        const duplex = new Duplex({ read() {}, write: (bytes, _, done) => raw.write(bytes, done),
          final: (done) => raw.end(done), destroy: (error, done) => { raw.destroy(); done(error) } })
        raw.on('data', (bytes) => duplex.push(bytes)).on('end', () => duplex.push(null))
        raw.on('close', () => duplex.destroy())
        return duplex`,
      ],
      [
        'a socket that had plain text first (STARTTLS)',
        `
        await new Promise((done) => setTimeout(done, 20))
        return raw`,
      ],
    ])(
      'over %s a session is offered for its own name only, and each connection ends as without ticketkeep',
      (_name, make) =>
        inSandbox(async (sandbox) => {
          const body = `
          const net = require('node:net')
          const over = async (options) => {
            const raw = net.connect(input.port, '127.0.0.1')
            await new Promise((done) => raw.on('connect', done))
            const socket = await (async () => { ${make} })()
            return attempt({ ...options, socket })
          }
          const results = []
          for (const servername of ['a.test', 'b.test', 'a.test'])
            results.push(await over({ servername, ca: input.ca }))
          results.push(await over({ servername: 'a.test', ca: input.other }))
          report(results)`
          const input = { port: given.server.port, ca: given.ca.cert, other: given.otherCa.cert }
          const [ours, theirs] = [
            await run<Attempt[]>(sandbox, body, input, node),
            await run<Attempt[]>(sandbox, body, input, { ...node, preload: false }),
          ]
          expect(ours.map(({ seen }) => seen)).toEqual(theirs.map(({ seen }) => seen))
          expect(ours.map(offered)).toEqual([false, false, true, false])
        }),
    )

    it.each([
      ['destroyed at once', 'socket.destroy()'],
      ['destroyed once TCP is connected', "socket.on('connect', () => socket.destroy())"],
      ['given junk as its session', "try { socket.setSession(Buffer.from('junk')) } catch {}"],
      ['given another server name', "socket.setServername('b.test')"],
      ['ended during the handshake', "socket.on('connect', () => socket.end())"],
      [
        'told to renegotiate at once',
        "socket.on('secureConnect', () => socket.renegotiate({ rejectUnauthorized: false }, () => {}))",
      ],
    ])('a socket that is %s ends as without ticketkeep, and so does the next', (_name, act) =>
      inSandbox(async (sandbox) => {
        const input = { ...given.target, ca: given.ca.cert }
        const body = `
          const own = tls.connect
          tls.connect = (...args) => { const socket = own(...args); ${act}; tls.connect = own; return socket }
          report([await attempt(input), await attempt(input)])`
        await run(sandbox, ONE, input, node)
        const [ours, theirs] = [
          await run<Attempt[]>(sandbox, body, input, { ...node, timeoutMs: 10_000 }),
          await run<Attempt[]>(sandbox, body, input, { ...node, timeoutMs: 10_000, preload: false }),
        ]
        expect(ours.map(({ seen }) => seen)).toEqual(theirs.map(({ seen }) => seen))
      }),
    )
  })
}
