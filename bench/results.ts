import type { Cost } from './measure.ts'
import { differences, ratios, type Spread, spread } from './paired.ts'

/** What a row's value is: a ratio, a share (of a round trip, of all connections), a difference in MiB, a time, or a count. */
export type Kind = 'ratio' | 'share' | 'MiB' | 'ms' | 'count'

/** One line of the table: something done without and with, and how the two compare, pair by pair. */
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

/** What one figure has to say. */
export interface Result {
  readonly rows: Row[]
  readonly cells?: Cell[]
  /** Sentences: what was left out and why, what is to be kept in mind. */
  readonly notes?: string[]
}

export type Measure = 'wall time' | 'CPU' | 'memory' | 'time of the calls'

/** Of a program that prints how long its own work took, after what it has done. */
export const timeOfCalls = ({ out }: Cost) => Number(out.split(' ')[1])

const VALUES: Record<Measure, (cost: Cost) => number> = {
  'wall time': ({ wall }) => wall,
  CPU: ({ cpu }) => cpu,
  memory: ({ peak }) => peak / 1024,
  'time of the calls': timeOfCalls,
}

/** The row that compares two ways by one measure; memory by its difference, all else by its ratio. */
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

/** The row of what is compared with nothing but what is asked. */
export function ownRow(
  what: string,
  measure: string,
  kind: 'ms' | 'count',
  values: readonly number[],
  asked?: Asked,
): Row {
  return { what, measure, without: '', with: '', kind, value: spread(values), runs: values.length, asked }
}

/** The row of the share of all connections that resumed. */
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

/** How many connections of a run resumed: its program says so first. */
export const resumedIn = ({ out }: Cost) => Number.parseInt(out, 10)
