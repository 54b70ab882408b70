import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TlsVersion } from '../../../support/nginx.ts'
import type { NodeLine } from '../../../support/pinned.ts'
import { type InOneProcess, judgeInOneProcess, neighbours } from './one-process.ts'
import { createSite, type Site } from './programs.ts'
import { type ServerName, speaks, startServer } from './servers.ts'
import {
  type Accepted,
  accept,
  copyTickets,
  findGuilty,
  inParallel,
  isBad,
  judgeAlone,
  judgeOneByOne,
  judgeTogether,
  type Refused,
  sharesProcess,
} from './verdicts.ts'
import type { Way } from './way.ts'

// Runs all pairs: a program that accepts a server and stores a ticket, and then one that refuses the server with that ticket in
// the store. For each server all accepting programs run first. A refusing program then has the tickets of all of them, those of
// other Nodes too.

export interface Scope {
  readonly nodes: readonly NodeLine[]
  readonly versions: readonly TlsVersion[]
  readonly servers: readonly ServerName[]
  readonly accepting: readonly Way[]
  readonly refusing: readonly Way[]
  /** Runs not every way to refuse on every Node and with every server, and none in the process that has accepted. */
  readonly isBrief: boolean
}

export interface Result {
  readonly accepted: readonly Accepted[]
  /** With an accepting program whose ticket it got through with, if it did. */
  readonly refused: readonly (Refused & { readonly guilty: Accepted | undefined })[]
  readonly inOneProcess: readonly InOneProcess[]
}

export async function runPairs(scope: Scope): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-pairs-'))
  const results: Result[] = []
  try {
    for (const version of scope.versions) {
      for (const name of scope.servers.filter((one) => speaks(one, version))) {
        const server = await startServer(name, version)
        try {
          results.push(await runSite(scope, createSite(server, join(folder, version))))
        } finally {
          await server.close()
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return {
    accepted: results.flatMap(({ accepted }) => accepted),
    refused: results.flatMap(({ refused }) => refused),
    inOneProcess: results.flatMap(({ inOneProcess }) => inOneProcess),
  }
}

async function runSite(scope: Scope, site: Site): Promise<Result> {
  const { accepting, refusing } = waysOf(scope, site)
  const kept = await inParallel(
    accepting.map(
      ({ way, node }) =>
        () =>
          accept(site, way, node),
    ),
  )
  const stores = kept.filter(({ accepted }) => accepted.notCounted === undefined)
  const all = join(site.folder, 'all')
  mkdirSync(all)
  for (const { store } of stores) copyTickets(store, all)

  const refused: Refused[] = []
  for (const node of scope.nodes) {
    const ways = refusing.filter((one) => one.node === node).map(({ way }) => way)
    refused.push(...(await judgeTogether(site, ways.filter(sharesProcess), node, all)))
    const others = ways.filter((way) => !sharesProcess(way))
    refused.push(...(await inParallel(others.map((way) => () => judgeAlone(site, way, node, all)))))
  }
  const withGuilty = await inParallel(
    refused.map((first) => async () => {
      const one = isBad(first.verdict) ? first : await judgeOneByOne(site, first, stores)
      return { ...one, guilty: isBad(one.verdict) ? await findGuilty(site, one, stores) : undefined }
    }),
  )

  const optionsOnly = scope.isBrief ? [] : accepting.filter(({ way }) => way.connect === undefined)
  const inOneProcess = await inParallel(
    optionsOnly.map(({ way, node }) => () => {
      const ways = refusing.filter((one) => one.node === node).map((one) => one.way)
      return judgeInOneProcess(site, way, neighbours(ways), node)
    }),
  )
  return {
    accepted: kept.map(({ accepted }) => accepted),
    refused: withGuilty,
    inOneProcess: inOneProcess.flat(),
  }
}

/** What runs with a server, and on which Nodes. */
function waysOf(scope: Scope, { server: { name, world } }: Site) {
  const fits = (way: Way, node: NodeLine) =>
    way.needs === undefined &&
    (way.nodes === undefined || way.nodes.includes(node)) &&
    (way.versions === undefined || way.versions.includes(world.version))
  const onEachNode = (ways: readonly Way[]) =>
    ways.flatMap((way) => {
      const nodes = scope.nodes.filter((node) => fits(way, node))
      return nodes.map((node) => ({ way, node }))
    })
  const accepting = onEachNode(scope.accepting.filter(({ on = ['plain'] }) => on.includes(name)))
  const refusing = onEachNode(scope.refusing.filter(({ on }) => on === undefined || on.includes(name)))
  if (!scope.isBrief) return { accepting, refusing }
  /** Each on one of its Nodes. */
  const isItsTurn = ({ way, node }: { way: Way; node: NodeLine }, ways: readonly Way[]) => {
    const nodes = scope.nodes.filter((one) => fits(way, one))
    return nodes[ways.indexOf(way) % nodes.length] === node
  }
  return {
    // A ticket under CAs from the options is offered on every Node.
    accepting: accepting.filter((one) => {
      const isEnough = name === 'plain' && (sharesProcess(one.way) || one.way.isSlow)
      return !isEnough || isItsTurn(one, scope.accepting)
    }),
    refusing: refusing.filter((one) => {
      if (sharesProcess(one.way) && !one.way.judge) return true
      return (name === 'plain' || one.way.on !== undefined) && isItsTurn(one, scope.refusing)
    }),
  }
}
