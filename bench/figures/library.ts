import { join } from 'node:path'
import { missingCommands } from '../../test/support/missing.ts'
import { DIST } from '../../test/support/places.ts'
import type { Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import { interleave } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { ownRow, type Row, row, timeOfCalls } from '../results.ts'
import { nameOf } from './one-get.ts'

/** Milliseconds. */
const ROUND_TRIP = 20
const LIBRARY = join(DIST, 'index.cjs')

const AS_IT_IS = { of: '', env: {} }

/** What a program gets from `module.enableCompileCache()`, on both sides of a pair. */
export const compileCache = ({ sandbox }: Place) => ({
  of: ', with the compile cache of Node',
  env: { NODE_COMPILE_CACHE: join(sandbox.directory, 'compile-cache') },
})

/** The same request with Node's agent and with a TicketAgent, without a preload. */
export const library: Figure = {
  name: 'library',
  title: 'The library: one https.get with a TicketAgent, and what it takes to load',
  missing: () => missingCommands('nginx') ?? missingLink(),
  run: ({ short, nodes }) =>
    Place.with(async (place) => {
      const rounds = Math.ceil(short * 0.5)
      const link = await startLink(ROUND_TRIP)
      place.atEnd(() => link.close())
      const { address, inside: prefix } = link
      const nginx = await place.nginx('rsa', { address, names: [address], prefix })
      const rows: Row[] = []
      for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
        // Node 20 does not list the CAs of NODE_EXTRA_CA_CERTS, and the library was not loaded yet when Node read them.
        for (const line of nodes.filter((one) => one !== '20')) {
          for (const { of, env: more } of version === 'TLSv1.3'
            ? [AS_IT_IS, compileCache(place)]
            : [AS_IT_IS]) {
            const env = { URL: urlOf(nginx, version, address), LIBRARY, ...more }
            const plain: Run = { line, program: 'get.cjs', env }
            const ours = await place.warm({ ...plain, program: 'get-by-agent.cjs', preload: false })
            const costs = await interleave({ without: place.way(place.job(plain), '.'), ours }, rounds)
            const what = `Node ${line}, ${ROUND_TRIP} ms, ${nameOf(version)}${of}`
            const asked = version === 'TLSv1.3' ? { atMost: 1.02 } : undefined
            rows.push(row(what, 'wall time', costs.without, costs.ours, asked))
          }
        }
      }
      for (const line of nodes) {
        const way = place.way(place.job({ line, program: 'loads.cjs', env: { LIBRARY } }), '.')
        const { loads } = await interleave({ loads: way }, rounds)
        const times = loads.map(timeOfCalls)
        rows.push(ownRow(`Node ${line}, loaded after node:https`, 'time', 'ms', times, { atMost: 5 }))
      }
      return { rows }
    }),
}
