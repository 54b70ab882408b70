/**
 * `npm run bench`: measures every figure of the README, in under 15 minutes on two cores. The alternatives of a
 * comparison run alternately, in reversing order. A ratio is the median of the ratios of pairs, with quartiles.
 *
 *     npm run bench -- [--quick] [--only NAME]... [--runs N]
 *
 * `--only` measures some figures again and takes the others from the last run. `--runs` is the number of rounds of
 * short processes.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildIfStale } from '../test/support/build.ts'
import { missingCommands, missingNode } from '../test/support/missing.ts'
import { install, NODE_LINES } from '../test/support/pinned.ts'
import { CACHE, ROOT } from '../test/support/places.ts'
import type { Counts, Figure } from './bench.ts'
import { atOnce } from './figures/at-once.ts'
import { commands } from './figures/commands.ts'
import { far } from './figures/far.ts'
import { hosts } from './figures/hosts.ts'
import { installs } from './figures/installs.ts'
import { library } from './figures/library.ts'
import { memory } from './figures/memory.ts'
import { noTls } from './figures/no-tls.ts'
import { oneGet } from './figures/one-get.ts'
import { parallel } from './figures/parallel.ts'
import { roundTrips } from './figures/round-trips.ts'
import { sizes } from './figures/sizes.ts'
import { slowStore } from './figures/slow-store.ts'
import { store } from './figures/store.ts'
import { describeMachine } from './machine.ts'
import { copyPackages } from './packages.ts'
import { type Made, renderPage } from './render.ts'

const FIGURES: readonly Figure[] = [
  ...[noTls, oneGet, far, roundTrips, library, parallel, atOnce, hosts, memory],
  ...[installs, store, commands, slowStore, sizes],
]
const RESULTS = join(CACHE, 'bench.json')

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    runs: { type: 'string' },
  },
})
const unknown = values.only.find((name) => !FIGURES.some((figure) => figure.name === name))
if (unknown !== undefined) {
  console.error(`there is no figure ${unknown}: there are ${FIGURES.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const runs = values.runs === undefined ? undefined : Number(values.runs)
if (runs !== undefined && !(Number.isInteger(runs) && runs > 0)) {
  console.error('--runs takes a whole number')
  process.exit(2)
}

const counts: Counts = {
  silent: runs ?? (values.quick ? 10 : 100),
  short: runs ?? (values.quick ? 10 : 44),
  middle: values.quick ? 2 : 8,
  long: 1,
  thousands: (count) => (values.quick ? count / 10 : count),
  nodes: values.quick ? ['20', '24'] : NODE_LINES,
}

buildIfStale()
for (const set of ['nodes', 'clients'] as const) {
  const reason = install(set)
  if (reason) console.log(reason)
}
const missing =
  missingCommands('python3') ?? counts.nodes.map(missingNode).find((reason) => reason !== undefined)
if (missing) {
  console.error(`nothing can be measured here: ${missing}`)
  process.exit(1)
}
copyPackages(counts.nodes)

const start = performance.now()
const seconds = () => Math.round((performance.now() - start) / 1000)
const made = new Map<string, Made>(values.only.length > 0 ? readLast() : [])
for (const figure of FIGURES) {
  if (values.only.length > 0 && !values.only.includes(figure.name)) continue
  const reason = figure.missing?.()
  if (reason) {
    console.log(`${figure.name}: left out, ${reason}`)
    made.set(figure.name, { title: figure.title, result: { rows: [], notes: [`Left out: ${reason}.`] } })
    continue
  }
  console.log(`${figure.name}, from ${seconds()} s`)
  try {
    made.set(figure.name, { title: figure.title, result: await figure.run(counts) })
  } catch (error) {
    // A figure that fails must not stop the others.
    console.error(error)
    const reason = (error as Error).message.split('\n')[0]
    made.set(figure.name, { title: figure.title, result: { rows: [], notes: [`Failed: ${reason}`] } })
    process.exitCode = 1
  }
  write()
}

console.log(`bench/results.md, in ${seconds()} s`)
// Do not wait for servers with open connections.
process.exit()

/** Written after each figure, so that an interrupted run keeps its results. */
function write(): void {
  const all = FIGURES.flatMap(({ name }) => made.get(name) ?? [])
  mkdirSync(CACHE, { recursive: true })
  writeFileSync(RESULTS, JSON.stringify([...made]))
  const isWhole = values.only.length === 0 && !values.quick
  const how = isWhole ? ` Made in one go, in ${Math.ceil(seconds() / 60)} minutes.` : ' Not made in one go.'
  writeFileSync(join(ROOT, 'bench/results.md'), renderPage(all, describeMachine() + how))
}

function readLast(): [string, Made][] {
  try {
    return JSON.parse(readFileSync(RESULTS, 'utf8'))
  } catch {
    return []
  }
}
