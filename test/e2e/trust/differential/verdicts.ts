import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TlsVersion } from '../../../support/nginx.ts'
import type { NodeLine } from '../../../support/pinned.ts'
import { type Attempt, alone, type Run, run, type Site, together } from './programs.ts'
import { isMutual, type ServerName } from './servers.ts'
import type { Way } from './way.ts'

// The verdict on one program: whether an accepting one has stored a ticket, and whether a refusing one still refuses.

/** Where a program was run. */
export interface Place {
  readonly server: ServerName
  readonly version: TlsVersion
  readonly node: NodeLine
}

/** An accepting program as it was run. */
export interface Accepted extends Place {
  readonly way: Way
  readonly attempt: Attempt | undefined
  /** Why its pairs do not count. Undefined if it has stored a ticket. */
  readonly notCounted: string | undefined
}

/** An accepting program, and the directory with its tickets. */
export interface Kept {
  readonly accepted: Accepted
  readonly store: string
}

/** How a refusing program ended with the tickets of other programs. */
export type Verdict =
  /** As without ticketkeep. */
  | 'refused'
  /** It has connected. */
  | 'got through'
  /** It was resumed, and what it checks then did not make it refuse. */
  | 'resumed'
  /** In another way than without ticketkeep. */
  | 'ended otherwise'
  /** It accepts the server without ticketkeep too. */
  | 'no refusal'

/** A refusing program as it was run, with the tickets of all programs that had accepted this server. */
export interface Refused extends Place {
  readonly way: Way
  readonly without: Attempt | undefined
  readonly with: Attempt | undefined
  readonly verdict: Verdict
}

export const isBad = (verdict: Verdict) => verdict !== 'refused' && verdict !== 'no refusal'

/** Runs a program that accepts the server, with its own store. */
export async function accept(site: Site, way: Way, node: NodeLine): Promise<Kept> {
  const store = mkdtempSync(join(site.folder, 'store-'))
  const keep = (directory: string) => {
    if (existsSync(directory)) copyTickets(directory, store)
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
  if (skipped !== undefined) return `left alone: ${skipped.slice('skip: '.length)}`
  return events.includes('harvest') ? 'kept, and not stored' : 'nothing kept, and no reason given'
}

const hasFiles = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).some(
    (entry) => entry.isFile() && entry.name !== 'CACHEDIR.TAG',
  )

/** Whether a way does not change its process, so that others can share it. */
export const sharesProcess = ({ flags, env, files, prefix, before }: Way): boolean =>
  [flags, env, files, prefix, before].every((one) => one === undefined)

/**
 * Runs refusing programs that can share a process, with these tickets. Those that look at the socket use up tickets, so each
 * has its own process.
 */
export async function judgeTogether(
  site: Site,
  ways: readonly Way[],
  node: NodeLine,
  store: string,
): Promise<Refused[]> {
  const all = { site, node, way: { name: 'all' } }
  const without = await run<Attempt[]>({ ...all, source: together(site, ways), preload: false })
  const sharing = ways.filter(({ judge }) => !judge)
  const fill = filling(store)
  const withUs = await run<Attempt[]>({ ...all, source: together(site, sharing), preload: true, fill })
  // An offer changes the store, so from there on they run one by one.
  const undisturbed = withUs?.findIndex(({ events }) => events.includes('offer')) ?? 0
  return inParallel(
    ways.map((way, i) => async () => {
      const at = sharing.indexOf(way)
      const shared = at >= 0 && (undisturbed < 0 || at < undisturbed) ? withUs?.[at] : undefined
      if (shared && alike(without?.[i], shared)) return judgement(site, way, node, without?.[i], shared)
      return judgeAlone(site, way, node, store, without?.[i])
    }),
  )
}

/**
 * Runs one refusing program with these tickets.
 * @param known how it ends without ticketkeep, if that is known
 */
export async function judgeAlone(
  site: Site,
  way: Way,
  node: NodeLine,
  store: string,
  known?: Attempt,
): Promise<Refused> {
  const one: Omit<Run, 'preload'> = { site, node, way, source: alone(site, way) }
  const without = known ?? (await run<Attempt>({ ...one, preload: false }))
  if (verdictOf(way, without, without, site.server.name) === 'no refusal') {
    return judgement(site, way, node, without, undefined)
  }
  const withUs = await run<Attempt>({ ...one, preload: true, fill: filling(store) })
  if (alike(without, withUs) || withUs?.events.includes('offer')) {
    return judgement(site, way, node, without, withUs)
  }
  // Some errors have two forms at random. Whether this one does shows without ticketkeep.
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
): Refused {
  const verdict = verdictOf(way, without, withUs, name)
  return { way, node, server: name, version: world.version, without, with: withUs, verdict }
}

/**
 * Where a server asks for client certificates, a program that is not identified as Alice is refused, and it may resume as the
 * client that it would be without ticketkeep.
 */
export function verdictOf(
  way: Way,
  without: Attempt | undefined,
  withUs: Attempt | undefined,
  server: ServerName,
): Verdict {
  const isSomebodyElse = isMutual(server) && without?.seen.text !== 'hello alice\n'
  if (connected(without) && !isSomebodyElse) return 'no refusal'
  // A socket that the program itself resumes shows no certificate, and reading that fails. With ticketkeep there is one to refuse.
  if (typeof without?.seen.judged === 'string' && withUs?.seen.judged === false) return 'refused'
  if (!alike(without, withUs)) return connected(withUs) ? 'got through' : 'ended otherwise'
  return withUs?.reused && !way.judge && !isMutual(server) ? 'resumed' : 'refused'
}

const connected = (attempt: Attempt | undefined) =>
  attempt?.seen.error === undefined && attempt?.seen.judged === true && attempt.seen.text.startsWith('hello')

const alike = (one: Attempt | undefined, other: Attempt | undefined) =>
  JSON.stringify(one?.seen) === JSON.stringify(other?.seen)

const filling = (store: string) => (directory: string) => copyTickets(store, directory)

/** Merges the files of stores, whose names differ by binding and at random. A directory that others can enter is not a store. */
export function copyTickets(from: string, to: string): void {
  mkdirSync(to, { mode: 0o700, recursive: true })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) copyTickets(source, target)
    else copyFileSync(source, target)
  }
}

/**
 * The program has taken one of several suitable tickets. If the server identifies clients, another ticket may make it another
 * client. So it runs with the tickets of one accepting program at a time, until that happens.
 */
export async function judgeOneByOne(site: Site, refused: Refused, kept: readonly Kept[]): Promise<Refused> {
  if (!isMutual(refused.server) || !refused.with?.events.includes('offer')) return refused
  for (const { store } of kept) {
    const again = await judgeAlone(site, refused.way, refused.node, store, refused.without)
    if (isBad(again.verdict)) return again
  }
  return refused
}

/** The accepting program whose tickets alone lead to this. Undefined if it takes the tickets of several. */
export async function findGuilty(
  site: Site,
  refused: Refused,
  kept: readonly Kept[],
): Promise<Accepted | undefined> {
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
  while (some.length > 1) {
    const half = some.slice(0, some.length / 2)
    some = (await isGuilty(half)) ? half : some.slice(half.length)
  }
  return some.length > 0 && (await isGuilty(some)) ? some[0]?.accepted : undefined
}

const AT_ONCE = 2

/** Runs all of them, a few at a time, and returns their results in order. */
export async function inParallel<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async () => {
    for (let i = next++; i < tasks.length; i = next++) results[i] = await tasks[i]!()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}
