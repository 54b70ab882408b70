import type { Cost } from './measure.ts'

/** The median, and the quartiles around it. */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) }
}

function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q
  const below = sorted[Math.floor(at)]!
  return below + (sorted[Math.ceil(at)]! - below) * (at % 1)
}

/** One of the alternatives that are compared. */
export type Way = () => Promise<Cost>

/**
 * Runs every alternative once per round, in alternating order, so that other load on the machine affects all of them
 * alike.
 * @returns the costs of each alternative, round by round
 */
export async function interleave<Name extends string>(
  ways: Readonly<Record<Name, Way>>,
  rounds: number,
): Promise<Record<Name, Cost[]>> {
  const names = Object.keys(ways) as Name[]
  const costs = Object.fromEntries(names.map((name) => [name, [] as Cost[]])) as Record<Name, Cost[]>
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) costs[name].push(await ways[name]())
  }
  return costs
}

/** The ratio of each round's pair. */
export const ratios = (ours: readonly number[], base: readonly number[]): Spread =>
  spread(ours.map((cost, round) => cost / base[round]!))

/** The difference of each round's pair. */
export const differences = (ours: readonly number[], base: readonly number[]): Spread =>
  spread(ours.map((cost, round) => cost - base[round]!))
