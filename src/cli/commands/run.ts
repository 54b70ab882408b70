import { asksForPermission, parseNodeOptions, withPreload } from '../../common/node-options.ts'
import type { ChildKeyFile } from '../../keys/child-key-file.ts'
import { isDisabled, readSettings } from '../../settings.ts'
import type { Command, Input } from '../command.ts'
import { renderError } from '../render.ts'
import type { RunPool } from '../run-pool.ts'
import { moduleToLoad } from '../setup-files.ts'
import type { Off } from '../summary/tally.ts'

type Environment = Record<string, string | undefined>

/** `--json`: the summary as one line of JSON, the `Summary` of `../summary/tally.ts`. */
export const command: Command = {
  usage:
    'run [--summary] [--summary-file FILE] [--json] [--report FILE] [--pool URL] [--job NAME] [--] COMMAND [ARGUMENT...]',
  help: `
Runs COMMAND with ticketkeep switched on for it and for every Node program that it starts. COMMAND
uses our standard input, output and error, and receives the signals sent to us. Our exit status is that
of COMMAND, 127 if it is not found, or 126 if it cannot be executed.`,
  options: {
    summary: { type: 'boolean', about: 'report on stderr what was resumed, and why the rest was not' },
    'summary-file': { type: 'string', value: 'FILE', about: 'write that report to FILE' },
    json: { type: 'boolean', about: 'print that report as one line of JSON' },
    report: { type: 'string', value: 'FILE', about: 'write a page (HTML) that shows each connection' },
    pool: {
      type: 'string',
      value: 'URL',
      about:
        "take tickets from this fleet's pool before, and give them back after; so does TICKETKEEP_POOL, which is not passed to the command",
    },
    job: { type: 'string', value: 'NAME', about: 'name of the job: see "ticketkeep pool --help"' },
  },
  operands: [1, Number.POSITIVE_INFINITY],
  completes: 'programs',
  wraps: true,
  async run(input) {
    const { options, json } = input
    const [name = '', ...args] = input.operands
    const { env, off } = environment(args)
    const summary = (options['summary-file'] as string | undefined) ?? (options.summary === true || json)
    const report = options.report as string | undefined
    const summaries = summary || report !== undefined ? await import('../run-summary.ts') : undefined
    const wanted = summaries?.checked({ summary, report, json })
    const key = await childKeyFile(env)
    Object.assign(env, key?.variables)
    const pool = await takeForRun(input, env)
    const ended = () => {
      key?.remove()
      return pool?.giveBack()
    }
    if (summaries && wanted) summaries.runWithSummary([name, ...args], env, off, wanted, ended)
    else {
      const { supervise } = await import('../supervise.ts')
      supervise(name, args, env, ended)
    }
    return undefined
  },
}

/** The environment of the command: ours with the preload in NODE_OPTIONS, or the reason why the preload is missing. */
function environment(args: readonly string[]): { env: Environment; off: Off | null } {
  const env: Environment = { ...process.env }
  if (isDisabled(env)) return { env, off: 'disabled' }
  if (asksForPermission([...args, ...(parseNodeOptions(env.NODE_OPTIONS ?? '') ?? [])]))
    return { env, off: 'permission-model' }
  const preload = moduleToLoad()
  if (preload === undefined) {
    process.stderr.write(
      renderError('the preload is missing, so the command runs without it; install ticketkeep again'),
    )
    return { env, off: 'preload-missing' }
  }
  env.NODE_OPTIONS = withPreload(env.NODE_OPTIONS, preload)
  return { env, off: null }
}

/** Runs the key command once for all processes of the tree. */
async function childKeyFile(env: Environment): Promise<ChildKeyFile | undefined> {
  if (!env.TICKETKEEP_KEY_COMMAND || isDisabled(env)) return undefined
  try {
    const { writeChildKeyFile } = await import('../../keys/child-key-file.ts')
    return writeChildKeyFile(readSettings(env).key, 'children')
  } catch {
    return undefined
  }
}

/** Loads the code for pools only if a pool is set. */
async function takeForRun(input: Input, env: Environment): Promise<RunPool | undefined> {
  if (input.options.pool === undefined && env.TICKETKEEP_POOL === undefined) return undefined
  return (await import('../run-pool.ts')).takeForRun(input, env)
}
