import { missingCommands } from '../../test/support/missing.ts'
import type { TlsVersion } from '../../test/support/nginx.ts'
import type { Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import { INSTALLED, PRECOMPILED } from '../packages.ts'
import { differences, interleave, type Spread } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { type Asked, type Cell, type Row, row } from '../results.ts'
import { nameOf } from './one-get.ts'

/** A comparison over one link, run on each Node. */
interface Trip {
  /** Milliseconds. */
  readonly rtt: number
  readonly version: TlsVersion
  /** Fraction of the rounds to run: a longer link needs fewer for the same precision. */
  readonly rounds: number
  /** The target for the wall time. */
  readonly asked?: Asked
  /** The target for the wall time with precompiled code. */
  readonly askedPrecompiled?: Asked
  /** The target for the saved share of a round trip. */
  readonly askedSaved?: Asked
  readonly only?: Run['line']
}

const TRIPS: readonly Trip[] = [
  { rtt: 5, version: 'TLSv1.2', rounds: 0.5, only: '24' },
  { rtt: 5, version: 'TLSv1.3', rounds: 1, askedPrecompiled: { atMost: 1.03 } },
  { rtt: 20, version: 'TLSv1.2', rounds: 0.5, askedSaved: { atLeast: 0.8 } },
  { rtt: 20, version: 'TLSv1.3', rounds: 0.7, asked: { atMost: 1.02 } },
  { rtt: 50, version: 'TLSv1.2', rounds: 0.3, askedSaved: { atLeast: 0.9 } },
  { rtt: 50, version: 'TLSv1.3', rounds: 0.3, asked: { atMost: 1.02 } },
]

export const far: Figure = {
  name: 'far',
  title: 'One https.get of a later run, over a link with a round-trip time (TCP included)',
  missing: () => missingCommands('nginx') ?? missingLink(),
  async run({ short, nodes }) {
    const rows: Row[] = []
    const cells: Cell[] = []
    for (const rtt of new Set(TRIPS.map((trip) => trip.rtt))) {
      await Place.with(async (place) => {
        const link = await startLink(rtt)
        place.atEnd(() => link.close())
        const { address, inside: prefix } = link
        const nginx = await place.nginx('rsa', { address, names: [address], prefix })
        for (const trip of TRIPS.filter((one) => one.rtt === rtt)) {
          const rounds = Math.ceil(short * trip.rounds)
          const url = urlOf(nginx, trip.version, address)
          for (const line of trip.only ? [trip.only] : nodes) {
            const made = await compare(place, trip, { line, program: 'get.cjs', env: { URL: url } }, rounds)
            rows.push(...made)
            const ratio = made[0]!.value.median
            if (line === '24') cells.push({ line: `${rtt} ms`, column: nameOf(trip.version), ratio })
          }
        }
      })
    }
    return { rows, cells }
  },
}

async function compare(place: Place, trip: Trip, run: Run, rounds: number): Promise<Row[]> {
  const { rtt, version, asked, askedPrecompiled, askedSaved } = trip
  const costs = await interleave<string>(
    {
      without: place.way(place.job(run), '.'),
      installed: await place.warm({ ...run, preload: INSTALLED }),
      ...(askedPrecompiled && { precompiled: await place.warm({ ...run, preload: PRECOMPILED }) }),
    },
    rounds,
  )
  const [without, installed] = [costs.without!, costs.installed!]
  const what = `Node ${run.line}, ${rtt} ms, ${nameOf(version)}`
  const first = row(what, 'wall time', without, installed, asked)
  const rows = [first]
  if (version === 'TLSv1.2') {
    const saved = differences(walls(without), walls(installed))
    const value = shareOf(rtt, saved)
    rows.push({ ...first, measure: 'of a round trip saved', kind: 'share', value, asked: askedSaved })
  }
  if (costs.precompiled) {
    rows.push(row(`${what}, precompiled`, 'wall time', without, costs.precompiled, askedPrecompiled))
  }
  return rows
}

const walls = (costs: readonly { wall: number }[]) => costs.map(({ wall }) => wall)

const shareOf = (rtt: number, { median, low, high }: Spread): Spread => ({
  median: median / rtt,
  low: low / rtt,
  high: high / rtt,
})
