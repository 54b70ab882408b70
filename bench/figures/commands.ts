import { CLI } from '../../test/support/places.ts'
import type { Figure } from '../bench.ts'
import { fillStore } from '../fill.ts'
import type { Cost } from '../measure.ts'
import { Place } from '../place.ts'
import { ownRow, type Row } from '../results.ts'

const PEERS = 1024
const ROUNDS = 7

export const commands: Figure = {
  name: 'commands',
  title: `The command, with ${PEERS.toLocaleString('en')} peers stored, Node 24`,
  run: () =>
    Place.with(async (place) => {
      const env = { TICKETKEEP_DIR: await fillStore(place, PEERS) }
      const rows: Row[] = []
      const measure = async (name: string, argsOf: (round: number) => string[]) => {
        const costs: Cost[] = []
        for (let round = 0; round < ROUNDS; round++) {
          costs.push(await place.way(place.job({ line: '24', program: CLI, args: argsOf(round), env }))())
        }
        const walls = costs.map(({ wall }) => wall)
        rows.push(ownRow(`ticketkeep ${name}`, 'wall time', 'ms', walls, { atMost: 500 }))
      }
      await measure('list', () => ['list'])
      await measure('status', () => ['status'])
      await measure('invalidate HOST', (round) => ['invalidate', `host-${round}.bench.example`])
      return { rows }
    }),
}
