/**
 * `npm run demo`: an ordinary program, run twice against a real TLS server, and what it leaves on disk.
 * Exits 0 only if the server itself saw the second run resume, in TLS 1.2 and in TLS 1.3.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { TicketCache } from '../src/index.ts'
import { buildIfStale } from './support/build.ts'
import type { TlsVersion } from './support/nginx.ts'
import { createAuthority } from './support/pki.ts'
import { CLI, DIST } from './support/places.ts'
import { startRelay } from './support/relay.ts'
import {
  createSandbox,
  exampleProgram,
  type RunOptions,
  runCommand,
  runProgram,
} from './support/run-program.ts'
import { type Handshake, startTlsServer } from './support/tls-server.ts'

const RTT_MS = 50
const ROUNDS = 5
const RUNS = ['without ticketkeep', 'first run', 'second run']
const VERSIONS: TlsVersion[] = ['TLSv1.2', 'TLSv1.3']
const PROGRAM = exampleProgram('https-get.cjs')

type ServerMessage = { ports: Record<TlsVersion, number> } | Handshake

/** The other process: one server a version, each behind a relay that makes it far away. */
async function serve() {
  const identity = await new Promise<{ cert: string; key: string }>((done) => process.once('message', done))
  const ports = { 'TLSv1.2': 0, 'TLSv1.3': 0 }
  for (const version of VERSIONS) {
    const server = await startTlsServer({
      ...identity,
      version,
      onHandshake: (handshake) => process.send?.(handshake),
    })
    ports[version] = (await startRelay(server.port, RTT_MS)).port
  }
  process.send?.({ ports })
}

async function demonstrate() {
  buildIfStale()
  const sandbox = createSandbox()
  const ca = await createAuthority()
  const server = fork(fileURLToPath(import.meta.url), ['server'])
  try {
    const { cert, key } = await ca.issue({ keyType: 'rsa' })
    server.send({ cert, key })
    const { ports } = (await nextMessage(server)) as Extract<ServerMessage, { ports: unknown }>

    say(`An ordinary program, which knows nothing of ticketkeep (${basename(PROGRAM)}):\n`)
    say(indent(readFileSync(PROGRAM, 'utf8').trim()))
    say(
      `\nA TLS server of Node's own in another process, ${RTT_MS} ms away: a relay holds every flight of bytes.`,
    )
    const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert), ...(await chooseKey()) }

    const results: Record<string, Run[]> = {}
    for (let round = 0; round < ROUNDS; round++) {
      rmSync(sandbox.tickets, { recursive: true, force: true })
      for (const [version, name] of VERSIONS.flatMap((one) => RUNS.map((run) => [one, run] as const))) {
        const args = [`https://localhost:${ports[version]}/`]
        const preload = name !== 'without ticketkeep'
        const run = await timedRun(server, { sandbox, file: PROGRAM, args, env, preload })
        if (run.resumed !== (name === 'second run')) throw new Error(`${version}, ${name}: ${words(run)}`)
        results[version + name] = [...(results[version + name] ?? []), run]
      }
    }
    for (const version of VERSIONS) {
      say(`\n${version.replace('v', ' ')}`)
      for (const name of RUNS) {
        const runs = results[version + name]!
        const time = median(runs.map(({ milliseconds }) => milliseconds)).toFixed(0)
        say(`  ${name.padEnd(18)}  ${time.padStart(5)} ms   ${words(runs[0]!)}`)
      }
    }
    say(
      `\nMedians of ${ROUNDS}; times of whole processes. Resuming saves one round trip in TLS 1.2 and none in`,
    )
    say(`TLS 1.3, where it saves the certificates, their checks and the server's signature.`)

    showFiles(sandbox.tickets, sandbox.stored())
    const status = await runCommand({ sandbox, env, preload: false }, [process.execPath, CLI, 'status'])
    say(`\nticketkeep status\n`)
    say(indent(status.stdout.trim()))

    say(`\nEvery second run was resumed: so said the server.`)
  } finally {
    server.kill()
    sandbox.remove()
  }

  /** The user's own keychain where it answers; elsewhere a key in a file that goes with the demo. */
  async function chooseKey(): Promise<Record<string, string | undefined>> {
    const { TicketCache: Cache } = (await import(pathToFileURL(join(DIST, 'index.js')).href)) as {
      TicketCache: typeof TicketCache
    }
    const cache = await Cache.open(sandbox.tickets)
    const source = cache.keySource
    cache.close()
    if (source !== 'memory') {
      say(`The key: from the source that ticketkeep chose here, \`${source}\`.`)
      return { ...process.env, TICKETKEEP_KEY: undefined, HOME: process.env.HOME }
    }
    const file = sandbox.write('key', `${randomBytes(32).toString('base64')}\n`)
    chmodSync(file, 0o600)
    say(`The key: no keychain answers on this machine, so the demo made a throwaway key file.`)
    return { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_FILE: file }
  }
}

interface Run {
  readonly milliseconds: number
  readonly resumed: boolean
  readonly printed: string
}

/** Runs the program once; what became of its handshake is the server's word. */
async function timedRun(server: ChildProcess, options: RunOptions): Promise<Run> {
  const handshake = nextMessage(server) as Promise<Handshake>
  const start = performance.now()
  const { status, stdout, stderr } = await runProgram(options)
  const milliseconds = performance.now() - start
  if (status !== 0) throw new Error(`the program failed:\n${stderr}`)
  return { milliseconds, resumed: (await handshake).reused, printed: stdout.trim() }
}

const words = ({ resumed, printed }: Run) => `${resumed ? 'resumed' : 'full handshake'}, printed ${printed}`
const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Modes, names and the beginning of one file; and that the server's name is in none of them. */
function showFiles(folder: string, files: string[]) {
  say(`\nOn disk`)
  say(`  ${mode(folder)}  ${folder}`)
  for (const file of files) say(`  ${mode(file)}  ${basename(file)}  ${statSync(file).size} bytes`)
  const [first = ''] = files
  if (first) say(`\n  ${readFileSync(first, 'utf8').slice(0, 100)}…`)
  const bytes = Buffer.concat(
    files.flatMap((file) => [Buffer.from(file), ...readings(readFileSync(file, 'utf8'))]),
  )
  if (bytes.includes('localhost')) throw new Error('the name of the server is on disk')
  say(`\n  "localhost" occurs in none of them, nor in what their boxes decode to.`)
}

function readings(text: string): Buffer[] {
  const { box } = JSON.parse(text) as { box: string }
  return [Buffer.from(text), Buffer.from(box, 'base64')]
}

function mode(path: string): string {
  const stat = statSync(path)
  const bits = [...'rwxrwxrwx'].map((letter, i) => (stat.mode & (0o400 >> i) ? letter : '-'))
  return `${stat.isDirectory() ? 'd' : '-'}${bits.join('')}`
}

const nextMessage = (child: ChildProcess) => new Promise<ServerMessage>((done) => child.once('message', done))
const indent = (text: string) => text.replace(/^(?=.)/gm, '    ')
const say = (line: string) => console.log(line)

if (process.argv[2] === 'server') await serve()
else
  await demonstrate().catch((error: Error) => {
    console.error(`\nThe demo failed: ${error.message}`)
    process.exitCode = 1
  })
