// Servers that fail when a session is offered to them. Without ticketkeep they serve every program; with it they may fail
// one program, and no second one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode, missingPerlModule } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { ROOT } from '../support/places.ts'
import { type Outcome, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServerOptions } from '../support/tls-server.ts'
import { inSandbox } from './trust/kit.ts'

let ca: Authority
let identity: Identity
beforeAll(async () => {
  ca = await createAuthority()
  identity = await ca.issue({ names: ['localhost'] })
})

/** What a server does with a connection that offers a session, where it does not resume it. */
const FAILURES: Record<string, Partial<TlsServerOptions>> = {
  'answers an offer with an alert': {
    onOffer: (socket: Socket) => socket.end(Buffer.from('15030300020228', 'hex')),
  },
  'resets the connection': { breaks: 'hello' },
  'closes the connection': { onOffer: (socket: Socket) => socket.end() },
  'ends the connection that it has resumed': { breaks: 'handshake' },
}

/** An ordinary program, which says how it went. */
const GET = `
const https = require('node:https')
const [port, ca, endsItself] = JSON.parse(process.argv[2])
https.get({ host: 'localhost', port, ca, agent: false }, (response) => {
  const word = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket) ? 'resumed' : 'full'
  response.resume().on('end', () => console.log(word))
}).on('error', (error) => console.log(error.code))
if (endsItself) setTimeout(() => process.exit(3), 500).unref()`

interface Run {
  readonly sandbox: Sandbox
  readonly node: string
  readonly port: number
  readonly endsItself?: boolean
  /** Put in front of the command. */
  readonly prefix?: readonly string[]
}

const get = ({ sandbox, node, port, endsItself = false, prefix = [] }: Run): Promise<Outcome> =>
  runProgram({ sandbox, node, source: GET, args: [JSON.stringify([port, ca.cert, endsItself])], prefix })

/** What the program printed, so many times, one run after the other. */
async function runs(times: number, run: Run): Promise<string[]> {
  const printed: string[] = []
  while (printed.length < times) printed.push((await get(run)).stdout.trim())
  return printed
}

async function against(
  options: Partial<TlsServerOptions>,
  test: (place: { sandbox: Sandbox; port: number }) => Promise<void>,
): Promise<void> {
  const server = await startTlsServer({ ...identity, ...options })
  try {
    await inSandbox((sandbox) => test({ sandbox, port: server.port }))
  } finally {
    await server.close()
  }
}

/** The same with a real server of OpenSSL's. */
async function againstOpenssl(
  version: string,
  test: (place: { sandbox: Sandbox; port: number }) => Promise<void>,
): Promise<void> {
  await inSandbox(async (sandbox) => {
    const files = [sandbox.write('cert.pem', identity.cert), sandbox.write('key.pem', identity.key)]
    const script = join(ROOT, 'test/support/optional-client-certificate.pl')
    const server = spawn('perl', [script, ...files, version.replace('.', '_')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [port] = (await once(server.stdout, 'data')) as [Buffer]
      await test({ sandbox, port: Number(port) })
    } finally {
      server.kill()
    }
  })
}

for (const line of NODE_LINES) {
  // On one of them ten runs after the failure; on the others as many as it takes to see that there is no second one.
  const times = line === '24' ? 12 : 5
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = nodeBinary(line)

    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
      describeWith(missingPerlModule('IO::Socket::SSL'), 'a server of plain OpenSSL', () => {
        it('that asks for an optional client certificate and has set no session id context fails one run', () =>
          againstOpenssl(version, async (place) => {
            const [first, second, ...others] = await runs(times, { ...place, node })
            expect(first).toBe('full')
            expect(second).toMatch(/^E/)
            expect(others).toEqual(others.map(() => 'full'))
          }))
      })

      it.each(Object.entries(FAILURES))('a server that %s fails one run', (_, failure) =>
        against({ version, ...failure }, async (place) => {
          const [first, second, ...others] = await runs(times, { ...place, node })
          expect(first).toBe('full')
          expect(second).toMatch(/^E/)
          expect(others).toEqual(others.map(() => 'full'))
        }),
      )

      it.each([
        ['ends itself', { endsItself: true }],
        ['is ended by timeout(1)', { prefix: ['timeout', '0.5'] }],
        ['is killed', { prefix: ['timeout', '--signal=KILL', '0.5'] }],
      ])('a server that falls silent holds one run, which %s', (_, how) =>
        against({ version, onOffer: () => {} }, async (place) => {
          const printed = await runs(5, { ...place, node, ...how })
          expect(printed).toEqual(['full', '', 'full', 'full', 'full'])
        }),
      )
    })
  })
}
