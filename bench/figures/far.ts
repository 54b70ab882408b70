import { availableParallelism } from 'node:os'
import { missingSecretService, startSecretService } from '../../test/support/keychains.ts'
import { missingCommands } from '../../test/support/missing.ts'
import type { TlsVersion } from '../../test/support/nginx.ts'
import type { KeyType } from '../../test/support/pki.ts'
import type { Counts, Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import { differences, interleave, type Way } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { type Asked, type Bar, median, type Result, type Row, resumed, row } from '../results.ts'

const VERSIONS: readonly TlsVersion[] = ['TLSv1.2', 'TLSv1.3']

/** What is compared over one link. */
interface Trip {
  readonly line: Run['line']
  readonly rtt: number
  readonly keyType: KeyType
  /** With a client certificate that the server asks for. */
  readonly client?: boolean
  /** All the ways, not only the warm one. */
  readonly full?: boolean
}

export const far: Figure = {
  name: 'far',
  title: 'One https.get over a link with a round-trip time (TCP included)',
  missing: () => missingCommands('nginx') ?? missingLink(),
  async run(counts) {
    const trips: Trip[] = [5, 20, 50].map((rtt) => ({ line: '24', rtt, keyType: 'rsa', full: true }))
    trips.push(
      { line: '24', rtt: 100, keyType: 'rsa' },
      { line: '24', rtt: 20, keyType: 'ecdsa' },
      { line: '24', rtt: 20, keyType: 'rsa', client: true },
    )
    for (const line of counts.nodes) {
      if (line !== '24') for (const rtt of [5, 50]) trips.push({ line, rtt, keyType: 'rsa' })
    }
    // They mostly wait.
    const lanes = Math.max(1, availableParallelism() - 1)
    const results = new Map<Trip, Result>()
    // The longest first.
    const queue = trips.toSorted((a, b) => Number(b.full ?? false) - Number(a.full ?? false) || b.rtt - a.rtt)
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        for (let trip = queue.shift(); trip; trip = queue.shift()) results.set(trip, await make(trip, counts))
      }),
    )
    const all = trips.map((trip) => results.get(trip)!)
    return {
      rows: all.flatMap(({ rows }) => rows),
      bars: all.flatMap(({ bars = [] }) => bars),
      notes: [...new Set(all.flatMap(({ notes = [] }) => notes))],
    }
  },
}

async function make(trip: Trip, { link: rounds }: Counts): Promise<Result> {
  const { line, rtt, keyType, client = false, full = false } = trip
  const place = await Place.make()
  const rows: Row[] = []
  const bars: Bar[] = []
  const notes: string[] = []
  try {
    const link = await startLink(rtt)
    place.atEnd(() => link.close())
    const nginx = await place.nginx(keyType, {
      address: link.address,
      names: [link.address],
      prefix: link.inside,
      ...(client && { clientCa: place.ca.cert }),
    })
    const identity = client ? await place.ca.issue({ client: true, names: ['bench'], keyType }) : undefined
    const extra = identity && {
      CERT: place.write('client.pem', identity.cert + identity.key),
      TICKETKEEP_CLIENT_CERT: '1',
    }
    const bus = full && missingSecretService() === undefined ? await startSecretService() : undefined
    if (bus) place.atEnd(() => bus.close())
    for (const version of VERSIONS) {
      const run: Run = {
        line,
        program: 'get.cjs',
        env: { URL: urlOf(nginx, version, link.address), ...extra },
      }
      const ways: Record<string, Way | undefined> = { warm: await place.warm(run) }
      if (full) {
        const env = { ...run.env, ...bus?.env, TICKETKEEP_KEY: '', TICKETKEEP_KEY_SOURCE: 'keychain' }
        if (bus)
          ways['warm, Secret Service'] = await place.later({ ...run, env: env as Record<string, string> })
        ways['first run'] = place.cold(run)
        ways.ideal = await place.ideal(run)
      }
      const there = Object.entries(ways).filter(([, way]) => way !== undefined) as [string, Way][]
      const kind = `Node ${line}, ${rtt} ms, ${version}, ${keyType.toUpperCase()}${client ? ', mTLS' : ''}`
      for (const [name, way] of Object.entries(ways)) if (!way) notes.push(`${kind}: ${name} never resumed.`)
      const without = place.way(place.job(run), '.')
      const costs = await interleave<string>({ without, ...Object.fromEntries(there) }, rounds)
      const base = costs.without!
      const service = costs['warm, Secret Service']
      if (service && resumed(service) < rounds) {
        notes.push(
          `${kind}: the key came in time from the Secret Service in ${resumed(service)} of ${rounds} runs.`,
        )
      }
      for (const [name] of there) {
        const ours = costs[name]!
        const isWarm = name.startsWith('warm')
        rows.push(row(`${kind}, ${name}`, 'wall time', base, ours, isWarm ? askedWall(version) : undefined))
        if (full) rows.push(row(`${kind}, ${name}`, 'first byte', base, ours))
        if (version === 'TLSv1.2' && name !== 'first run') {
          const saved = differences(walls(base), walls(ours))
          rows.push({
            ...rows.at(-1)!,
            what: `${kind}, ${name}`,
            measure: 'of a round trip saved',
            without: `${median(walls(base)).toFixed(1)} ms`,
            with: `${median(walls(ours)).toFixed(1)} ms`,
            kind: 'share',
            value: { median: saved.median / rtt, low: saved.low / rtt, high: saved.high / rtt },
            asked: name === 'warm' && !client ? ASKED_SHARE[rtt] : undefined,
          })
        }
      }
      if (costs.ideal && costs.warm && rtt >= 20) {
        rows.push(row(`${kind}, warm over ideal`, 'wall time', costs.ideal, costs.warm, { atMost: 1.05 }))
      }
      if (costs.warm && line === '24' && keyType === 'rsa' && !client) {
        const label = `${rtt} ms`
        bars.push({ group: version, label, without: median(walls(base)), with: median(walls(costs.warm)) })
      }
    }
  } finally {
    await place.end()
  }
  return { rows, bars, notes }
}

const walls = (costs: readonly { wall: number }[]) => costs.map(({ wall }) => wall)
const askedWall = (version: TlsVersion): Asked => ({ atMost: version === 'TLSv1.3' ? 1.02 : 1 })
const ASKED_SHARE: Record<number, Asked> = { 20: { atLeast: 0.8 }, 50: { atLeast: 0.9 } }
