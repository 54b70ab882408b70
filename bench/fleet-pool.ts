/**
 * Measures the benefit of a pool for one job: jobs with 15 and with 143 connections to an origin 20 ms away, with the
 * pool 1 ms away. Prints a Markdown table for `docs/fleet.md`. Needs root, for the links.
 *
 *     npm run bench:pool -- [ROUNDS]
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { missingCommands, missingNode } from '../test/support/missing.ts'
import type { Nginx, TlsVersion } from '../test/support/nginx.ts'
import { nodeBinary } from '../test/support/pinned.ts'
import { CLI, PRELOAD } from '../test/support/places.ts'
import { POOL_PASSWORD, startValkey } from '../test/support/valkey.ts'
import { missingLink, startLink } from './link.ts'
import type { Cost, Job } from './measure.ts'
import { interleave } from './paired.ts'
import { Place, PROGRAMS, type Run, urlOf } from './place.ts'
import { median } from './results.ts'

const LINE = '24'
const rounds = Number(process.argv[2] ?? 9)

const missing = missingCommands('nginx', 'redis-server') ?? missingNode(LINE) ?? missingLink()
if (missing !== undefined) {
  console.error(missing)
  process.exit(1)
}

/** The results of one way to run the job: its cost, and the cost for the origin. */
interface Measured {
  readonly costs: Cost[]
  /** CPU time of the origin: milliseconds. */
  readonly origin: number[]
}

await Place.with(async (place) => {
  const far = await startLink(20)
  place.atEnd(() => far.close())
  const near = await startLink(1)
  place.atEnd(() => near.close())
  const nginx = await place.nginx('rsa', { address: far.address, names: [far.address], prefix: far.inside })
  const { address, inside: prefix } = near
  const valkey = await startValkey({ authority: place.ca, address, prefix })
  place.atEnd(() => valkey.stop())
  const pool = `valkeys://:${POOL_PASSWORD}@${address}:${valkey.port}?ca=${place.caFile}&budget=2000&tls12=yes`
  const rows: string[][] = []
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const count of [15, 143]) {
      rows.push(...(await compare(place, nginx, pool, version, count, far.address)))
    }
  }
  const head = ['connections', 'way', 'wall time', "the job's CPU", "the origin's CPU", 'resumed']
  console.log([head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n'))
})

async function compare(
  place: Place,
  nginx: Nginx,
  pool: string,
  version: TlsVersion,
  count: number,
  host: string,
): Promise<string[][]> {
  const env = { URL: urlOf(nginx, version, host), COUNT: `${count}`, AT_ONCE: '15' }
  const run: Run = { line: LINE, program: 'many.cjs', env }
  const local = place.store()
  const empty = place.store()
  const command = ['run', '--job', `${version}-${count}`, '--', nodeBinary(LINE), join(PROGRAMS, 'many.cjs')]
  const wrapped = (more: Record<string, string>): Job =>
    place.job({ line: LINE, program: CLI, args: command, env: { ...env, ...more } })
  const jobs: Record<string, Job> = {
    'without ticketkeep': place.job(run),
    'a store that is warm': place.job({ ...run, preload: PRELOAD, env: { ...env, TICKETKEEP_DIR: local } }),
    'an empty store, `run`': wrapped({ TICKETKEEP_DIR: empty }),
    'an empty store, `run --pool`': wrapped({ TICKETKEEP_DIR: empty, TICKETKEEP_POOL: pool }),
  }
  const origin: Record<string, number[]> = {}
  const ways = Object.fromEntries(
    Object.entries(jobs).map(([name, job]) => [
      name,
      async () => {
        rmSync(empty, { recursive: true, force: true })
        const before = cpuOfWorkers(nginx.pid)
        const cost = await place.measure(job)
        if (cost.status !== 0) throw new Error(`${name} ended with ${cost.status}`)
        ;(origin[name] ??= []).push(cpuOfWorkers(nginx.pid) - before)
        return cost
      },
    ]),
  )
  // Run each way once, so that store and pool contain what a previous job left.
  for (const way of Object.values(ways)) await way()
  for (const name of Object.keys(origin)) origin[name] = []
  const costs = await interleave(ways, rounds)
  return Object.keys(jobs).map((name) =>
    row(`${count}, ${version}`, name, count, { costs: costs[name]!, origin: origin[name]! }),
  )
}

function row(what: string, way: string, count: number, { costs, origin }: Measured): string[] {
  const ms = (values: readonly number[]) => `${median(values).toFixed(0)} ms`
  const resumed = median(costs.map(({ out }) => Number(out)))
  const mean = origin.reduce((sum, one) => sum + one, 0) / origin.length
  return [
    what,
    way,
    ms(costs.map(({ wall }) => wall)),
    ms(costs.map(({ cpu }) => cpu)),
    `${mean.toFixed(0)} ms`,
    `${resumed} of ${count}`,
  ]
}

/** User and system time in milliseconds, with a resolution of 10. Source: proc_pid_stat(5). */
function cpuOfWorkers(master: number): number {
  const children = readFileSync(`/proc/${master}/task/${master}/children`, 'latin1').trim().split(' ')
  return children.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return sum + 10 * (Number(fields[11]) + Number(fields[12]))
  }, 0)
}
