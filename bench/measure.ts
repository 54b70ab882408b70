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

/** The cost of a run, measured from outside: from before its start until after its exit. */
export interface Cost {
  /** Milliseconds. */
  readonly wall: number
  /** User and system time: milliseconds. */
  readonly cpu: number
  /** The peak resident set size: KiB. */
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
 * Measures with a small Python process, since Node does not report the resource usage of a child (`wait4`). It is
 * started once and runs one command after the other.
 * @param prefix words before its own command line, for example `keyctl session -`
 */
export function startMeter(prefix: readonly string[] = []): Meter {
  const [command = '', ...args] = [...prefix, 'python3', join(ROOT, 'bench/measure.py')]
  const python = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const waiting: ((line: string | undefined) => void)[] = []
  const answers = createInterface({ input: python.stdout })
  // Skips the line that keyctl prints first.
  answers.on('line', (line) => line.startsWith('{') && waiting.shift()?.(line))
  answers.on('close', () => {
    for (const answer of waiting.splice(0)) answer(undefined)
  })
  python.stdin.on('error', () => {})
  return {
    async measure(job) {
      const line = await new Promise<string | undefined>((done) => {
        waiting.push(done)
        python.stdin.write(`${JSON.stringify(job)}\n`)
      })
      if (line === undefined) throw new Error('the measuring process has ended')
      return JSON.parse(line) as Cost
    },
    close: () => void python.stdin.end(),
  }
}
