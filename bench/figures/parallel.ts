import { missingCommands } from '../../test/support/missing.ts'
import type { Figure } from '../bench.ts'
import { interleave } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { type Row, resumedIn, resumedRow, row } from '../results.ts'

const ASKED = { 15: { atMost: 1.05 }, 50: { atMost: 1 } }

export const parallel: Figure = {
  name: 'parallel',
  title: 'Many connections at once of a later run, on loopback, TLS 1.3',
  missing: () => missingCommands('nginx'),
  async run({ short, nodes }) {
    const rounds = Math.ceil(short * 0.4)
    const rows: Row[] = []
    for (const line of nodes) {
      for (const count of [15, 50] as const) {
        await Place.with(async (place) => {
          const nginx = await place.nginx('rsa')
          const env = { URL: urlOf(nginx, 'TLSv1.3'), COUNT: `${count}`, AT_ONCE: `${count}` }
          const run: Run = { line, program: 'many.cjs', env }
          const { without, ours } = await interleave(
            { without: place.way(place.job(run), '0'), ours: await place.warm(run, '') },
            rounds,
          )
          const what = `Node ${line}, ${count} connections`
          rows.push(row(what, 'CPU', without, ours, ASKED[count]))
          rows.push(row(what, 'wall time', without, ours, ASKED[count]))
          const resumed = ours.reduce((sum, cost) => sum + resumedIn(cost), 0)
          rows.push(resumedRow(what, resumed, count * rounds, rounds, { atLeast: 1 }))
        })
      }
    }
    return { rows }
  },
}
