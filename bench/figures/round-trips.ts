import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { missingCommands } from '../../test/support/missing.ts'
import { type Nginx, startNginx, type TlsVersion } from '../../test/support/nginx.ts'
import { type NodeLine, nodeBinary } from '../../test/support/pinned.ts'
import { DIST, ROOT } from '../../test/support/places.ts'
import { freePort } from '../../test/support/ports.ts'
import type { Counts, Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import type { Cost } from '../measure.ts'
import { INSTALLED } from '../packages.ts'
import { differences, interleave, type Spread } from '../paired.ts'
import { Place, PROGRAMS, type Run, urlOf } from '../place.ts'
import { type Asked, type Row, resumedRow, row } from '../results.ts'
import { compileCache } from './library.ts'

const LIBRARY = join(DIST, 'index.cjs')
const UNDICI = join(ROOT, 'node_modules/undici')

/** Milliseconds. */
const NEAR = 20
const FAR = 50

/**
 * The number of pairs for one measurement on one Node. The saved time is a round trip, which is large compared with the
 * machine's noise.
 */
const pairsOf = ({ short }: Counts) => Math.ceil(short * 0.09)

/** Cases in which TLS 1.3 saves a round trip, and the use of a stored ticket if one name has several servers. */
export const roundTrips: Figure = {
  name: 'round-trips',
  title: 'What saves a round trip with TLS 1.3, and several servers behind one name',
  missing: () => missingCommands('nginx') ?? missingLink(),
  async run(counts) {
    const rows: Row[] = []
    for (const rtt of [NEAR, FAR]) {
      rows.push(...(await oneGroup(rtt, counts)))
      rows.push(...(await longChains(rtt, counts)))
      rows.push(...(await threeServers(rtt, counts)))
    }
    return { rows }
  },
}

/** A server that allows only P-256, which costs every Node a HelloRetryRequest. */
const oneGroup = (rtt: number, counts: Counts) =>
  Place.with(async (place) => {
    const { address, nginx } = await far(place, rtt, 'prime256v1')
    const env = { URL: urlOf(nginx, 'TLSv1.3', address), CA: place.caFile, NODE_EXTRA_CA_CERTS: undefined }
    const rows: Row[] = []
    for (const line of counts.nodes) {
      const what = `P-256 alone, Node ${line}, ${rtt} ms`
      const plain: Run = { line, program: 'get.cjs', env }
      const agent = {
        ...plain,
        program: 'get-by-agent.cjs',
        preload: false as const,
        env: { ...env, LIBRARY },
      }
      const asked = { atLeast: 0.9 }
      rows.push(...(await saved(place, `${what}, TicketAgent`, plain, agent, rtt, counts, asked)))
      // Node 20 has none.
      if (line !== '20') {
        const { of, env: more } = compileCache(place)
        const [one, other] = [plain, agent].map((run) => ({ ...run, env: { ...run.env, ...more } }))
        rows.push(...(await saved(place, `${what}, TicketAgent${of}`, one!, other!, rtt, counts, asked)))
      }
      if (rtt === NEAR) continue
      const undici = { ...plain, program: 'get-by-connector.cjs', env: { ...env, UNDICI } }
      const connector = { ...undici, preload: false as const, env: { ...undici.env, LIBRARY } }
      rows.push(...(await saved(place, `${what}, ticketConnector`, undici, connector, rtt, counts, asked)))
      const twice = { line, program: 'get-twice.cjs', env: { URL: env.URL } }
      const preload = { ...twice, preload: INSTALLED }
      rows.push(
        ...(await saved(place, `${what}, two requests under the preload`, twice, preload, rtt, counts)),
      )
    }
    return rows
  })

/** Certificates that exceed a server's first flight (10 packets, about 14 KB). */
const longChains = (rtt: number, counts: Counts) =>
  Place.with(async (place) => {
    const link = await startLink(rtt)
    place.atEnd(() => link.close())
    const { address, inside: prefix } = link
    // A leaf certificate of 9 KB: a session contains it, and Node emits no session over 10 KB.
    const names = Array.from({ length: 150 }, (_, i) => `name-${i}.of-a-long-certificate.example`)
    const long = { keyType: 'rsa', commonName: 'long '.repeat(400) } as const
    const lower = await (await place.ca.intermediate(long)).intermediate(long)
    const identity = await lower.issue({ keyType: 'rsa', names: [address, ...names] })
    const nginx = await startNginx({ ...identity, address, prefix })
    place.atEnd(() => nginx.stop())
    const mlDsa = await startMlDsa(place, link.inside, address)
    const rows: Row[] = []
    for (const line of counts.nodes) {
      const chains = {
        'RSA, 16 KB': { URL: urlOf(nginx, 'TLSv1.3', address), CA: place.caFile },
        // Supported since OpenSSL 3.5.
        ...(line !== '20' && rtt === FAR && { 'ML-DSA-65, 16 KB': mlDsa }),
      }
      for (const [chain, env] of Object.entries(chains)) {
        const run = { line, program: 'get.cjs', env }
        const what = `${chain}, Node ${line}, ${rtt} ms`
        rows.push(
          ...(await saved(place, what, run, { ...run, preload: INSTALLED }, rtt, counts, { atLeast: 0.8 })),
        )
      }
    }
    return rows
  })

/** Three servers used in turn, each with its own ticket keys. */
const threeServers = (rtt: number, counts: Counts) =>
  Place.with(async (place) => {
    const ports = { 'TLSv1.2': await freePort(), 'TLSv1.3': await freePort() }
    const identity = await place.ca.issue({ keyType: 'rsa', names: ['srv.example'] })
    const addresses: string[] = []
    for (let i = 0; i < 3; i++) {
      const link = await startLink(rtt)
      place.atEnd(() => link.close())
      const nginx = await startNginx({ ...identity, ports, address: link.address, prefix: link.inside })
      place.atEnd(() => nginx.stop())
      addresses.push(link.address)
    }
    const rows: Row[] = []
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      // The number of resumptions does not depend on the distance.
      for (const line of rtt === NEAR ? counts.nodes : counts.nodes.slice(-1))
        rows.push(...(await inTurn(place, { line, version, rtt, addresses, ports })))
    }
    return rows
  })

