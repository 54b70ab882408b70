import { createHash, X509Certificate } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { deriveSubkeys } from '../../../src/seal/subkeys.ts'
import { TicketStore } from '../../../src/store/ticket-store.ts'
import { NODE_LINES, type NodeLine } from '../../support/pinned.ts'
import { ROOT } from '../../support/places.ts'
import { listen } from '../../support/ports.ts'
import {
  createSandbox,
  type Outcome,
  type RunOptions,
  runProgram,
  type Sandbox,
  TEST_KEY,
} from '../../support/run-program.ts'

/** What `attempt.cjs` reports of one connection. */
export interface Attempt {
  /** What any program can see. */
  readonly seen: { readonly error?: string; readonly authorized?: boolean; readonly text: string }
  readonly reused: boolean
  /** What ticketkeep did: `offer`, `resumed`, `harvest`, `skip: reason`. */
  readonly events: readonly string[]
}

export const offered = ({ events }: Attempt) => events.includes('offer')
export const harvested = ({ events }: Attempt) => events.includes('harvest')

const ATTEMPT = JSON.stringify(join(ROOT, 'test/e2e/trust/attempt.cjs'))

/** The source of a program: `body` has `tls`, `attempt`, `open`, `report` and `input`, and may await. */
export const program = (body: string) => `
const { attempt, open, report, events } = require(${ATTEMPT})
const tls = require('node:tls')
const input = JSON.parse(process.argv[2] ?? 'null')
;(async () => {
${body}
})()`

/** Runs such a program and returns what it reported. */
export async function run<T>(
  sandbox: Sandbox,
  body: string,
  input: unknown,
  options: Partial<RunOptions> = {},
): Promise<T> {
  const outcome = await runProgram({
    sandbox,
    source: program(body),
    args: [JSON.stringify(input)],
    ...options,
    ...throughFace(options),
  })
  return reported(outcome)
}

/**
 * The function of the library by which programs make their connections, in place of the preload. The tests in `through` set
 * it to run these attacks again.
 */
export const FACE = process.env.TRUST_THROUGH

const throughFace = ({ preload = true, env }: Partial<RunOptions>) =>
  FACE === undefined || preload === false
    ? {}
    : { preload: typeof preload === 'string' && preload, env: { ...env, TRUST_THROUGH: FACE } }

/** The lines of Node on which these attacks are made. Through the library it is one, since most of the code is the same. */
export const LINES: readonly NodeLine[] = FACE === undefined ? NODE_LINES : ['24']

/** What a program reported. @throws with everything it printed, if it reported nothing */
export function reported<T>(outcome: Outcome): T {
  try {
    return JSON.parse(outcome.stdout) as T
  } catch {
    throw new Error(`the program reported nothing: ${JSON.stringify(outcome)}`)
  }
}

/** One attempt with the options of `input`. */
export const ONE = 'report(await attempt(input))'

/** A sandbox for one test, removed after it. */
export async function inSandbox<T>(test: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  const sandbox = createSandbox()
  try {
    return await test(sandbox)
  } finally {
    sandbox.remove()
  }
}

/** The store of a sandbox, opened with the key that its programs have. */
export function storeOf(sandbox: Sandbox): TicketStore {
  const subkeys = deriveSubkeys(Buffer.from(TEST_KEY, 'base64'))
  return new TicketStore({ directory: sandbox.tickets, subkeys, cipher: 'xsalsa20-poly1305' })
}

export const unixNow = () => Math.floor(Date.now() / 1000)

/** The tickets in it, with their peers. */
export const ticketsIn = (sandbox: Sandbox) => storeOf(sandbox).list(unixNow())

/** The SHA-256 of a certificate's SubjectPublicKeyInfo, base64. */
export const spkiOf = (pem: string) =>
  createHash('sha256')
    .update(new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')

/** That of every stored ticket. */
export const storedSpkis = (sandbox: Sandbox) =>
  ticketsIn(sandbox).map(({ ticket }) => Buffer.from(ticket.spkiFp).toString('base64'))

export interface Switchboard {
  readonly port: number
  /** Where connections go from now on: a port of this machine. */
  target: number
  close(): Promise<void>
}

/** A port that forwards to whichever server a test names, so that another server can take the place of the first. */
export async function startSwitchboard(target: number): Promise<Switchboard> {
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(board.target, '127.0.0.1')
    client.pipe(upstream).pipe(client)
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(one)
      one.on('error', () => other.resetAndDestroy()).on('close', () => open.delete(one))
    }
  })
  const board = {
    port: await listen(server),
    target,
    close() {
      for (const socket of open) socket.destroy()
      return new Promise<void>((done) => server.close(() => done()))
    },
  }
  return board
}
