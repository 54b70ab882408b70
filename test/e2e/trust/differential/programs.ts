import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { missingCommands } from '../../../support/missing.ts'
import { type NodeLine, nodeBinary } from '../../../support/pinned.ts'
import { PRELOAD } from '../../../support/places.ts'
import { createSandbox, type Outcome, runProgram, type Sandbox } from '../../../support/run-program.ts'
import type { RunningServer } from './servers.ts'
import { type FileContent, PACKAGES, type Way } from './way.ts'

// Makes a program of a way in a table, and reads from its output what happened.

/** One connection, as `connect.cjs` reports it. */
export interface Attempt {
  /** What any program can see. */
  readonly seen: {
    readonly error?: string
    readonly authorized?: boolean
    /** What the program's own look at the socket said. */
    readonly judged?: boolean | string
    /** The page that it was given. */
    readonly text: string
  }
  readonly reused: boolean
  readonly events: readonly string[]
}

/** A server, and the folder in which its programs find what they need. */
export interface Site {
  readonly server: RunningServer
  readonly folder: string
}

/** What all programs of a site share: what they know of the server, and CAs in the format of OpenSSL. */
export function createSite(server: RunningServer, parent: string): Site {
  const folder = join(parent, server.name)
  mkdirSync(join(folder, 'certs'), { recursive: true })
  writeFileSync(join(folder, 'world.json'), JSON.stringify(server.world))
  if (missingCommands('openssl') === undefined) {
    const hash = execFileSync('openssl', ['x509', '-hash', '-noout'], { input: server.world.ca })
    writeFileSync(join(folder, 'certs', `${String(hash).trim()}.0`), server.world.ca)
  }
  return { server, folder }
}

const CONNECT = fileURLToPath(new URL('./connect.cjs', import.meta.url))

const prelude = (site: Site) => `
const { attempt, attemptWith, chainOf, events, fetched, lookup, report, request, watch } = require(${JSON.stringify(CONNECT)})
const fs = require('node:fs')
const w = { ...require(${JSON.stringify(join(site.folder, 'world.json'))}), run: __dirname }
const base = w.base.host?.endsWith('.test') ? { ...w.base, lookup } : w.base
const pkg = require('node:module').createRequire(${JSON.stringify(`${PACKAGES}/`)})
for (const name of ['tls', 'https']) Object.defineProperty(globalThis, name, { get: () => require('node:' + name) })
const thrown = (error) => ({ seen: { error: 'thrown: ' + (error.code ?? error.message), text: '' }, reused: false, events: [] })
`

const connecting = ({ options = 'base', judge, connect = `attempt(${options}, ${judge})` }: Way) => connect

/** One program for one way. */
export const alone = (site: Site, way: Way) => `${prelude(site)}
;(async () => {
  ${way.before ?? ''}
  return ${connecting(way)}
})().catch(thrown).then(report)`

/** One program for many ways, one after the other. */
export const together = (site: Site, ways: readonly Way[]) => `${prelude(site)}
;(async () => {
  const results = []
  ${ways.map((way) => `results.push(await (async () => ${connecting(way)})().catch(thrown))`).join('\n  ')}
  report(results)
})()`

/** Enough connections to leave single-use tickets for ways that look at a resumed socket. */
const CONNECTIONS = 8

/**
 * One process that accepts a server and then refuses it in many ways. Each way comes with the number of its tickets.
 */
export const oneProcess = (site: Site, accepting: Way, refusing: readonly Way[]) => `${prelude(site)}
;(async () => {
  const results = []
  const count = (name) => events.filter((event) => event === name).length
  ${accepting.before ?? ''}
  const accept = async (base) => ${connecting(accepting)}
  const accepted = await accept(base)
  if (count('harvest') > 0) await Promise.all(Array.from({ length: ${CONNECTIONS - 1} }, () => accept(base)))
  const options = () => (${accepting.options ?? 'base'})
  for (const refuse of [
    ${refusing.map((way) => `(base) => ${connecting(way)}`).join(',\n    ')}
  ]) {
    const tickets = w.version === 'TLSv1.3' ? count('harvest') - count('offer') : count('harvest')
    results.push({ tickets, ...(await (async () => refuse(options()))().catch(thrown)) })
  }
  report({ accepted, results })
})().catch((error) => report({ accepted: thrown(error), results: [] }))`

export interface Run {
  readonly site: Site
  readonly node: NodeLine
  /** Whose flags, variables and files the process has. */
  readonly way: Way
  readonly source: string
  readonly preload: boolean
  /** Puts tickets into the store before the program starts. */
  readonly fill?: (directory: string) => void
  /** Called with the store before that is removed. */
  readonly keep?: (directory: string) => void
}

/** Runs a program. Returns its report, or undefined if it did not get that far. */
export async function run<T>({ site, node, way, source, preload, fill, keep }: Run): Promise<T | undefined> {
  const sandbox = createSandbox()
  try {
    const place = placeIn(site, sandbox)
    for (const [path, content] of Object.entries(way.files ?? {})) {
      writeOnce(place(path), content, site, place)
    }
    fill?.(sandbox.tickets)
    const { NODE_OPTIONS, ...env } = mapValues({ ...site.server.env, ...way.env }, place)
    const nodeOptions = [preload ? `--require ${JSON.stringify(PRELOAD)}` : '', NODE_OPTIONS ?? '']
    const outcome = await runProgram({
      sandbox,
      source,
      node: nodeBinary(node),
      flags: (way.flags ?? []).map(place),
      prefix: (way.prefix ?? []).map(place),
      preload: false,
      env: { ...env, NODE_OPTIONS: nodeOptions.join(' ').trim() },
    })
    keep?.(sandbox.tickets)
    return reported<T>(outcome)
  } finally {
    sandbox.remove()
  }
}

const placeIn = (site: Site, sandbox: Sandbox) => (text: string) =>
  text.replaceAll('$RUN', sandbox.directory).replaceAll('$SERVER', site.folder)

const mapValues = (values: Readonly<Record<string, string>>, map: (value: string) => string) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)])) as Record<
    string,
    string
  >

/** A file that many runs share is not written again: another process may be reading it. */
function writeOnce(path: string, content: FileContent, site: Site, place: (text: string) => string): void {
  if (typeof content === 'object' && 'linkTo' in content) {
    const target = place(content.linkTo)
    if (orNothing(() => readlinkSync(path)) === target) return
    rmSync(path, { force: true })
    symlinkSync(target, path)
    return
  }
  const text = typeof content === 'string' ? place(content) : site.server.world[content.pem]
  if (orNothing(() => readFileSync(path, 'utf8')) === text) return
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  if (typeof content === 'object' && content.age !== undefined) {
    // The content is always the same.
    const then = Math.floor(Date.now() / 86_400_000) * 86_400 - content.age
    utimesSync(path, then, then)
  }
}

function orNothing<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function reported<T>({ stdout }: Outcome): T | undefined {
  const line = stdout.trim().split('\n').at(-1) ?? ''
  return orNothing(() => JSON.parse(line) as T)
}
