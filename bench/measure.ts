import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ROOT } from '../test/support/places.ts'

/** A command to run. */
export interface Job {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
}

/** What a run has cost, seen from outside: from before its start to after its exit. */
export interface Cost {
  /** Milliseconds. */
  readonly wall: number
  /** Milliseconds of user and system time. */
  readonly cpu: number
  /** KiB: the highest resident set. */
  readonly peak: number
  readonly status: number
  /** Its standard output. */
  readonly out: string
}

export interface Meter {
  measure(job: Job): Promise<Cost>
  close(): void
}

/**
 * By a small Python process, since Node does not tell what a child has cost (`wait4`): started once, it runs
 * one command after the other.
 */
export function startMeter(): Meter {
  const python = spawn('python3', [join(ROOT, 'bench/measure.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]()
  return {
    async measure(job) {
      python.stdin.write(`${JSON.stringify(job)}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error('python3 has ended')
      return JSON.parse(value) as Cost
    },
    close: () => void python.stdin.end(),
  }
}
