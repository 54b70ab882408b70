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
 * @param prefix words before its own command line, `keyctl session -` for one
 */
export function startMeter(prefix: readonly string[] = []): Meter {
  const [command = '', ...args] = [...prefix, 'python3', join(ROOT, 'bench/measure.py')]
  const python = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const waiting: ((line: string | undefined) => void)[] = []
  const answers = createInterface({ input: python.stdout })
  // keyctl has a word to say first.
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
