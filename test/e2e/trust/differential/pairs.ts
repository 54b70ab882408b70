import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TlsVersion } from '../../../support/nginx.ts'
import type { NodeLine } from '../../../support/pinned.ts'
import {
  type Attempt,
  alone,
  createSite,
  oneProcess,
  type Run,
  run,
  type Site,
  together,
} from './programs.ts'
import { type ServerName, speaks, startServer } from './servers.ts'
import type { Way } from './way.ts'

// Runs all pairs: a program that accepts a server and keeps a ticket, then one that refuses it, with that ticket at hand.

/** An accepting program as it was run. */
export interface Accepted {
  readonly way: Way
  readonly server: ServerName
  readonly version: TlsVersion
  readonly node: NodeLine
  readonly attempt: Attempt | undefined
  /** Why its pairs do not count; undefined where it has kept a ticket. */
  readonly notCounted: string | undefined
}

/** How a refusing program ended with the tickets of others at hand. */
export type Verdict =
  /** As without us. */
  | 'refused'
  /** It has connected. */
  | 'got through'
  /** It was resumed, and the refusal was not a matter of what its own code saw then. */
  | 'resumed'
  /** Not as without us. */
  | 'ended otherwise'
  /** It accepts the server without us too, or cannot be run here. */
  | 'no refusal'

/** A refusing program as it was run, against the tickets of all that had accepted this server. */
export interface Refused {
  readonly way: Way
  readonly server: ServerName
  readonly version: TlsVersion
  readonly node: NodeLine
  readonly without: Attempt | undefined
  readonly with: Attempt | undefined
  readonly verdict: Verdict
  /** The accepting programs whose tickets it takes for its own: only looked for where it was not refused. */
  readonly guilty: readonly Accepted[]
}

/** One pair in one process. */
export interface InOneProcess {
  readonly accepting: Way
  readonly refusing: Way
  readonly server: ServerName
  readonly version: TlsVersion
  readonly node: NodeLine
  readonly verdict: Verdict
  readonly counts: boolean
}

export interface Scope {
  readonly nodes: readonly NodeLine[]
  readonly versions: readonly TlsVersion[]
  readonly accepting: readonly Way[]
  readonly refusing: readonly Way[]
  readonly servers: readonly ServerName[]
  readonly inOneProcess: boolean
}

export interface Result {
  readonly accepted: readonly Accepted[]
  readonly refused: readonly Refused[]
  readonly inOneProcess: readonly InOneProcess[]
}

