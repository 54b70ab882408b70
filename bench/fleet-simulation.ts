/**
 * Simulates the pool of a fleet: what it stores, gives out and costs. Prints Markdown tables for `docs/fleet.md`.
 *
 *     npm run bench:fleet
 *
 * Simulated: jobs, tickets, the pool's sets with their limits and expiry. Measured: the size of a sealed batch, and the
 * CPU time that a take and a give cost a real server over TLS (if redis-server is installed).
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as iovalkey from 'iovalkey'
import { readPoolAddress } from '../src/pool/address.ts'
import { connect } from '../src/pool/client.ts'
import { give, take } from '../src/pool/commands.ts'
import { jobKey } from '../src/pool/messages.ts'
import { sealBatch } from '../src/seal/box.ts'
import { deriveSubkeys } from '../src/seal/subkeys.ts'
import { missingCommands } from '../test/support/missing.ts'
import { createAuthority } from '../test/support/pki.ts'
import { POOL_PASSWORD, startValkey } from '../test/support/valkey.ts'

const HOUR = 3_600
const DAY = 86_400
const BATCH = 16

interface Fleet {
  readonly jobsPerSecond: number
  /** The duration of a job in seconds: with 100 jobs per second, 100 s are 10,000 runners. */
  readonly jobLasts: number
  readonly origins: number
  /** The number of origins that a job talks to. Popular ones are more frequent (Zipf). */
  readonly originsOfJob: number
  /** The number of simultaneous connections to each origin. */
  readonly connections: number
  /** The lifetime of a ticket: seconds. */
  readonly lifetime: number
  /** The most batches per set. */
  readonly batches: number
  /** The measured period: seconds. It follows a warm-up of the same length. */
  readonly lasts: number
  /** The number of jobs that all start in one second in the middle of the period. */
  readonly herd?: number
}

const USUAL: Fleet = {
  ...{ jobsPerSecond: 100, jobLasts: 100, origins: 50, originsOfJob: 3, connections: 15 },
  ...{ lifetime: 2 * HOUR, batches: 256, lasts: HOUR },
}

interface Batch {
  readonly end: number
  /** For each ticket, the time of the full handshake that it derives from. */
  readonly tickets: readonly number[]
}

interface Outcome {
  /** The share of all connections. */
  readonly resumed: number
  /** The share of all sets that were asked. */
  readonly hits: number
  readonly batches: number
  readonly takesPerSecond: number
  readonly givesPerSecond: number
  readonly herdResumed: number | undefined
}

/**
 * A set of batches. The one that expires last is taken first. Batches arrive almost in order of expiry, so a sorted
 * array is enough.
 */
class PoolSet {
  readonly #batches: Batch[] = []

  constructor(private readonly most: number) {}

  take(now: number): Batch | undefined {
    const batch = this.#batches.pop()
    return batch && batch.end > now ? batch : undefined
  }

