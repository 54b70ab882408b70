import { missingCommands } from '../../test/support/missing.ts'
import type { Nginx } from '../../test/support/nginx.ts'
import type { Counts, Figure } from '../bench.ts'
import { fillStore } from '../fill.ts'
import { INSTALLED } from '../packages.ts'
import { interleave, type Way } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { type Row, row } from '../results.ts'

const AT_ONCE = 50
const ASKED = { atMost: 1.3 }
/** Counts as "the same" within measurement error. */
const ASKED_SAME = { atMost: 1.02 }

/** One server under many names: each name is a separate peer. */
export const hosts: Figure = {
  name: 'hosts',
  title: `Many hosts, on loopback, TLS 1.3 (at most ${AT_ONCE} connections at a time)`,
  missing: () => missingCommands('nginx'),
  async run(counts) {
    const rows: Row[] = []
    for (const line of counts.nodes) rows.push(...(await meetCold(line, 250, counts.middle)))
    for (const line of ['20', '24'] as const) {
      rows.push(...(await meetCold(line, counts.thousands(10_000), counts.long)))
    }
    rows.push(...(await byPeersStored(counts)))
    return { rows }
  },
}

/** Serves `*.bench.example` on all addresses of this machine. */
const startServer = (place: Place): Promise<Nginx> =>
  place.nginx('ecdsa', { address: '0.0.0.0', names: ['*.bench.example'] })

function meetCold(line: Run['line'], count: number, rounds: number): Promise<Row[]> {
  return Place.with(async (place) => {
    const url = urlOf(await startServer(place), 'TLSv1.3')
    const env = { URL: url, COUNT: `${count}`, AT_ONCE: `${AT_ONCE}`, HOSTS: '1' }
    const run: Run = { line, program: 'many.cjs', env }
    const { without, ours } = await interleave(
      { without: place.way(place.job(run), '0'), ours: place.cold(run) },
      rounds,
    )
    const what = `Node ${line}, a first run that meets ${count.toLocaleString('en')} hosts`
    return [row(what, 'wall time', without, ours, ASKED), row(what, 'CPU', without, ours, ASKED)]
  })
}

/** One connection with 1,024 peers in the store compared with 10: to a known host, and to a new one. */
function byPeersStored({ short: rounds }: Counts): Promise<Row[]> {
  return Place.with(async (place) => {
    const url = urlOf(await startServer(place), 'TLSv1.3')
    const stores = { few: await fillStore(place, 10), many: await fillStore(place, 1024) }
    const run = (store: string, host: string): Run => ({
      line: '24',
      program: 'get.cjs',
      preload: INSTALLED,
      env: { URL: url, HOST: `${host}.bench.example`, TICKETKEEP_DIR: store },
    })
    let hosts = 0
    const newHost =
      (store: string): Way =>
      () =>
        place.way(place.job(run(store, `new-${hosts++}`)), '.')()
    const known = await interleave(
      { few: await place.warm(run(stores.few, 'known')), many: await place.warm(run(stores.many, 'known')) },
      rounds,
    )
    const fresh = await interleave({ few: newHost(stores.few), many: newHost(stores.many) }, rounds)
    const rows = (what: string, { few, many }: typeof known) => [
      row(what, 'wall time', few, many, ASKED_SAME),
      row(what, 'CPU', few, many),
    ]
    return [
      ...rows('Node 24, a known host, 1,024 peers stored over 10', known),
      ...rows('Node 24, a new host, 1,024 peers stored over 10', fresh),
    ]
  })
}
