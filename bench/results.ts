import type { Cost } from './measure.ts'
import { differences, ratios, type Spread, spread } from './paired.ts'

/**
 * The kind of a row's value: a ratio, a share (of a round trip, of all connections), a difference in MiB, a time, or a
 * count.
 */
export type Kind = 'ratio' | 'share' | 'MiB' | 'ms' | 'count'

/** One row of the table: something done without and with ticketkeep, compared pair by pair. */
export interface Row {
  readonly what: string
  /** What was measured: wall time, CPU, first byte… */
  readonly measure: string
  readonly without: string
  readonly with: string
  readonly kind: Kind
  readonly value: Spread
  readonly runs: number
  readonly asked?: Asked | undefined
}

export interface Asked {
  readonly atMost?: number
  readonly atLeast?: number
}

/** One figure of the README's table. */
export interface Cell {
  /** The round trip. */
  readonly line: string
  readonly column: string
  readonly ratio: number
}

/** The result of one figure. */
export interface Result {
  readonly rows: Row[]
  readonly cells?: Cell[]
  /** Sentences: what was left out and why, and what to keep in mind. */
  readonly notes?: string[]
}

export type Measure = 'wall time' | 'CPU' | 'memory' | 'time of the calls'

/** The time that a program prints after its other output: how long its own work took. */
export const timeOfCalls = ({ out }: Cost) => Number(out.split(' ')[1])

const VALUES: Record<Measure, (cost: Cost) => number> = {
  'wall time': ({ wall }) => wall,
  CPU: ({ cpu }) => cpu,
  memory: ({ peak }) => peak / 1024,
  'time of the calls': timeOfCalls,
}

/** A row that compares two alternatives by one measure: memory by difference, all else by ratio. */
export function row(
  what: string,
  measure: Measure,
  base: readonly Cost[],
  ours: readonly Cost[],
  asked?: Asked,
): Row {
  const [a, b] = [base, ours].map((costs) => costs.map(VALUES[measure])) as [number[], number[]]
  const isMemory = measure === 'memory'
  const unit = isMemory ? 'MiB' : 'ms'
  return {
    what,
    measure,
    without: middle(a, unit),
    with: middle(b, unit),
    kind: isMemory ? 'MiB' : 'ratio',
    value: isMemory ? differences(b, a) : ratios(b, a),
    runs: a.length,
    asked,
  }
}

/** A row without a comparison, except with its target. */
export function ownRow(
  what: string,
  measure: string,
  kind: 'ms' | 'count',
  values: readonly number[],
  asked?: Asked,
): Row {
  return { what, measure, without: '', with: '', kind, value: spread(values), runs: values.length, asked }
}

/** A row with the share of all connections that resumed. */
export function resumedRow(what: string, resumed: number, all: number, runs: number, asked?: Asked): Row {
  const share = resumed / all
  return {
    what,
    measure: 'resumed',
    without: '',
    with: `${resumed} of ${all}`,
    kind: 'share',
    value: { median: share, low: share, high: share },
    runs,
    asked,
  }
}

const middle = (values: readonly number[], unit: string) =>
  `${median(values).toFixed(median(values) < 10 ? 2 : 1)} ${unit}`

export const median = (values: readonly number[]) => spread(values).median

/** How many connections of a run resumed: the first number that its program prints. */
export const resumedIn = ({ out }: Cost) => Number.parseInt(out, 10)
