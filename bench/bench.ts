import type { NodeLine } from '../test/support/pinned.ts'
import type { Result } from './results.ts'

/** How much is run. */
export interface Counts {
  /** Rounds of a process on loopback. */
  readonly local: number
  /** Rounds over a link with a round-trip time. */
  readonly link: number
  /** Rounds of what nothing is asked of. */
  readonly few: number
  /** Rounds of an install. */
  readonly install: number
  /** The Nodes that everything short is run on. */
  readonly nodes: readonly NodeLine[]
}

export interface Figure {
  readonly name: string
  readonly title: string
  /** Why it cannot be made here, in a line. */
  missing?(): string | undefined
  run(counts: Counts): Promise<Result>
}
