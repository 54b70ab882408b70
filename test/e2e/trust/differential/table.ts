import type { Result } from './pairs.ts'
import { type Accepted, isBad, type Place, type Refused, type Verdict } from './verdicts.ts'
import type { Way } from './way.ts'
import { WAYS_TO_ACCEPT } from './ways-to-accept.ts'
import { WAYS_TO_REFUSE } from './ways-to-refuse.ts'

// The result of a run of all pairs, as a table and as JSON.

export interface Tally {
  /** Pairs that counted: there was a ticket, and the refusing program fails without ticketkeep. */
  readonly counted: number
  /** Ways with at least one pair that counted. */
  readonly waysToAccept: number
  readonly waysToRefuse: number
  /** One line for each refusing program that did not end as it does without ticketkeep. */
  readonly through: readonly string[]
}

/** The pairs of different processes. */
export function tally({ accepted, refused }: Result): Tally {
  let counted = 0
  const accepting = new Set<string>()
  const refusing = new Set<string>()
  const through: string[] = []
  for (const one of refused) {
    if (one.verdict === 'no refusal') continue
    const met = accepted.filter((other) => isPair(other, one))
    counted += met.length
    for (const { way } of met) accepting.add(way.name)
    if (met.length > 0) refusing.add(one.way.name)
    if (!isBad(one.verdict)) continue
    through.push(line(one.guilty ? nameOf(one.guilty) : 'several together', one))
  }
  return { counted, waysToAccept: accepting.size, waysToRefuse: refusing.size, through }
}

/** The pairs in one process. */
export function tallyInOneProcess({ inOneProcess }: Result): Tally {
  const counts = inOneProcess.filter((pair) => pair.counts)
  const bad = inOneProcess.filter(({ verdict }) => isBad(verdict))
  return {
    counted: counts.length,
    waysToAccept: new Set(counts.map(({ accepting }) => accepting.name)).size,
    waysToRefuse: new Set(counts.map(({ refusing }) => refusing.name)).size,
    through: bad.map((pair) => line(pair.accepting.name, { ...pair, way: pair.refusing })),
  }
}

/** A client that the server identifies as the same with and without a ticket has not been refused. */
function isPair(accepted: Accepted, refused: Refused): boolean {
  const isSameServer = accepted.server === refused.server && accepted.version === refused.version
  if (!isSameServer || accepted.notCounted !== undefined) return false
  return (
    refused.without?.seen.error !== undefined || refused.without?.seen.text !== accepted.attempt?.seen.text
  )
}

const nameOf = ({ way, node }: Accepted) => `${way.name} (Node ${node})`

const line = (by: string, { way, server, version, node, verdict }: Place & { way: Way; verdict: Verdict }) =>
  `${verdict}: ${way.name} [${server}, ${version}, Node ${node}], after ${by}`

/** For a terminal. */
export function render(result: Result): string {
  const pairs = tally(result)
  const inOne = tallyInOneProcess(result)
  return [
    section('Ways that cannot be tried on this machine', missing([...WAYS_TO_ACCEPT, ...WAYS_TO_REFUSE])),
    section('Ways to accept that kept no ticket, so that their pairs do not count', notKept(result.accepted)),
    section(
      'Ways to refuse that refuse nothing, so that their pairs do not count',
      noRefusal(result.refused),
    ),
    section('Not refused as without ticketkeep', grouped(pairs.through)),
    section('Not refused as without ticketkeep, in one process', grouped(inOne.through)),
    `Pairs of two processes: ${pairs.counted} counted (${pairs.waysToAccept} ways to accept by ` +
      `${pairs.waysToRefuse} ways to refuse), ${pairs.through.length} not refused.`,
    `Pairs in one process: ${inOne.counted} counted (${inOne.waysToAccept} by ${inOne.waysToRefuse}), ` +
      `${inOne.through.length} not refused.`,
    '',
  ].join('\n')
}

const section = (title: string, lines: readonly string[]) =>
  [`${title}: ${lines.length === 0 ? 'none' : ''}`, ...lines.map((one) => `  ${one}`), ''].join('\n')

const missing = (ways: readonly Way[]) =>
  ways.filter(({ needs }) => needs !== undefined).map(({ name, needs }) => `${name}: ${needs}`)

const notKept = (accepted: readonly Accepted[]) =>
  merged(
    accepted
      .filter(({ notCounted }) => notCounted !== undefined)
      .map((one) => [`${one.way.name} [${one.server}]: ${one.notCounted}`, place(one)]),
  )

/** Only ways that refuse no server get a line, since many need one kind of server. */
function noRefusal(refused: readonly Refused[]): string[] {
  const useful = new Set(refused.filter(({ verdict }) => verdict !== 'no refusal').map(({ way }) => way))
  return merged(
    refused
      .filter(({ way }) => !useful.has(way))
      .map((one) => [`${one.way.name} [${one.server}]`, place(one)]),
  )
}

const place = ({ version, node }: { version: string; node: string }) => `${version} Node ${node}`

/** One line for all places with the same text. */
function merged(entries: readonly (readonly [string, string])[]): string[] {
  const places = new Map<string, string[]>()
  for (const [text, where] of entries) places.set(text, [...(places.get(text) ?? []), where])
  return [...places].map(([text, where]) => `${text} (${where.join(', ')})`)
}

/** A few examples of a flaw that hundreds of pairs show. */
function grouped(lines: readonly string[]): string[] {
  const groups = new Map<string, string[]>()
  for (const one of lines) {
    const name = one.split(', after ')[0]!
    groups.set(name, [...(groups.get(name) ?? []), one])
  }
  return [...groups.values()].flatMap((group) => [
    ...group.slice(0, 3),
    ...(group.length > 3 ? [`  and ${group.length - 3} more like it`] : []),
  ])
}

/** For programs, with names instead of the ways themselves. */
export const toJson = (result: Result) =>
  JSON.stringify(
    { pairs: tally(result), pairsInOneProcess: tallyInOneProcess(result), ...result },
    (key, value) => {
      if (['way', 'accepting', 'refusing'].includes(key)) return value.name
      return key === 'guilty' && value ? nameOf(value) : value
    },
    1,
  )
