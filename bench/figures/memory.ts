import { missingCommands } from '../../test/support/missing.ts'
import type { Figure } from '../bench.ts'
import { interleave } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { row } from '../results.ts'

export const memory: Figure = {
  name: 'memory',
  title: 'A long process: 5,000 connections to one host, one after the other, on loopback, TLS 1.3',
  missing: () => missingCommands('nginx'),
  run: ({ long: rounds, thousands }) =>
    Place.with(async (place) => {
      const nginx = await place.nginx('ecdsa')
      const env = { URL: urlOf(nginx, 'TLSv1.3'), COUNT: `${thousands(5000)}`, AT_ONCE: '1' }
      const run: Run = { line: '24', program: 'many.cjs', env }
      const { without, ours } = await interleave(
        { without: place.way(place.job(run), '0'), ours: place.cold(run) },
        rounds,
      )
      return {
        rows: (['memory', 'CPU', 'wall time'] as const).map((measure) =>
          row('Node 24', measure, without, ours),
        ),
      }
    }),
}
