import type { NodeLine } from '../test/support/pinned.ts'
import type { Result } from './results.ts'

/** How often things are done. */
export interface Counts {
  /** Rounds of a process that makes no connection. */
  readonly silent: number
  /** Rounds of a process with a connection or two. */
  readonly short: number
  /** Rounds of a process with some hundred connections, and of an install. */
  readonly middle: number
  /** Rounds of a process with thousands of connections. */
  readonly long: number
  /** How many hosts and connections such a process has. */
  readonly thousands: (count: number) => number
  /** The Nodes on which everything short is run. */
  readonly nodes: readonly NodeLine[]
}

export interface Figure {
  readonly name: string
  readonly title: string
  /** Why it cannot be made here, in a line. */
  missing?(): string | undefined
  run(counts: Counts): Promise<Result>
}