interface Turns {
  readonly line: NodeLine
  readonly version: TlsVersion
  readonly rtt: number
  readonly addresses: readonly string[]
  readonly ports: Nginx['ports']
}

const ROUNDS = 3

async function inTurn(place: Place, { line, version, rtt, addresses, ports }: Turns): Promise<Row[]> {
  const store = place.store()
  const ways = (preload: string | false) =>
    addresses.map((address) => {
      const env = { URL: `https://srv.example:${ports[version]}/`, HOST: 'srv.example', ADDRESS: address }
      return place.way(
        place.job({ line, program: 'get.cjs', preload, env: { ...env, TICKETKEEP_DIR: store } }),
      )
    })
  const ours = ways(INSTALLED)
  const plain = ways(false)
  for (const way of ours) await way()
  const costs: { without: Cost[]; with: Cost[] } = { without: [], with: [] }
  const isPaired = version === 'TLSv1.2'
  for (let i = 0; i < ROUNDS * addresses.length; i++) {
    const [base, our] = [plain[i % addresses.length]!, ours[i % addresses.length]!]
    if (isPaired && i % 2 === 0) costs.without.push(await base())
    costs.with.push(await our())
    if (isPaired && i % 2 === 1) costs.without.push(await base())
  }
  const resumed = costs.with.filter(({ out }) => out.startsWith('r')).length
  const what = `three servers in turn, Node ${line}, ${rtt} ms, ${version.replace('v', ' ')}`
  const rows = [resumedRow(what, resumed, costs.with.length, ROUNDS, { atLeast: 0.9 })]
  if (isPaired) rows.push(shareRow(what, costs.without, costs.with, rtt))
  return rows
}

/** An nginx behind a link. */
async function far(place: Place, rtt: number, groups: string) {
  const link = await startLink(rtt)
  place.atEnd(() => link.close())
  const { address, inside: prefix } = link
  const nginx = await place.nginx('rsa', { groups, address, names: [address], prefix })
  return { address, nginx }
}

/** A server with certificates made by Node 24. @returns what its clients need */
async function startMlDsa(place: Place, inside: readonly string[], address: string) {
  const CA = join(place.sandbox.directory, 'ml-dsa-root.pem')
  const [command = '', ...args] = inside
  const program = [nodeBinary('24'), join(PROGRAMS, 'ml-dsa-server.cjs'), address, CA]
  const server = spawn(command, [...args, ...program], { stdio: ['ignore', 'pipe', 'inherit'] })
  place.atEnd(async () => {
    const ended = once(server, 'exit')
    server.kill()
    await ended
  })
  const [port] = await once(server.stdout, 'data')
  // Node's servers send no ticket with a resumption.
  return { URL: `https://${address}:${String(port).trim()}/`, CA, TICKETKEEP_REUSE: '1' }
}

async function saved(
  place: Place,
  what: string,
  plain: Run,
  ours: Run,
  rtt: number,
  counts: Counts,
  asked?: Asked,
): Promise<Row[]> {
  const costs = await interleave(
    { without: place.way(place.job(plain)), with: await place.warm(ours) },
    pairsOf(counts),
  )
  return [
    row(what, 'wall time', costs.without, costs.with),
    shareRow(what, costs.without, costs.with, rtt, asked),
  ]
}

function shareRow(
  what: string,
  without: readonly Cost[],
  ours: readonly Cost[],
  rtt: number,
  asked?: Asked,
): Row {
  const walls = (costs: readonly Cost[]) => costs.map(({ wall }) => wall / rtt)
  const value: Spread = differences(walls(without), walls(ours))
  return {
    ...row(what, 'wall time', without, ours),
    measure: 'of a round trip saved',
    kind: 'share',
    value,
    asked,
  }
}
