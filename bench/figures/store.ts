import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DIST } from '../../test/support/places.ts'
import type { Figure } from '../bench.ts'
import { interleave, ratios } from '../paired.ts'
import { Place, type Run } from '../place.ts'
import { median, type Row, timeToFirstByte } from '../results.ts'

const STEPS = { get: 'open and get one host', put: 'open, put one ticket, save' }

export const store: Figure = {
  name: 'store',
  title: "The store alone, by the library's own calls, over a plaintext file of the seed's form",
  async run({ few: rounds }) {
    const rows: Row[] = []
    for (const hosts of [1, 10, 100, 1000]) {
      const place = await Place.make()
      try {
        const way = async (kind: 'sealed' | 'plaintext', step: 'get' | 'put') => {
          const path = join(place.sandbox.directory, `${kind}-${step}${kind === 'sealed' ? '' : '.json'}`)
          const run = (step: string): Run => ({
            line: '24',
            program: 'store.mjs',
            env: {
              ...{ KIND: kind, STEP: step, PLACE: path, HOSTS: String(hosts), TICKETKEEP_DIR: path },
              LIBRARY: pathToFileURL(join(DIST, 'index.js')).href,
            },
          })
          await place.way(place.job(run('fill')))()
          return place.way(place.job(run(step)), '.')
        }
        for (const step of ['get', 'put'] as const) {
          const costs = await interleave(
            { plaintext: await way('plaintext', step), sealed: await way('sealed', step) },
            rounds,
          )
          const [theirs, ours] = [costs.plaintext, costs.sealed].map((all) => all.map(timeToFirstByte))
          rows.push({
            what: `${hosts} host${hosts === 1 ? '' : 's'}, ${STEPS[step]}`,
            measure: 'time of the calls',
            without: `${median(theirs!).toFixed(2)} ms`,
            with: `${median(ours!).toFixed(2)} ms`,
            kind: 'ratio',
            value: ratios(ours!, theirs!),
            runs: rounds,
          })
        }
      } finally {
        await place.end()
      }
    }
    return { rows, notes: ['Here "without" is the plaintext file, and "with" is the sealed store.'] }
  },
}
