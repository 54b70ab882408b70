import { asksForPermission, withPreload } from '../../common/node-options.ts'
import type { ChildKeyFile } from '../../keys/child-key-file.ts'
import { isDisabled, readSettings } from '../../settings.ts'
import type { Command } from '../command.ts'
import { renderError } from '../render.ts'
import { moduleToLoad } from '../setup-files.ts'

type Environment = Record<string, string | undefined>

/**
 * `--json` turns the line of `--summary`, on stderr, into one line of JSON:
 * `{"connections":15,"resumed":15,"kept":3}`
 */
export const command: Command = {
  usage: 'run [--summary [--json]] [--] COMMAND [ARGUMENT...]',
  help: `
Runs COMMAND with ticketkeep switched on for it and for every Node program that it starts. COMMAND
has our standard input, output and error, gets the signals sent to us, and its exit status is ours;
127 if it is not found, 126 if it cannot be executed.`,
  options: {
    summary: {
      type: 'boolean',
      about: 'at the end, one line on stderr: TLS connections, how many were resumed, tickets kept',
    },
    json: { type: 'boolean', about: 'that line as JSON' },
  },
  operands: [1, Number.POSITIVE_INFINITY],
  completes: 'programs',
  wraps: true,
  async run({ operands: [name = '', ...args], options, json }) {
    const env = environment(args)
    const key = await childKeyFile(env)
    Object.assign(env, key?.variables)
    if (options.summary) {
      const { runWithSummary } = await import('../run-summary.ts')
      runWithSummary(name, args, env, json, key?.remove)
    } else {
      const { supervise } = await import('../supervise.ts')
      supervise(name, args, env, key?.remove)
    }
    return undefined
  },
}

/** The environment of the command: ours, and the preload in NODE_OPTIONS. */
function environment(args: readonly string[]): Environment {
  const env: Environment = { ...process.env }
  if (isDisabled(env) || asksForPermission(args)) return env
  const preload = moduleToLoad()
  if (preload === undefined) {
    process.stderr.write(
      renderError('the preload is missing, so the command runs without it; install ticketkeep again'),
    )
  } else {
    env.NODE_OPTIONS = withPreload(env.NODE_OPTIONS, preload)
  }
  return env
}

/** A key that a command gives is fetched once for all processes of the tree. */
async function childKeyFile(env: Environment): Promise<ChildKeyFile | undefined> {
  if (!env.TICKETKEEP_KEY_COMMAND || isDisabled(env)) return undefined
  try {
    const { writeChildKeyFile } = await import('../../keys/child-key-file.ts')
    return writeChildKeyFile(readSettings(env).key, 'children')
  } catch {
    return undefined
  }
}
