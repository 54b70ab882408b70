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
import { interleave } from '../paired.ts'
import { Place, urlOf } from '../place.ts'
import { type Row, row } from '../results.ts'

const CLIENTS = {
  npm: [clientScript('npm/bin/npm-cli.js'), 'install', ROOT_PACKAGE, '--no-audit', '--no-fund'],
  pnpm: [clientScript('pnpm/bin/pnpm.cjs'), 'add', ROOT_PACKAGE],
  'yarn 1': [clientScript('yarn/bin/yarn.js'), 'add', ROOT_PACKAGE, '--non-interactive', '--no-progress'],
}

// By name: npm asks a proxy's far end for the name localhost where the host is an address.
const HOST = 'registry.test'

export const installs: Figure = {
  name: 'installs',
  title: 'An install behind a CONNECT proxy, from a registry far away (21 packages, TLS 1.3, Node 24)',
  missing: () => missingCommands('nginx') ?? missingNode('24') ?? missingClients() ?? missingLink(),
  async run({ install: rounds }) {
    const rows: Row[] = []
    for (const rtt of [20, 50]) {
      const place = await Place.make()
      try {
        // Far away is what is behind the proxy.
        const link = await startLink(rtt)
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
        for (const client of Object.keys(CLIENTS) as (keyof typeof CLIENTS)[]) {
          const store = place.store()
          const connections = { all: 0, resumed: 0 }
          const way = (preload: boolean) => async () => {
            const { cost, seen } = await one(place, nginx, client, settings, preload && store)
            if (preload) {
              connections.all += seen.length
              connections.resumed += seen.filter((reused) => reused === 'r').length
            }
            return cost
          }
          await way(true)()
          Object.assign(connections, { all: 0, resumed: 0 })
          const costs = await interleave({ without: way(false), ours: way(true) }, rounds)
          const what = `${client}, ${rtt} ms`
          rows.push(row(what, 'wall time', costs.without, costs.ours))
          rows.push(row(what, 'CPU', costs.without, costs.ours))
          const share = connections.resumed / connections.all
          rows.push({
            what,
            measure: 'resumed',
            without: '0',
            with: String(connections.resumed),
            kind: 'share',
            value: { median: share, low: share, high: share },
            runs: rounds,
            asked: { atLeast: 0.95 },
          })
        }
      } finally {
        await place.end()
      }
    }
    return { rows }
  },
}

/** One install into an empty project with an empty cache of the client's own. */
async function one(
  place: Place,
  nginx: Nginx,
  client: keyof typeof CLIENTS,
  settings: readonly string[],
  store: string | false,
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
    preload: store !== false,
    env: { HOME: home, TICKETKEEP_DIR: store || undefined },
  })
  const cost = await place.way({ argv: [nodeBinary('24'), ...CLIENTS[client]], env, cwd: project })()
  const connections = new Map<number, string>()
  for (const { connection, reused } of await nginx.requests(1)) connections.set(connection, reused)
  rmSync(project, { recursive: true, force: true })
  return { cost, seen: [...connections.values()] }
}
