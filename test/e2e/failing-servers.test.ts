// Servers that fail when a session is offered to them. Without ticketkeep they serve every program. With it they may fail
// one program, and only one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import type { Socket } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode, missingPerlModule, missingUnshare } from '../support/missing.ts'
import { nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { ROOT } from '../support/places.ts'
import { environment, type Outcome, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServerOptions } from '../support/tls-server.ts'
import { inSandbox, startSwitchboard } from './trust/kit.ts'

let ca: Authority
let identity: Identity
beforeAll(async () => {
  ca = await createAuthority()
  identity = await ca.issue({ names: ['localhost'] })
})

/** What a server does with a connection that offers a session, instead of resuming it. */
const FAILURES: Record<string, Partial<TlsServerOptions>> = {
  'answers an offer with an alert': {
    onOffer: (socket: Socket) => socket.end(Buffer.from('15030300020228', 'hex')),
  },
  'resets the connection': { breaks: 'hello' },
  'closes the connection': { onOffer: (socket: Socket) => socket.end() },
  'ends the connection that it has resumed': { breaks: 'handshake' },
}

/** An ordinary program, which prints how its connection ended. */
const GET = `
const https = require('node:https')
const [port, ca, endsItself] = JSON.parse(process.argv[2])
https.get({ host: 'localhost', port, ca, agent: false }, (response) => {
  const word = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket) ? 'resumed' : 'full'
  response.resume().on('end', () => console.log(word))
}).on('error', (error) => console.log(error.code))
if (endsItself) setTimeout(() => process.exit(3), 1500).unref()`

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

/** Runs the program so many times, one after the other. @returns what each run printed */
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

/** The same with a server of OpenSSL. */
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

// These tests wait for servers that hang, so they run on two lines of Node only.
for (const line of ['20', '24'] as const) {
  // Ten runs follow the failure on one line. On the other, as few as show that there is no second failure.
  const times = line === '24' ? 12 : 5
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = nodeBinary(line)

    describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
      describeWith(missingPerlModule('IO::Socket::SSL'), 'a server of plain OpenSSL', () => {
        it('that asks for an optional client certificate without a session id context fails one run', () =>
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
        ['is ended by timeout(1)', { prefix: ['timeout', '1.5'] }],
        ['is killed', { prefix: ['timeout', '--signal=KILL', '1.5'] }],
      ])('a server that stops answering delays one run, which %s', (_, how) =>
        against({ version, onOffer: () => {} }, async (place) => {
          const printed = await runs(5, { ...place, node, ...how })
          expect(printed).toEqual(['full', '', 'full', 'full', 'full'])
        }),
      )
    })
  })
}

