/**
 * `npm run demo`: runs an ordinary program against a real TLS server, and shows what is on disk then. It exits 0 only
 * if the server itself saw each second run resume, over TLS 1.2 and over TLS 1.3.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
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
const ROUNDS = 3
const RUNS = ['without ticketkeep', 'first run', 'second run']
const VERSIONS: TlsVersion[] = ['TLSv1.2', 'TLSv1.3']
const PROGRAM = exampleProgram('https-get.cjs')

type ServerMessage = { ports: Record<TlsVersion, number> } | Handshake

/** The other process has one server for each version, each behind a relay that adds a round trip. */
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
      `\nMedians of ${ROUNDS}, times of whole processes. A resumption saves one round trip over TLS 1.2. Over TLS 1.3 it`,
    )
    say(`saves none: it saves the certificates, their checks and the server's signature.`)

    showFiles(sandbox.tickets, sandbox.stored())
    const status = await runCommand({ sandbox, env, preload: false }, [process.execPath, CLI, 'status'])
    say(`\nticketkeep status\n`)
    say(indent(status.stdout.trim()))

    say(`\nThe server says that every second run was resumed.`)
  } finally {
    server.kill()
    sandbox.remove()
  }

  /** The user's own keychain if it answers, or else a key in a file that is removed with the demo. */
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

/** Runs the program once. The server says whether the connection was resumed. */
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

/** Shows the folder of one server and the file in it, and that no file contains readable text. */
function showFiles(store: string, files: string[]) {
  const [file = ''] = files
  const folder = dirname(file)
  say(
    `\nOn disk: one folder for each server, and in it one encrypted file for what a process has learnt of it\n`,
  )
  say(`  ${mode(store)}  ${store}`)
  say(`  ${mode(folder)}    ${basename(folder)}`)
  say(`  ${mode(file)}      ${basename(file)}  ${statSync(file).size} bytes`)
  say(`\n  ${readFileSync(file, 'utf8').slice(0, 100)}…`)
  for (const path of files) {
    const bytes = Buffer.concat([
      Buffer.from(path.slice(store.length)),
      ...readings(readFileSync(path, 'utf8')),
    ])
    if (bytes.includes('localhost')) throw new Error('the name of the server is on disk')
  }
  say(
    `\n  "localhost" is in no name and in no file. What the boxes decode to holds no run of 20 readable characters.`,
  )
}

/** A file and the bytes of its boxes. @throws if a box contains readable text */
function readings(text: string): Buffer[] {
  const { box, issuers = '' } = JSON.parse(text) as { box: string; issuers?: string }
  const boxes = [box, issuers].map((base64) => Buffer.from(base64, 'base64'))
  if (boxes.some((bytes) => /[ -~]{20}/.test(bytes.toString('latin1')))) throw new Error('a box can be read')
  return [Buffer.from(text), ...boxes]
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
