import { join } from 'node:path'
import { ROOT } from '../../support/places.ts'
import {
  createSandbox,
  type Outcome,
  type RunOptions,
  runProgram,
  type Sandbox,
} from '../../support/run-program.ts'

/** What `attempt.cjs` reports of one connection. */
export interface Attempt {
  /** What any program can see. */
  readonly seen: { readonly error?: string; readonly authorized?: boolean; readonly text: string }
  readonly reused: boolean
  /** What ticketkeep did: `offer`, `resumed`, `harvest`, `skip: reason`. */
  readonly events: readonly string[]
}

export const offered = ({ events }: Attempt) => events.includes('offer')
export const harvested = ({ events }: Attempt) => events.includes('harvest')

const ATTEMPT = JSON.stringify(join(ROOT, 'test/e2e/trust/attempt.cjs'))

/** The source of a program: `body` has `tls`, `attempt`, `report` and `input`, and may await. */
export const program = (body: string) => `
const { attempt, report, events } = require(${ATTEMPT})
const tls = require('node:tls')
const input = JSON.parse(process.argv[2] ?? 'null')
;(async () => {
${body}
})()`

/** Runs such a program and returns what it reported. */
export async function run<T>(
  sandbox: Sandbox,
  body: string,
  input: unknown,
  options: Partial<RunOptions> = {},
): Promise<T> {
  const outcome = await runProgram({
    sandbox,
    source: program(body),
    args: [JSON.stringify(input)],
    ...options,
  })
  return reported(outcome)
}

/** What a program reported. @throws with all that it printed, where it reported nothing */
export function reported<T>(outcome: Outcome): T {
  try {
    return JSON.parse(outcome.stdout) as T
  } catch {
    throw new Error(`the program reported nothing: ${JSON.stringify(outcome)}`)
  }
}

/** One attempt with the options of `input`. */
export const ONE = 'report(await attempt(input))'

/** A sandbox for one test, removed after it. */
export async function inSandbox<T>(test: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  const sandbox = createSandbox()
  try {
    return await test(sandbox)
  } finally {
    sandbox.remove()
  }
}