export async function runPairs(scope: Scope): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-pairs-'))
  const result = { accepted: [] as Accepted[], refused: [] as Refused[], inOneProcess: [] as InOneProcess[] }
  try {
    for (const version of scope.versions) {
      for (const name of scope.servers) {
        if (!speaks(name, version)) continue
        const server = await startServer(name, version)
        try {
          const site = createSite(server, join(folder, version))
          await runSite(scope, site, result)
        } finally {
          await server.close()
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return result
}

type Results = { accepted: Accepted[]; refused: Refused[]; inOneProcess: InOneProcess[] }

async function runSite(scope: Scope, site: Site, result: Results): Promise<void> {
  const { name, world } = site.server
  const fits = (node: NodeLine) => (way: Way) =>
    way.needs === undefined &&
    (way.nodes ?? scope.nodes).includes(node) &&
    (way.versions ?? scope.versions).includes(world.version)
  const accepting = scope.accepting.filter(({ on = ['plain'] }) => on.includes(name))
  const refusing = scope.refusing.filter(({ on }) => on === undefined || on.includes(name))
  const onEach = <T>(ways: readonly Way[], work: (way: Way, node: NodeLine) => Promise<T>) =>
    inParallel(scope.nodes.flatMap((node) => ways.filter(fits(node)).map((way) => () => work(way, node))))

  const kept = await onEach(accepting, (way, node) => accept(site, way, node))
  result.accepted.push(...kept.map(({ accepted }) => accepted))
  const stores = kept.filter(({ accepted }) => accepted.notCounted === undefined)
  const all = join(site.folder, 'all')
  mkdirSync(all, { recursive: true })
  for (const { store } of stores) cpSync(store, all, { recursive: true })

  const shared = refusing.filter(sharesProcess)
  const baselines = await inParallel(
    scope.nodes.map((node) => async () => {
      const ways = shared.filter(fits(node))
      return judgeTogether(site, ways, node, all)
    }),
  )
  const single = await onEach(
    refusing.filter((way) => !sharesProcess(way)),
    (way, node) => judgeAlone(site, way, node, all),
  )
  for (const refused of [...baselines.flat(), ...single]) {
    const guilty = isBad(refused.verdict) ? await findGuilty(site, refused, stores) : []
    result.refused.push({ ...refused, guilty })
  }

  if (!scope.inOneProcess) return
  const neighbours = refusing.filter(
    ({ before, ...way }) => before === undefined && sharesProcess({ ...way, judge: '' }),
  )
  const sorted = [...neighbours.filter(({ judge }) => !judge), ...neighbours.filter(({ judge }) => judge)]
  const pairs = await onEach(
    accepting.filter(({ connect }) => connect === undefined),
    (way, node) => judgeInOneProcess(site, way, sorted.filter(fits(node)), node),
  )
  result.inOneProcess.push(...pairs.flat())
}

/** What changes nothing of its process leaves it to others; what looks at resumed sockets uses up tickets. */
function sharesProcess({ flags, env, files, prefix, before, judge }: Way): boolean {
  return ![flags, env, files, prefix, before].some((one) => one !== undefined) && !judge
}

async function accept(site: Site, way: Way, node: NodeLine): Promise<Kept> {
  const store = mkdtempSync(join(site.folder, 'store-'))
  const keep = (directory: string) => {
    if (existsSync(directory)) cpSync(directory, store, { recursive: true })
  }
  const attempt = await run<Attempt>({ site, node, way, source: alone(site, way), preload: true, keep })
  const { name: server, world } = site.server
  const notCounted = whyNotKept(attempt, store)
  return { store, accepted: { way, server, version: world.version, node, attempt, notCounted } }
}

function whyNotKept(attempt: Attempt | undefined, store: string): string | undefined {
  if (!attempt) return 'the program died'
  const { seen, events } = attempt
  if (seen.error !== undefined) return `not accepted: ${seen.error}`
  if (!seen.text.startsWith('hello')) return 'not accepted'
  if (events.includes('harvest') && hasFiles(store)) return undefined
  const skipped = events.find((event) => event.startsWith('skip: ') && event !== 'skip: no ticket')
  return `left alone: ${skipped?.slice('skip: '.length) ?? 'no reason given'}`
}

const hasFiles = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).some(
    (entry) => entry.isFile() && entry.name !== 'CACHEDIR.TAG',
  )

const connected = (attempt: Attempt | undefined) =>
  attempt?.seen.error === undefined && attempt?.seen.judged === true && attempt.seen.text.startsWith('hello')

const alike = (one: Attempt | undefined, other: Attempt | undefined) =>
  JSON.stringify(one?.seen) === JSON.stringify(other?.seen)

/** On `mutual` a program is refused that is not taken for whom it would be without us. */
function verdictOf(
  way: Way,
  without: Attempt | undefined,
  withUs: Attempt | undefined,
  server: ServerName,
): Verdict {
  if (connected(without) && (server !== 'mutual' || without?.seen.text === 'hello alice\n'))
    return 'no refusal'
  if (!alike(without, withUs)) return connected(withUs) ? 'got through' : 'ended otherwise'
  return withUs?.reused && !way.judge ? 'resumed' : 'refused'
}

export const isBad = (verdict: Verdict) => verdict !== 'refused' && verdict !== 'no refusal'

type Judged = Omit<Refused, 'guilty'>

async function judgeTogether(site: Site, ways: Way[], node: NodeLine, store: string): Promise<Judged[]> {
  const all = { site, node, way: NOTHING, source: together(site, ways) }
  const without = (await run<Attempt[]>({ ...all, preload: false })) ?? []
  const withUs = (await run<Attempt[]>({ ...all, preload: true, fill: filling(store) })) ?? []
  const judged: Judged[] = []
  let disturbed = without.length !== ways.length || withUs.length !== ways.length
  for (const [i, way] of ways.entries()) {
    // After an offer the store is another.
    disturbed ||= withUs[i]?.events.includes('offer') === true || !alike(without[i], withUs[i])
    if (disturbed) judged.push(await judgeAlone(site, way, node, store))
    else judged.push(judgement(site, way, node, without[i], withUs[i]))
  }
  return judged
}

const NOTHING: Way = { name: 'nothing' }

const filling = (store: string) => (directory: string) => {
  // A directory that others can enter is no store.
  mkdirSync(directory, { mode: 0o700, recursive: true })
  cpSync(store, directory, { recursive: true })
}

async function judgeAlone(site: Site, way: Way, node: NodeLine, store: string): Promise<Judged> {
  const one: Omit<Run, 'preload'> = { site, node, way, source: alone(site, way) }
  const without = await run<Attempt>({ ...one, preload: false })
  if (verdictOf(way, without, without, site.server.name) === 'no refusal') {
    return judgement(site, way, node, without, without)
  }
  const withUs = await run<Attempt>({ ...one, preload: true, fill: filling(store) })
  if (alike(without, withUs) || withUs?.events.includes('offer')) {
    return judgement(site, way, node, without, withUs)
  }
  // Some errors come in one of two forms, whoever is there: whether this one does is seen without us.
  for (let i = 0; i < 3; i++) {
    const again = await run<Attempt>({ ...one, preload: false })
    if (alike(again, withUs)) return judgement(site, way, node, again, withUs)
  }
  return judgement(site, way, node, without, withUs)
}

function judgement(
  { server: { name, world } }: Site,
  way: Way,
  node: NodeLine,
  without: Attempt | undefined,
  withUs: Attempt | undefined,
): Judged {
  const verdict = verdictOf(way, without, withUs, name)
  return { way, node, server: name, version: world.version, without, with: withUs, verdict }
}

interface Kept {
  readonly accepted: Accepted
  readonly store: string
}

/** Looks in every half for as many; of more there would be thousands of runs. */
const FEW = 8

/** The accepting programs with whose tickets alone it comes to this: all of a few, one of many. */
async function findGuilty(site: Site, refused: Judged, kept: readonly Kept[]): Promise<Accepted[]> {
  const { way, node, without, verdict } = refused
  const source = alone(site, way)
  const isGuilty = async (some: readonly Kept[]) => {
    const fill = (directory: string) => {
      for (const { store } of some) filling(store)(directory)
    }
    const again = await run<Attempt>({ site, node, way, source, preload: true, fill })
    return verdictOf(way, without, again, site.server.name) === verdict
  }
  let some = kept
  while (some.length > FEW) {
    const half = some.slice(0, some.length / 2)
    some = (await isGuilty(half)) ? half : some.slice(half.length)
  }
  const tried = await inParallel(
    some.map((one) => async () => ((await isGuilty([one])) ? one.accepted : undefined)),
  )
  return tried.filter((accepted) => accepted !== undefined)
}

interface OneProcess {
  readonly accepted: Attempt
  readonly results: readonly (Attempt & { readonly tickets: number })[]
}

async function judgeInOneProcess(site: Site, accepting: Way, refusing: readonly Way[], node: NodeLine) {
  const all = { site, node, way: accepting, source: oneProcess(site, accepting, refusing) }
  const without = await run<OneProcess>({ ...all, preload: false })
  const withUs = await run<OneProcess>({ ...all, preload: true })
  return refusing.map((way, i): InOneProcess => {
    const { name: server, world } = site.server
    const verdict = verdictOf(way, without?.results[i], withUs?.results[i], server)
    const counts = verdict !== 'no refusal' && (withUs?.results[i]?.tickets ?? 0) > 0
    return { accepting, refusing: way, server, version: world.version, node, verdict, counts }
  })
}

const AT_ONCE = 2

/** Runs all, a few at a time, and returns what they gave, in their order. */
export async function inParallel<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async () => {
    for (let i = next++; i < tasks.length; i = next++) results[i] = await tasks[i]!()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}
