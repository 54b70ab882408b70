import type { Figure } from '../bench.ts'
import { type Filled, type Step, storeStep } from '../fill.ts'
import { interleave } from '../paired.ts'
import { Place } from '../place.ts'
import { ownRow, type Row, row, timeOfCalls } from '../results.ts'

const STEPS = {
  get: { name: 'open and get one host', atMost: 4 },
  put: { name: 'open, put one ticket, save', atMost: 6 },
} as const

/** From this number of hosts, the encrypted store must not be slower. */
const NOT_SLOWER_FROM = 100

export const store: Figure = {
  name: 'store',
  title:
    'TicketCache ("without" is a plaintext file in the form of the package manager that ticketkeep replaces it for)',
  async run({ short, nodes }) {
    const rounds = Math.ceil(short * 0.2)
    const rows: Row[] = []
    for (const line of nodes) {
      for (const hosts of line === '24' ? [1, 10, 100, 1000] : [1000]) {
        rows.push(...(await Place.with((place) => compare(place, line, hosts, rounds))))
      }
    }
    return { rows }
  },
}

async function compare(place: Place, line: Filled['line'], hosts: number, rounds: number): Promise<Row[]> {
  const way = async (kind: Filled['kind'], step: Step) => {
    const filled: Filled = { line, kind, path: place.store(), hosts }
    await place.way(place.job(storeStep(filled, 'fill')))()
    return place.way(place.job(storeStep(filled, step)), '.')
  }
  const rows: Row[] = []
  for (const [step, { name, atMost }] of Object.entries(STEPS) as [
    keyof typeof STEPS,
    (typeof STEPS)['get'],
  ][]) {
    const { plaintext, encrypted } = await interleave(
      { plaintext: await way('plaintext', step), encrypted: await way('encrypted', step) },
      rounds,
    )
    const what = `Node ${line}, ${hosts} host${hosts === 1 ? '' : 's'}, ${name}`
    const notSlower = hosts >= NOT_SLOWER_FROM ? { atMost: 1 } : undefined
    rows.push(row(what, 'time of the calls', plaintext, encrypted, notSlower))
    rows.push(ownRow(what, 'milliseconds', 'ms', encrypted.map(timeOfCalls), { atMost }))
  }
  return rows
}
