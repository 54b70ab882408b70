import { missingCommands } from '../../test/support/missing.ts'
import type { Figure } from '../bench.ts'
import { interleave } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { median, type Row, row } from '../results.ts'

export const parallel: Figure = {
  name: 'parallel',
  title: 'Many connections at once, on loopback',
  missing: () => missingCommands('nginx'),
  async run({ few: rounds }) {
    const rows: Row[] = []
    const notes: string[] = []
    for (const line of ['20', '24'] as const) {
      for (const count of [15, 50]) {
        const place = await Place.make()
        try {
          const nginx = await place.nginx('rsa')
          const run: Run = {
            line,
            program: 'many.cjs',
            env: { URL: urlOf(nginx, 'TLSv1.3'), COUNT: String(count) },
          }
          const ours = (await place.warm(run, '1'))!
          const costs = await interleave({ without: place.way(place.job(run), '0'), ours }, rounds)
          const what = `Node ${line}, TLSv1.3, ${count} connections`
          rows.push(row(what, 'CPU', costs.without, costs.ours))
          rows.push(row(what, 'wall time', costs.without, costs.ours))
          notes.push(`${what}: ${median(costs.ours.map(({ out }) => Number(out)))} of them resumed.`)
        } finally {
          await place.end()
        }
      }
    }
    return { rows, notes: [...notes, '16 tickets are kept for one origin, so no more can resume at once.'] }
  },
}
