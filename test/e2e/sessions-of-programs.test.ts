import { connect, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { listen } from '../support/ports.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { type Attempt, inSandbox, ONE, offered, run, storeOf, ticketsIn, unixNow } from './trust/kit.ts'

// Programs that keep sessions themselves: https.Agent, the pools of undici, and every listener for 'session'. Node's servers
// send no new session when they resume one.

/** Connects with the options given, and notes what the program sees of sessions. */
const WATCHING = `
  const sessions = []
  const looks = []
  const connect = (more) => attempt({ ...input, ...more }, (socket) => {
    looks.push(socket.isSessionReused())
    socket.on('session', (session) => sessions.push(session))
  })`

const TWICE = `${WATCHING}
  const first = await connect()
  const second = await connect({ session: sessions.at(-1) })
  report({ attempts: [first, second], looks, sessions: sessions.length })`

interface Watched {
  readonly attempts: readonly Attempt[]
  readonly looks: readonly boolean[]
  /** How many sessions the program got. */
  readonly sessions: number
}

let ca: Authority
let identity: Identity
beforeAll(async () => {
  ca = await createAuthority()
  identity = await ca.issue({ names: ['a.test'] })
})

const inputFor = (port: number) => ({ host: '127.0.0.1', port, servername: 'a.test', ca: ca.cert })

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
      let server: TlsServer
      beforeAll(async () => {
        server = await startTlsServer({ ...identity, kind: 'raw', version })
      })
      afterAll(() => server.close())

      it('a program gets a session from a connection that ticketkeep resumed, and resumes that itself', () =>
        inSandbox(async (sandbox) => {
          const input = inputFor(server.port)
          await run(sandbox, ONE, input, node)
          const { attempts, looks, sessions } = await run<Watched>(sandbox, TWICE, input, node)
          expect(attempts.map(({ reused, seen }) => [reused, seen.text])).toEqual([
            [true, 'hello\n'],
            [true, 'hello\n'],
          ])
          expect(attempts.map(offered)).toEqual([true, false])
          expect(looks).toEqual([false, true])
          expect(sessions).toBe(1)
          expect(ticketsIn(sandbox)).toHaveLength(version === 'TLSv1.3' ? 0 : 1)
        }))

      it('an error of the program’s session listener ends the program, as it does without ticketkeep', () =>
        inSandbox(async (sandbox) => {
          const input = inputFor(server.port)
          const body = `
            process.on('uncaughtException', ({ message }) => report(message) ?? process.exit())
            await attempt(input, (socket) => socket.on('session', () => { throw new Error('of the program') }))
            report('nothing was thrown')`
          await run(sandbox, ONE, input, node)
          expect(await run(sandbox, body, input, node)).toBe('of the program')
        }))
    })
  })
}

it('a program gets no session of another certificate than the one that the socket showed', () =>
  inSandbox(async (sandbox) => {
    const server = await startTlsServer({ ...identity, kind: 'raw', version: 'TLSv1.3' })
    const gate = await startGate(server.port)
    const input = inputFor(gate.port)
    await run(sandbox, ONE, input)
    const [{ peer, ticket }] = ticketsIn(sandbox) as [ReturnType<typeof ticketsIn>[0]]
    storeOf(sandbox).invalidate(peer)
    storeOf(sandbox).save(peer, [ticket], unixNow())
    // The server gets a new certificate with the same key and the same ticket keys. While one connection waits for the server
    // with the only old ticket, another one gets tickets of the new certificate.
    server.setIdentity(await ca.issue({ names: ['a.test'], keys: identity.keys }))
    gate.holdNext()
    const body = `${WATCHING}
      const slow = connect()
      await new Promise((done) => setTimeout(done, 200))
      const other = await attempt(input)
      report({ attempts: [await slow, other], sessions: sessions.length })`
    const { attempts, sessions } = await run<Watched>(sandbox, body, input)
    expect(attempts.map(({ reused }) => reused)).toEqual([true, false])
    expect(ticketsIn(sandbox)).toHaveLength(2)
    expect(sessions).toBe(0)
    gate.close()
    await server.close()
  }))

/** A relay to a port. The first connection after `holdNext` goes on when the second one has ended. */
async function startGate(target: number) {
  let release: (() => void) | undefined
  let isHeld = false
  const gate = createServer((client) => {
    const go = () => {
      const upstream = connect(target, '127.0.0.1')
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        one.pipe(other)
        one.on('error', () => other.destroy()).on('close', () => other.destroy())
      }
    }
    if (isHeld) {
      isHeld = false
      release = go
    } else {
      if (release) client.on('close', release)
      go()
    }
  })
  return { port: await listen(gate), holdNext: () => void (isHeld = true), close: () => void gate.close() }
}