/** Makes what a sandbox remembers of its servers so many seconds older. */
function age(sandbox: Sandbox, seconds: number): void {
  for (const path of sandbox.stored().filter((one) => one.endsWith('.failed'))) {
    const [time = '', ...rest] = basename(path).split('.')
    const older = (Number.parseInt(time, 16) - seconds).toString(16).padStart(8, '0')
    renameSync(path, join(dirname(path), [older, ...rest].join('.')))
  }
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
  const node = process.execPath

  it.each(['hello', 'handshake'] as const)(
    'a server that fails at the %s again is left alone for longer',
    (breaks) =>
      against({ version, breaks }, async (place) => {
        const counts: string[] = []
        for (const hours of [1, 24, 168]) {
          await runs(2, { ...place, node })
          const [failure] = place.sandbox.stored().filter((path) => path.endsWith('.failed'))
          counts.push(basename(failure!).split('.')[1]!)
          age(place.sandbox, hours * 3600 + 100)
        }
        expect(counts).toEqual(['1', '2', '3'])
      }),
  )

  it('a long-running process leaves a server alone that begins to fail, as a new process does', async () => {
    let isFailing = false
    const onOffer = (socket: Socket) => socket.resetAndDestroy()
    const good = await startTlsServer({ ...identity, version, ticketKeys: Buffer.alloc(48, 7) })
    const bad = await startTlsServer({ ...identity, version, ticketKeys: Buffer.alloc(48, 7), onOffer })
    const board = await startSwitchboard(good.port)
    const source = `
      const https = require('node:https')
      const [port, ca] = JSON.parse(process.argv[2])
      const get = () => new Promise((done) => https.get({ host: 'localhost', port, ca, agent: false },
        (response) => response.resume().on('end', () => done('ok'))).on('error', (error) => done(error.code)))
      process.stdin.on('data', async () => console.log(await get()))`
    await inSandbox(async (sandbox) => {
      const args = [sandbox.write('long.cjs', source), JSON.stringify([board.port, ca.cert])]
      const child = spawn(node, args, { env: environment({ sandbox }), stdio: ['pipe', 'pipe', 'inherit'] })
      const lines: string[] = []
      for (let i = 0; i < 10; i++) {
        if (i === 3) isFailing = true
        board.target = isFailing ? bad.port : good.port
        child.stdin.write('x')
        lines.push(String(await once(child.stdout, 'data')).trim())
      }
      child.kill()
      // The first failure might be one of the network.
      expect(lines.filter((line) => line !== 'ok').length).toBeLessThanOrEqual(2)
    })
    for (const one of [good, bad, board]) await one.close()
  })

  describeWith(missingUnshare(), 'in containers, where each program has process id 1', () => {
    it('a server that stops answering delays one run', () =>
      against({ version, onOffer: () => {} }, async (place) => {
        const prefix = ['timeout', '--signal=KILL', '1.5', 'unshare', '--pid', '--fork', '--kill-child']
        const printed = await runs(5, { ...place, node, prefix })
        expect(printed).toEqual(['full', '', 'full', 'full', 'full'])
      }))
  })
})

describe('a healthy server is not left alone', () => {
  const version = 'TLSv1.3'
  const node = process.execPath

  it.each([
    ['ends right after the response', `process.exit()`],
    ['closes its connection before any data', `response.socket.destroy()`],
  ])('after a program that %s', (_, ending) =>
    against({ version }, async ({ sandbox, port }) => {
      const source = GET.replace(`response.resume()`, `${ending}; response.resume()`)
      for (let i = 0; i < 3; i++)
        await runProgram({ sandbox, node, source, args: [JSON.stringify([port, ca.cert])] })
      expect(sandbox.stored().filter((path) => /\.(offer|failed)$/.test(path))).toEqual([])
    }),
  )

  it.each([
    [
      'aborts at once',
      `request.on('socket', (socket) => socket.on('connect', () => setImmediate(() => request.destroy())))`,
    ],
    [
      'exits at once',
      `request.on('socket', (socket) => socket.on('connect', () => setImmediate(() => process.exit())))`,
    ],
    [
      'is busy and then exits',
      `request.on('socket', (socket) => socket.on('connect', () => setImmediate(() => {
      for (const end = Date.now() + 600; Date.now() < end; );
      process.exit()
    })))`,
    ],
    [
      'ends a connection without using it',
      `request.on('socket', (socket) => socket.prependListener('secureConnect', () => socket.end()))`,
    ],
  ])('after a program that %s', (_, early) =>
    against({ version }, async ({ sandbox, port }) => {
      await get({ sandbox, node, port })
      const source = `${GET.replace('https.get(', 'const request = https.get(')}\n${early}`
      await runProgram({ sandbox, node, source, args: [JSON.stringify([port, ca.cert])] })
      expect(sandbox.stored().filter((path) => /\.(offer|failed)$/.test(path))).toEqual([])
    }),
  )

  it('after Node has refused its certificate instead of a resumption', async () => {
    const other = await createAuthority()
    const theirs = await other.issue({ names: ['localhost'] })
    await against({ version }, async ({ sandbox, port }) => {
      const board = await startSwitchboard(port)
      await get({ sandbox, node, port: board.port })
      const next = await startTlsServer({ ...theirs, version })
      board.target = next.port
      const { stdout } = await get({ sandbox, node, port: board.port })
      expect(stdout.trim()).toMatch(/^(SELF_SIGNED|UNABLE_TO|DEPTH_ZERO)/)
      expect(sandbox.stored().filter((path) => /\.(offer|failed)$/.test(path))).toEqual([])
      for (const one of [next, board]) await one.close()
    })
  })
})
