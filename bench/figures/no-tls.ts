import type { Figure } from '../bench.ts'
import { EMPTY, INSTALLED, LOADER } from '../packages.ts'
import { interleave } from '../paired.ts'
import { Place } from '../place.ts'
import { type Row, row } from '../results.ts'

const PROGRAMS = { 'prints a line': 'prints.cjs', 'does nothing': 'silent.cjs' }

export const noTls: Figure = {
  name: 'no-tls',
  title: 'A process that makes no TLS connection ("without" is with an empty preload)',
  run: ({ silent: rounds, nodes }) =>
    Place.with(async (place) => {
      const rows: Row[] = []
      for (const [name, program] of Object.entries(PROGRAMS)) {
        for (const line of nodes) {
          const way = (preload: string) => place.way(place.job({ line, program, preload }))
          const ways = { empty: way(EMPTY), ours: way(INSTALLED), loader: way(LOADER) }
          const { empty, ours, loader } = await interleave(ways, rounds)
          const what = `Node ${line}, ${name}`
          rows.push(row(what, 'wall time', empty, ours, { atMost: 1.01 }))
          rows.push(row(what, 'CPU', empty, ours))
          rows.push(row(`${what}, by the loader`, 'CPU', empty, loader))
        }
      }
      return { rows }
    }),
}
