import { createHash } from 'node:crypto'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { missingCommands } from '../../test/support/missing.ts'
import type { Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import type { Cost } from '../measure.ts'
import { INSTALLED } from '../packages.ts'
import { Place, PROGRAMS, type Run, urlOf } from '../place.ts'
import { ownRow, type Row, row } from '../results.ts'

const RTT = 20
const DELAY = 20

/**
 * The delay is made by `slow-fs.cjs` in the program itself: no tool can delay operations in one folder whose files have
 * random names.
 */
export const slowStore: Figure = {
  name: 'slow-store',
  title: `A store on a slow file system: one https.get at ${RTT} ms, TLS 1.3, Node 24`,
  missing: () => missingCommands('nginx') ?? missingLink(),
  run: ({ middle: rounds }) =>
    Place.with(async (place) => {
      const link = await startLink(RTT)
      place.atEnd(() => link.close())
      const { address, inside: prefix } = link
      const nginx = await place.nginx('rsa', { address, names: [address], prefix })
      const run = (store: string, delay: number, ours: boolean): Run => {
        const preloads = [join(PROGRAMS, 'slow-fs.cjs'), ...(ours ? [INSTALLED] : [])]
        return {
          line: '24',
          program: 'get.cjs',
          env: {
            URL: urlOf(nginx, 'TLSv1.3', address),
            NODE_OPTIONS: preloads.map((path) => `--require ${JSON.stringify(path)}`).join(' '),
            TICKETKEEP_DIR: store,
            SLOW: store,
            DELAY: `${delay}`,
          },
        }
      }
      const filled = place.store()
      await place.warm(run(filled, 0, true))

      const costs = { without: [] as Cost[], quick: [] as Cost[], first: [] as Cost[], later: [] as Cost[] }
      for (let round = 0; round < rounds; round++) {
        // A new path each time, because a program that finds a store slow leaves a mark for others.
        const store = place.store()
        cpSync(filled, store, { recursive: true })
        const measure = (delay: number, ours: boolean) => place.way(place.job(run(store, delay, ours)))()
        costs.without.push(await measure(0, false))
        costs.quick.push(await measure(0, true))
        costs.first.push(await measure(DELAY, true))
        costs.later.push(await measure(DELAY, true))
        removeWordOfIt(store)
      }
      const { without, quick, first, later } = costs
      const rows: Row[] = [
        row('no delay', 'wall time', without, quick),
        ownRow('no delay', 'calls of fs functions', 'count', quick.map(callsIn), { atMost: 8 }),
        row(`${DELAY} ms a call, the first process`, 'wall time', without, first),
        ownRow(`${DELAY} ms a call, the first process`, 'calls of fs functions', 'count', first.map(callsIn)),
        row(`${DELAY} ms a call, the next one`, 'wall time', without, later),
        ownRow(`${DELAY} ms a call, the next one`, 'calls of fs functions', 'count', later.map(callsIn)),
      ]
      return { rows }
    }),
}

const callsIn = ({ out }: Cost) => Number(out.split(' ')[1])

/** The name of the mark is as in `src/store/slow-store.ts`. */
function removeWordOfIt(store: string): void {
  const name = createHash('sha256').update(store).digest('hex').slice(0, 16)
  rmSync(`/dev/shm/ticketkeep-${process.geteuid?.()}-${name}`, { force: true })
}
