import type { NodeLine } from '../test/support/pinned.ts'
import type { Result } from './results.ts'

/** How many rounds each kind of measurement has. */
export interface Counts {
  /** Rounds of a process without connections. */
  readonly silent: number
  /** Rounds of a process with a connection or two. */
  readonly short: number
  /** Rounds of a process with a few hundred connections, and of an install. */
  readonly middle: number
  /** Rounds of a process with thousands of connections. */
  readonly long: number
  /** The number of hosts and connections of such a process. */
  readonly thousands: (count: number) => number
  /** The Nodes that run all short measurements. */
  readonly nodes: readonly NodeLine[]
}

export interface Figure {
  readonly name: string
  readonly title: string
  /** Why the figure cannot be measured on this machine, in one line. */
  missing?(): string | undefined
  run(counts: Counts): Promise<Result>
}
