/**
 * `npm run bench`: every figure that the README shows, made in one go. Paired runs, interleaved in turning
 * order; a ratio is the median of the pairs' ratios, with its quartiles.
 *
 *     npm run bench -- [--quick] [--only NAME]... [--runs N]
 *
 * `--only` makes some figures anew and takes the others from the last run; `--runs` is how many rounds.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildIfStale } from '../test/support/build.ts'
import { missingCommands, missingNode } from '../test/support/missing.ts'
import { install, NODE_LINES } from '../test/support/pinned.ts'
import { CACHE, DIST, ROOT } from '../test/support/places.ts'
import type { Counts, Figure } from './bench.ts'
import { far } from './figures/far.ts'
import { installs } from './figures/installs.ts'
import { noTls } from './figures/no-tls.ts'
import { oneGet } from './figures/one-get.ts'
import { parallel } from './figures/parallel.ts'
import { peers } from './figures/peers.ts'
import { server } from './figures/server.ts'
import { sizes } from './figures/sizes.ts'
import { store } from './figures/store.ts'
import { describeMachine } from './machine.ts'
import { type Made, renderChart, renderPage } from './render.ts'

const FIGURES: readonly Figure[] = [noTls, oneGet, far, parallel, store, installs, server, peers, sizes]
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
  local: runs ?? (values.quick ? 10 : 100),
  link: runs ?? (values.quick ? 6 : 100),
  few: runs ?? (values.quick ? 6 : 30),
  install: values.quick ? 1 : 3,
  nodes: values.quick ? ['20', '24'] : NODE_LINES,
}

buildIfStale()
// As after an install: which code is kept compiled beside the source must not depend on what has run here before.
for (const name of readdirSync(DIST)) if (name.endsWith('.v8')) rmSync(join(DIST, name))
for (const set of ['nodes', 'clients'] as const) {
  const reason = install(set)
  if (reason) console.log(reason)
}
const missing = missingCommands('python3') ?? missingNode('20')
if (missing) {
  console.error(`nothing can be measured here: ${missing}`)
  process.exit(1)
}

const start = performance.now()
const made = new Map<string, Made>(values.only.length > 0 ? readLast() : [])
for (const figure of FIGURES) {
  if (values.only.length > 0 && !values.only.includes(figure.name)) continue
  const seconds = () => Math.round((performance.now() - start) / 1000)
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
    // One figure that fails does not take the others with it.
    console.error(error)
    const reason = (error as Error).message.split('\n')[0]
    made.set(figure.name, { title: figure.title, result: { rows: [], notes: [`Failed: ${reason}`] } })
    process.exitCode = 1
  }
  write()
}

console.log(`bench/results.md and bench/chart.svg, in ${Math.round((performance.now() - start) / 1000)} s`)
// A server that is still open to a client that has gone need not hold us.
process.exit()

/** After each figure, so that a run that is ended early leaves what it has. */
function write(): void {
  const all = FIGURES.flatMap(({ name }) => made.get(name) ?? [])
  mkdirSync(CACHE, { recursive: true })
  writeFileSync(RESULTS, JSON.stringify([...made]))
  writeFileSync(join(ROOT, 'bench/results.md'), renderPage(all, describeMachine()))
  writeFileSync(join(ROOT, 'bench/chart.svg'), renderChart(all))
}

function readLast(): [string, Made][] {
  try {
    return JSON.parse(readFileSync(RESULTS, 'utf8'))
  } catch {
    return []
  }
}
