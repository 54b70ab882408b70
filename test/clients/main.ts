/**
 * `npm run test:clients`: real clients against real servers, each in two processes with one store. It writes
 * docs/clients.md.
 *
 *     npm run test:clients -- [--client NAME,...] [--server NAME,...] [--node 20,22,24,26]
 *
 * With an option only that part runs, and the page keeps the last results of the others.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildIfStale } from '../support/build.ts'
import { findCommand, missingNode } from '../support/missing.ts'
import { install, NODE_LINES } from '../support/pinned.ts'
import { CACHE, ROOT } from '../support/places.ts'
import { type Cell, type Result, runCell, Site } from './cell.ts'
import { CLIENTS } from './clients.ts'
import { explain, isResumed } from './explained.ts'
import { renderPage } from './page.ts'
import type { Server } from './server.ts'
import { SERVERS } from './servers.ts'

const RESULTS = join(CACHE, 'clients.json')
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

const { values: asked } = parseArgs({
  options: { client: { type: 'string' }, server: { type: 'string' }, node: { type: 'string' } },
})

/** An empty list means all. */
const listed = (names: string | undefined) => (names ? names.toLowerCase().split(',') : [])
const isAsked = (names: readonly string[], name: string) =>
  names.length === 0 || names.includes(name.toLowerCase())

/** Every server on Node 24 and directly. On other Nodes and through a proxy the first server of each protocol. */
function plan(): Cell[] {
  const servers = SERVERS.filter(isThere)
  const nodes = NODE_LINES.filter((line) => missingNode(line) === undefined)
  const all = CLIENTS.flatMap((client) =>
    (client.nodes ?? nodes).flatMap((node) => {
      const speaking = servers.filter(({ speaks }) => speaks.includes(client.speaks))
      return speaking.flatMap((server, i) =>
        (client.routes ?? ['direct']).flatMap((route) =>
          i > 0 && (client.oneServer || node !== '24' || route !== 'direct')
            ? []
            : VERSIONS.map((version) => ({ client, server, version, route, node })),
        ),
      )
    }),
  )
  return all.filter(
    ({ client, server, node }) =>
      isAsked(listed(asked.client), client.name) &&
      isAsked(listed(asked.server), server.name) &&
      isAsked(listed(asked.node), node) &&
      nodes.includes(node as (typeof NODE_LINES)[number]),
  )
}

function isThere({ name, needs: [command, debianPackage] = ['node', 'nodejs'] }: Server): boolean {
  const found = findCommand(command) !== undefined || existsSync(command)
  if (!found) console.log(`left out: ${name} (apt-get install ${debianPackage})`)
  return found
}

const keyOf = ({ client, server, version, route, node }: Result) =>
  [client, server, version, route, node].join()

const describe = ({ client, server, version, route, node }: Result) =>
  `${client} on Node ${node}, ${server}, ${version}${route === 'direct' ? '' : `, ${route}`}`

const lastResults = (): Result[] =>
  existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, 'utf8')) as Result[]) : []

buildIfStale()
for (const set of ['nodes', 'clients', 'libraries', 'runtimes'] as const) {
  const reason = install(set)
  if (reason) throw new Error(reason)
}
mkdirSync(CACHE, { recursive: true })
const site = new Site()
let faults = 0
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => site.close().then(() => process.exit(1)))
}
for (const cell of plan()) {
  const result = await runCell(cell, site)
  writeFileSync(
    RESULTS,
    JSON.stringify([...lastResults().filter((one) => keyOf(one) !== keyOf(result)), result]),
  )
  const { connections, resumed, fault } = result
  const why = isResumed(result) ? '' : (explain(result) ?? `UNEXPLAINED ${result.reasons.join('; ')}`)
  if (fault || why.startsWith('UNEXPLAINED')) faults++
  console.log(
    `${describe(result)}: ${fault ? `FAULT ${fault}` : `${resumed} of ${connections} resumed${why && `: ${why}`}`}`,
  )
}
await site.close()
writeFileSync(join(ROOT, 'docs/clients.md'), renderPage(lastResults()))
console.log(
  faults === 0 ? 'docs/clients.md is written' : `${faults} cells with a fault or without an explanation`,
)
process.exitCode = faults === 0 ? 0 : 1
