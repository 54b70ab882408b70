import { join } from 'node:path'
import type { Figure } from '../bench.ts'
import { interleave } from '../paired.ts'
import { Place, PROGRAMS } from '../place.ts'
import { type Row, row } from '../results.ts'

const CASES = [
  { name: 'prints a line', program: 'prints.cjs', atMost: 1.02 },
  { name: 'does nothing', program: 'silent.cjs', atMost: 1.05 },
]

export const noTls: Figure = {
  name: 'no-tls',
  title: 'A process that makes no TLS connection',
  async run({ local, nodes }) {
    const place = await Place.make()
    const rows: Row[] = []
    try {
      for (const { name, program, atMost } of CASES) {
        for (const line of nodes) {
          const way = (preload: boolean | string) => place.way(place.job({ line, program, preload }))
          const costs = await interleave(
            { without: way(false), ours: way(true), empty: way(join(PROGRAMS, 'silent.cjs')) },
            local,
          )
          const what = `Node ${line}, ${name}`
          rows.push(row(what, 'wall time', costs.without, costs.ours, { atMost }))
          rows.push(row(what, 'CPU', costs.without, costs.ours))
          rows.push(row(`${what}; an empty preload`, 'wall time', costs.without, costs.empty))
          rows.push(row(`${what}; an empty preload`, 'CPU', costs.without, costs.empty))
        }
      }
    } finally {
      await place.end()
    }
    return { rows }
  },
}
