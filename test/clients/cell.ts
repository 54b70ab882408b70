import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { folderOf, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { ROOT } from '../support/places.ts'
import { sleep } from '../support/ports.ts'
import { type Registry, startRegistry } from '../support/registry.ts'
import { createSandbox, environment, type Outcome, runCommand, type Sandbox } from '../support/run-program.ts'
import type { Answer } from '../support/server-hello.ts'
import { startWitness, type Witness } from '../support/witness.ts'
import type { Client, Place, Route } from './client.ts'
import type { Running } from './daemon.ts'
import type { Server } from './server.ts'

export interface Cell {
  readonly client: Client
  readonly server: Server
  readonly version: TlsVersion
  readonly route: Route
  readonly node: NodeLine
}

/** The result of the second run with ticketkeep. */
export interface Result {
  readonly client: string
  /** The version of the client's package. */
  readonly release: string | undefined
  readonly server: string
  readonly version: TlsVersion
  readonly route: Route
  readonly node: NodeLine
  /** Connections to the server, and how many the server has resumed. */
  readonly connections: number
  readonly resumed: number
  /** The reasons of ticketkeep in both runs for leaving connections alone or not keeping sessions. */
  readonly reasons: readonly string[]
  /** What differs from the run without ticketkeep, or another error. */
  readonly fault?: string
}

const RECORDER = join(ROOT, 'test/clients/record-events.cjs')
const TIMEOUT_MS = 120_000
/** In the folder of the libraries, so that imports find the packages. */
const PROGRAM = join(folderOf('libraries'), `program-${process.pid}.mjs`)

/** The servers of one run of the matrix, started on demand, and one proxy of each kind. */
export class Site {
  readonly #authority: Promise<Authority> = createAuthority()
  readonly #identity: Promise<Identity> = this.#authority.then((ca) => ca.issue({ keyType: 'rsa' }))
  readonly #running = new Map<string, Promise<Running & { witness: Witness }>>()
  readonly #proxies = new Map<Route, Promise<ConnectProxy>>()
  #registry: Promise<Registry> | undefined

  authority(): Promise<Authority> {
    return this.#authority
  }

  server({ server, version, client }: Cell): Promise<Running & { witness: Witness }> {
    const isRegistry = client.speaks === 'registry'
    return remember(this.#running, `${server.name} ${version} ${isRegistry}`, async () => {
      const upstream = isRegistry ? (await (this.#registry ??= startRegistry())).url : undefined
      const running = await server.start({ version, identity: await this.#identity, upstream })
      return { ...running, witness: await startWitness(running.port) }
    })
  }

  async proxy(route: Route): Promise<string | undefined> {
    if (route === 'direct') return undefined
    const identity = route === 'secure' ? await this.#identity : undefined
    return (await remember(this.#proxies, route, () => startConnectProxy({}, identity))).url
  }

  async close(): Promise<void> {
    for (const started of await Promise.allSettled(this.#running.values())) {
      if (started.status === 'rejected') continue
      await started.value.witness.close()
      await started.value.stop()
    }
    for (const proxy of this.#proxies.values()) await (await proxy).close()
    await (await this.#registry)?.stop()
  }
}

function remember<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const value = map.get(key) ?? make()
  map.set(key, value)
  return value
}

/** Runs a client once without ticketkeep, and twice with it and one store. */
export async function runCell(cell: Cell, site: Site): Promise<Result> {
  const { client, server, version, route, node } = cell
  const about = { client: client.name, release: releaseOf(client), server: server.name, version, route, node }
  const nothing = { ...about, connections: 0, resumed: 0, reasons: [] }
  const sandbox = createSandbox()
  try {
    const { witness, logged } = await site.server(cell)
    const url = `https://localhost:${witness.port}/hello.txt`
    const place: Place = { node: nodeBinary(node), url, proxy: await site.proxy(route) }
    const ca = sandbox.write('ca.pem', (await site.authority()).cert)
    const runWitnessed = async (preload: boolean): Promise<Witnessed> => {
      const ran = await run(cell, place, sandbox, ca, preload)
      const answers = witness.answers()
      const resumed = answers.filter(({ isResumed }) => isResumed).length
      // The log has no connections without a request, which clients other than Node leave behind.
      const log = client.isNative ? undefined : await whatWasLogged(logged, resumed)
      return { ...ran, answers, resumed, logged: log }
    }
    const without = await runWitnessed(false)
    const { status, stdout, stderr } = without.outcome
    if (status !== 0 || without.shown === '')
      return { ...nothing, fault: `it fails without ticketkeep: ${stderr || stdout}`.slice(0, 1_000) }
    const first = await runWitnessed(true)
    const second = await runWitnessed(true)
    const fault = [first, second].map((ran) => faultOf(without, ran, version)).find(Boolean)
    return {
      ...about,
      connections: second.answers.length,
      resumed: second.resumed,
      reasons: [...new Set([...first.reasons, ...second.reasons])],
      ...(fault && { fault }),
    }
  } catch (error) {
    return { ...nothing, fault: (error as Error).message }
  } finally {
    sandbox.remove()
  }
}

interface Ran {
  readonly shown: string
  readonly outcome: Outcome
  readonly reasons: readonly string[]
}

interface Witnessed extends Ran {
  readonly answers: readonly Answer[]
  readonly resumed: number
  /** How many connections were resumed by the server's own log. Undefined if it has no log. */
  readonly logged: number | undefined
}

function faultOf(without: Ran, ran: Witnessed, version: TlsVersion): string | undefined {
  if (ran.shown !== without.shown) return `without ticketkeep:\n${without.shown}\nwith it:\n${ran.shown}`
  if (ran.answers.length === 0) return 'no connection was seen'
  if (ran.answers.some((answer) => answer.version !== version)) return `it did not speak ${version} alone`
  if ((ran.logged ?? ran.resumed) !== ran.resumed)
    return `the server has logged ${ran.logged} resumed connections, its answers show ${ran.resumed}`
  return undefined
}

async function run(cell: Cell, place: Place, sandbox: Sandbox, ca: string, preload: boolean): Promise<Ran> {
  const { client, node } = cell
  const folder = mkdtempSync(join(sandbox.directory, 'run-'))
  const home = join(folder, 'home')
  const project = join(folder, 'project')
  for (const made of [home, project]) mkdirSync(made)
  for (const [name, text] of Object.entries(client.files?.(place) ?? {}))
    writeFileSync(join(project, name), text)
  const events = join(folder, 'events')
  const proxied = place.proxy && { HTTPS_PROXY: place.proxy, https_proxy: place.proxy }
  const { NODE_OPTIONS: options } = environment({ sandbox, preload })
  const env = {
    HOME: home,
    // What a client finds under the name node.
    PATH: `${dirname(nodeBinary(node))}${delimiter}${process.env.PATH}`,
    NODE_EXTRA_CA_CERTS: ca,
    SSL_CERT_FILE: client.isNative ? ca : undefined,
    DENO_CERT: client.isNative ? ca : undefined,
    NODE_OPTIONS: options && !client.isNative ? `${options} --require ${JSON.stringify(RECORDER)}` : options,
    TEST_EVENTS: events,
    TEST_URL: place.url,
    CI: 'true',
    NO_COLOR: '1',
    ...proxied,
    ...client.env,
  }
  const command = client.command?.(place) ?? [place.node, writeProgram(client, place)]
  const settings = { sandbox, cwd: project, preload, env, timeoutMs: TIMEOUT_MS }
  const outcome = await runCommand(settings, command)
  rmSync(PROGRAM, { force: true })
  return { outcome, shown: shownBy(client, outcome, [folder]), reasons: reasonsIn(events) }
}

function writeProgram({ source = '' }: Client, { url, proxy }: Place): string {
  const { hostname: host, port } = new URL(url)
  const given = { url, host, port: Number(port), proxy }
  mkdirSync(folderOf('libraries'), { recursive: true })
  writeFileSync(PROGRAM, `const { url, host, port, proxy } = ${JSON.stringify(given)}\n${source}`)
  return PROGRAM
}

/** The output without what differs from run to run: times, process ids and paths. */
function shownBy({ output }: Client, { status, signal, stdout, stderr }: Outcome, paths: readonly string[]) {
  const text = output
    ? (`${stdout}${stderr}`.match(output)?.map(String) ?? []).join('\n')
    : `${stdout}${stderr && `\n${stderr}`}`
  const plain = paths.reduce((rest, path) => rest.replaceAll(path, ''), text)
  return text && `${status ?? signal}: ${plain.replace(/\d+(\.\d+)?\s?m?s\b|\(node:\d+\)/g, '').trim()}`
}

function reasonsIn(events: string): string[] {
  if (!existsSync(events)) return []
  const lines = readFileSync(events, 'utf8').split('\n')
  const reasons = lines.filter((line) => line.startsWith('skip: ')).map((line) => line.slice('skip: '.length))
  return reasons.filter((reason) => reason !== 'no ticket')
}

/** Waits, since a log may lag behind. */
async function whatWasLogged(logged: Running['logged'], wanted: number): Promise<number | undefined> {
  if (!logged) return undefined
  let sum = await logged()
  for (const end = Date.now() + 3_000; sum < wanted && Date.now() < end; await sleep(50))
    sum += await logged()
  return sum
}

function releaseOf({ package: pinned }: Client): string | undefined {
  if (!pinned) return undefined
  const manifest = join(folderOf(pinned.set), 'node_modules', pinned.name, 'package.json')
  return existsSync(manifest)
    ? (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
    : undefined
}
