import type { Cost } from './measure.ts'
import { differences, ratios, type Spread } from './paired.ts'

/** What a row's value is: a ratio, a share (of one round trip, of all connections), or a difference in MiB. */
export type Kind = 'ratio' | 'share' | 'MiB'

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

/** A pair of bars. */
export interface Bar {
  readonly group: string
  readonly label: string
  /** Milliseconds. */
  readonly without: number
  readonly with: number
}

/** What one figure has to say. */
export interface Result {
  readonly rows: Row[]
  readonly bars?: Bar[]
  /** Sentences: what was left out and why, what is to be kept in mind. */
  readonly notes?: string[]
}

export type Measure = 'wall time' | 'CPU' | 'first byte' | 'memory'

export const timeToFirstByte = ({ out }: Cost) => Number(out.split(' ')[1])

const VALUES: Record<Measure, (cost: Cost) => number> = {
  'wall time': ({ wall }) => wall,
  CPU: ({ cpu }) => cpu,
  'first byte': timeToFirstByte,
  memory: ({ peak }) => peak / 1024,
}

/** The row that compares two ways by one measure; memory by its difference, all else by its ratio. */
export function row(
  what: string,
  measure: Measure,
  base: readonly Cost[],
  ours: readonly Cost[],
  asked?: Asked,
): Row {
  const [a, b] = [base, ours].map((costs) => costs.map(VALUES[measure]))
  const isMemory = measure === 'memory'
  const unit = isMemory ? ' MiB' : ' ms'
  return {
    what,
    measure,
    without: middle(a!) + unit,
    with: middle(b!) + unit,
    kind: isMemory ? 'MiB' : 'ratio',
    value: isMemory ? differences(b!, a!) : ratios(b!, a!),
    runs: a!.length,
    asked,
  }
}

const middle = (values: readonly number[]) => median(values).toFixed(1)

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = (sorted.length - 1) / 2
  return (sorted[Math.floor(half)]! + sorted[Math.ceil(half)]!) / 2
}

/** How many of the runs resumed, of those that say so by an `r` in front. */
export const resumed = (costs: readonly Cost[]) => costs.filter(({ out }) => out.startsWith('r')).length
