import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startConnectProxy } from '../../test/support/connect-proxy.ts'
import { missingClients, missingCommands, missingNode } from '../../test/support/missing.ts'
import type { Nginx } from '../../test/support/nginx.ts'
import { clientScript, nodeBinary } from '../../test/support/pinned.ts'
import { ROOT_PACKAGE, startRegistry } from '../../test/support/registry.ts'
import { environment } from '../../test/support/run-program.ts'
import type { Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import type { Cost } from '../measure.ts'
import { INSTALLED } from '../packages.ts'
import { interleave } from '../paired.ts'
import { Place, urlOf } from '../place.ts'
import { type Row, resumedRow, row } from '../results.ts'

const CLIENTS = {
  npm: [clientScript('npm/bin/npm-cli.js'), 'install', ROOT_PACKAGE, '--no-audit', '--no-fund'],
  pnpm: [clientScript('pnpm/bin/pnpm.cjs'), 'add', ROOT_PACKAGE],
  'yarn 1': [clientScript('yarn/bin/yarn.js'), 'add', ROOT_PACKAGE, '--non-interactive', '--no-progress'],
}

// A name: if the host is an address, npm asks the server behind a proxy for the name localhost.
const HOST = 'registry.test'

const RTT = 20
const CLIENT_NAMES = Object.keys(CLIENTS) as (keyof typeof CLIENTS)[]

export const installs: Figure = {
  name: 'installs',
  title: `A later install behind a CONNECT proxy, from a registry ${RTT} ms away (21 packages, TLS 1.3, Node 24)`,
  missing: () => missingCommands('nginx') ?? missingNode('24') ?? missingClients() ?? missingLink(),
  run: ({ middle: rounds }) =>
    Place.with(async (place) => {
      // The delay is behind the proxy.
      const link = await startLink(RTT)
      place.atEnd(() => link.close())
      const registry = await startRegistry(link)
      place.atEnd(() => registry.stop())
      const nginx = await place.nginx('rsa', {
        upstream: registry.url,
        address: link.address,
        names: [HOST],
        prefix: link.inside,
      })
      const proxy = await startConnectProxy({ [HOST]: link.address })
      place.atEnd(() => proxy.close())
      const settings = [
        `registry=${urlOf(nginx, 'TLSv1.3', HOST)}`,
        `cafile=${place.caFile}`,
        `https-proxy=${proxy.url}`,
      ]
      const rows: Row[] = []
      for (const client of CLIENT_NAMES) rows.push(...(await compare(place, nginx, client, settings, rounds)))
      // Without a proxy, from a registry that costs each connection of Node a HelloRetryRequest.
      const p256 = await place.nginx('rsa', {
        upstream: registry.url,
        address: link.address,
        names: [link.address],
        prefix: link.inside,
        groups: 'prime256v1',
      })
      const direct = [`registry=${urlOf(p256, 'TLSv1.3', link.address)}`, `cafile=${place.caFile}`]
      const [wall] = await compare(place, p256, 'npm', direct, rounds)
      rows.push({
        ...wall!,
        what: 'npm without a proxy, from a registry that allows P-256 alone',
        asked: undefined,
      })
      return { rows }
    }),
}

async function compare(
  place: Place,
  nginx: Nginx,
  client: keyof typeof CLIENTS,
  settings: readonly string[],
  rounds: number,
): Promise<Row[]> {
  const store = place.store()
  let seen: string[] = []
  const ours = async () => {
    const made = await one(place, nginx, client, settings, store)
    seen.push(...made.seen)
    return made.cost
  }
  const without = async () => (await one(place, nginx, client, settings)).cost
  await ours()
  seen = []
  const costs = await interleave({ without, ours }, rounds)
  const resumed = seen.filter((reused) => reused === 'r').length
  return [
    row(client, 'wall time', costs.without, costs.ours, { atMost: 1 }),
    row(client, 'CPU', costs.without, costs.ours, { atMost: 1.03 }),
    resumedRow(client, resumed, seen.length, rounds, { atLeast: 0.95 }),
  ]
}

/** Installs once, into an empty project and with an empty client cache. */
async function one(
  place: Place,
  nginx: Nginx,
  client: keyof typeof CLIENTS,
  settings: readonly string[],
  store?: string,
): Promise<{ cost: Cost; seen: string[] }> {
  await nginx.requests()
  const project = mkdtempSync(join(place.sandbox.directory, 'project-'))
  const home = join(project, '.home')
  mkdirSync(home)
  writeFileSync(join(project, 'package.json'), '{"name":"project","version":"1.0.0"}')
  writeFileSync(join(project, '.npmrc'), `${settings.join('\n')}\n`)
  const { sandbox } = place
  const env = environment({
    sandbox,
    preload: store !== undefined && INSTALLED,
    env: { HOME: home, TICKETKEEP_DIR: store },
  })
  const cost = await place.way({ argv: [nodeBinary('24'), ...CLIENTS[client]], env, cwd: project })()
  const connections = new Map<number, string>()
  for (const { connection, reused } of await nginx.requests(1)) connections.set(connection, reused)
  rmSync(project, { recursive: true, force: true })
  return { cost, seen: [...connections.values()] }
}