  give(batch: Batch): void {
    let at = this.#batches.length
    while (at > 0 && this.#batches[at - 1]!.end > batch.end) at--
    this.#batches.splice(at, 0, batch)
    if (this.#batches.length > this.most) this.#batches.shift()
  }

  size(now: number): number {
    return this.#batches.filter(({ end }) => end > now).length
  }
}

function simulate(change: Partial<Fleet> = {}): Outcome {
  const fleet = { ...USUAL, ...change }
  const random = randomFrom(1)
  const sets = Array.from({ length: fleet.origins }, () => new PoolSet(fleet.batches))
  const pick = zipf(fleet.origins, random)
  const ends: { at: number; set: PoolSet; batches: Batch[] }[][] = []
  const counted = { connections: 0, resumed: 0, asked: 0, hits: 0, taken: 0, given: 0 }
  let herd = { connections: 0, resumed: 0 }
  for (let now = 0; now < 2 * fleet.lasts; now++) {
    for (const { set, batches } of ends[now] ?? []) {
      for (const batch of batches) set.give(batch)
      if (now >= fleet.lasts) counted.given += batches.length
    }
    delete ends[now]
    const isHerd = fleet.herd !== undefined && now === Math.floor(1.5 * fleet.lasts)
    const starting = isHerd ? fleet.herd! : poisson(fleet.jobsPerSecond, random)
    for (let job = 0; job < starting; job++) {
      const chosen = new Set<number>()
      while (chosen.size < fleet.originsOfJob) chosen.add(pick())
      for (const origin of chosen) {
        const set = sets[origin]!
        const taken = set.take(now)
        const tickets = (taken?.tickets ?? []).filter((verifiedAt) => now < verifiedAt + DAY)
        const resumed = Math.min(tickets.length, fleet.connections)
        if (now >= fleet.lasts) {
          counted.connections += fleet.connections
          counted.resumed += resumed
          counted.asked++
          if (taken) counted.hits++
        }
        if (isHerd)
          herd = { connections: herd.connections + fleet.connections, resumed: herd.resumed + resumed }
        // Like nginx: two tickets with a full handshake, one with a resumption, which keeps the time of the original
        // full handshake.
        for (let full = resumed; full < fleet.connections; full++) tickets.push(now, now)
        const batches = inBatches(tickets, now + fleet.lifetime)
        const at = now + Math.max(1, Math.round(fleet.jobLasts * (0.5 + random())))
        ;(ends[at] ??= []).push({ at, set, batches })
      }
    }
  }
  const end = 2 * fleet.lasts
  return {
    resumed: counted.resumed / counted.connections,
    hits: counted.hits / counted.asked,
    batches: sets.reduce((sum, set) => sum + set.size(end), 0),
    takesPerSecond: counted.hits / fleet.lasts,
    givesPerSecond: counted.given / fleet.lasts,
    herdResumed: fleet.herd === undefined ? undefined : herd.resumed / herd.connections,
  }
}

/** Newest first, as in `exchange.ts`. */
function inBatches(tickets: readonly number[], end: number): Batch[] {
  const batches: Batch[] = []
  for (let to = tickets.length; to > 0; to -= BATCH) {
    batches.push({ end, tickets: tickets.slice(Math.max(0, to - BATCH), to) })
  }
  return batches
}

/** Mulberry32, a seeded generator, so that runs are reproducible. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function zipf(count: number, random: () => number): () => number {
  const weights = Array.from({ length: count }, (_, i) => 1 / (i + 1))
  const sums: number[] = []
  for (const weight of weights) sums.push((sums.at(-1) ?? 0) + weight)
  return () => {
    const at = random() * sums.at(-1)!
    return sums.findIndex((sum) => sum > at)
  }
}

function poisson(mean: number, random: () => number): number {
  const limit = Math.exp(-mean)
  let count = -1
  for (let product = 1; product > limit; product *= random()) count++
  return count
}

interface Costs {
  /** The size of a sealed batch of 16 tickets in bytes. */
  readonly box: number
  /** CPU time of the server in milliseconds, and its memory per batch in bytes. */
  readonly take?: number
  readonly give?: number
  readonly memory?: number
}

/** A batch with the ticket sizes of nginx, with an RSA certificate and one intermediate. */
function sealedBatch(seed: number): string {
  const keys = deriveSubkeys(new Uint8Array(32).fill(1))
  const issuer = randomBytes(1_300)
  const tickets = Array.from({ length: BATCH }, () => ({
    ticket: randomBytes(330),
    spkiFp: new Uint8Array(32).fill(seed),
    storedAtUnixSecs: 1_800_000_000,
    expiresAtUnixSecs: 1_800_007_200,
    verifiedAtUnixSecs: 1_800_000_000,
    protocol: 'TLSv1.3' as const,
    binding: 'b'.repeat(43),
    certificate: new Uint8Array(1_200).fill(seed),
    issuers: () => [issuer],
  }))
  const batch = { kid: keys.kid, peer: { host: 'registry.example', port: 443 }, tickets }
  return sealBatch(batch, keys, 'aes-256-gcm', randomBytes)
}

/** Runs 500 jobs that give a batch to each of 3 sets, and 500 that take them, each on a new TLS connection. */
async function measure(): Promise<Costs> {
  const box = sealedBatch(1).length
  if (missingCommands('redis-server') !== undefined) return { box }
  const authority = await createAuthority()
  const server = await startValkey({ authority })
  const ca = join(tmpdir(), `ticketkeep-simulation-${process.pid}.pem`)
  writeFileSync(ca, authority.cert)
  const url = `valkeys://:${POOL_PASSWORD}@127.0.0.1:${server.port}?ca=${ca}&budget=60000`
  const address = readPoolAddress(url, 'TICKETKEEP_POOL')
  const never = new Promise<never>(() => {})
  const root = 'ticketkeep:{kidkidkidki.'
  const job = 'j'.repeat(22)
  const members = ['a', 'b', 'c'].map((letter) => `${letter.repeat(22)}.${'b'.repeat(11)}.s`)
  const now = Math.floor(Date.now() / 1000)
  const used = async () => Number(/used_memory:(\d+)/.exec(String(await server.send('INFO', 'memory')))?.[1])
  const jobs = 500
  const each = async (work: (client: Awaited<ReturnType<typeof connect>>) => Promise<unknown>) => {
    const before = cpuOf(server.pid)
    for (let i = 0; i < jobs; i++) {
      const client = await connect(iovalkey, address)
      await work(client)
      client.disconnect()
    }
    return (cpuOf(server.pid) - before) / jobs
  }
  try {
    const empty = await used()
    const giving = await each((client) => {
      const sets = members.map((member) => ({ member, boxes: [{ box: sealedBatch(1), end: now + 9_000 }] }))
      const request = { do: 'give' as const, root, now, sets, job, batches: 10_000, origins: 1_024 }
      return give(client, request, never)
    })
    const memory = ((await used()) - empty) / (jobs * members.length)
    const lists = [jobKey(root, job)]
    const taking = await each((client) => take(client, { do: 'take', root, lists, tls12: false }, never))
    return { box, take: taking, give: giving, memory }
  } finally {
    await server.stop()
    rmSync(ca)
  }
}

/** User and system time in milliseconds. Source: proc_pid_stat(5), at 100 ticks per second. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const percent = (part: number) => `${(100 * part).toFixed(1)} %`
const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]) =>
  console.log(
    [head, head.map((_, i) => (i === 0 ? '---' : '--:')), ...rows]
      .map((row) => `| ${row.join(' | ')} |`)
      .join('\n'),
    '\n',
  )

const costs = await measure()
const usual = simulate()
const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
const perBatch = costs.memory ?? costs.box + 100

console.log(
  '### The fleet of 10,000 runners: 50 origins, 100 jobs a second, 3 origins a job, 15 connections to each\n',
)
// One list, a set each, three counts; then four commands a set, three for each list (job, peers), four for the origins.
const commands = 100 * (1 + 3 + 3 + (4 * 3 + 3 * (1 + 3) + 4) + 2 * 3)
table(
  ['', ''],
  [
    ['commands a second, AUTH, SELECT and PING included', commands],
    ['TLS connections a second', 200],
    [
      'batches handed out, and taken in, a second',
      `${usual.takesPerSecond.toFixed(0)}, ${usual.givesPerSecond.toFixed(0)}`,
    ],
    ['bytes of a batch of 16 tickets', costs.box],
    [
      'bytes out, and in, a second',
      `${((usual.takesPerSecond * costs.box) / 1e6).toFixed(1)} MB, ${((usual.givesPerSecond * costs.box) / 1e6).toFixed(1)} MB`,
    ],
    ['batches in the pool, and its memory', `${usual.batches}, ${mib(usual.batches * perBatch)}`],
    ['connections resumed', percent(usual.resumed)],
    [
      'processor of the server for a take, and a give',
      costs.take === undefined ? 'not measured' : `${costs.take.toFixed(2)} ms, ${costs.give!.toFixed(2)} ms`,
    ],
    [
      'its one thread is busy',
      costs.take === undefined ? 'not measured' : percent((100 * (costs.take + costs.give!)) / 1000),
    ],
  ],
)

console.log('### Hit rate against the size of the pool and the lifetime of tickets\n')
const lifetimes = { '5 min': 300, '1 h': HOUR, '2 h': 2 * HOUR, '24 h': DAY }
table(
  ['batches a set', ...Object.keys(lifetimes).map((name) => `resumed, tickets of ${name}`), 'memory at 2 h'],
  [4, 16, 64, 256, 1024].map((batches) => [
    batches,
    ...Object.values(lifetimes).map((lifetime) =>
      percent(simulate({ batches, lifetime, lasts: HOUR / 4 }).resumed),
    ),
    mib(simulate({ batches, lasts: HOUR / 4 }).batches * perBatch),
  ]),
)

console.log('### Fewer jobs\n')
table(
  ['jobs a second', ...Object.keys(lifetimes).map((name) => `resumed, tickets of ${name}`)],
  [0.01, 0.1, 1, 10].map((jobsPerSecond) => [
    jobsPerSecond,
    ...Object.values(lifetimes).map((lifetime) =>
      percent(simulate({ jobsPerSecond, lifetime, lasts: DAY / 8 }).resumed),
    ),
  ]),
)

console.log('### A thundering herd: so many jobs start in one second\n')
table(
  ['jobs', 'resumed, 64 batches a set', 'resumed, 256', 'resumed, 1024', 'processor of the server'],
  [100, 1_000, 5_000, 10_000].map((herd) => [
    herd,
    ...[64, 256, 1024].map((batches) => percent(simulate({ herd, batches, lasts: HOUR / 4 }).herdResumed!)),
    costs.take === undefined ? 'not measured' : `${((herd * costs.take) / 1000).toFixed(1)} s`,
  ]),
)
