import { type ParseArgsConfig, parseArgs } from 'node:util'
import type { Report } from './render.ts'

export type OptionTable = NonNullable<ParseArgsConfig['options']>

/** One subcommand. Its file is loaded only when it is called. */
export interface Command {
  /** What follows `ticketkeep `: `invalidate HOST[:PORT] [--json]`. */
  readonly usage: string
  /** What `--help` prints below the usage. */
  readonly help: string
  /** Beyond `--json` and `--help`, which every command has. */
  readonly options?: OptionTable
  /** The least and the most operands. */
  readonly operands: readonly [number, number]
  /** Everything from the first operand on belongs to another program: `run`. */
  readonly wraps?: true
  /** Returns what to print, or nothing where another program's end decides this one's. */
  run(input: Input): Report | undefined | Promise<Report | undefined>
}

export interface Input {
  readonly operands: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | undefined>>
  readonly json: boolean
}

/** A call that means nothing: one sentence on stderr, exit 2. */
export class UsageError extends Error {}

/** A command that could not do its work: one sentence on stderr, exit 1. */
export class Failure extends Error {}

const COMMON: OptionTable = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } }

/** @throws {UsageError} */
export function parseInput(
  name: string,
  command: Command,
  argv: readonly string[],
): Input & { help: boolean } {
  const config = { ...COMMON, ...command.options }
  const [own, wrapped] = command.wraps ? cutAtOperand(argv, config) : [argv, []]
  const { values, positionals } = parse(name, own, config)
  const operands = [...positionals, ...wrapped]
  const { json = false, help = false, ...options } = values as Record<string, string | boolean | undefined>
  const [least, most] = command.operands
  if (!help && (operands.length < least || operands.length > most)) {
    const problem = operands.length < least ? 'too few arguments' : `too many arguments (${operands.at(-1)})`
    throw new UsageError(`${problem}; usage: ticketkeep ${command.usage}`)
  }
  return { operands, options, json: json === true, help: help === true }
}

/** What stands before the wrapped program (a `--` is dropped), and the program with all its arguments. */
function cutAtOperand(argv: readonly string[], config: OptionTable): [readonly string[], readonly string[]] {
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!
    if (arg === '--') return [argv.slice(0, i), argv.slice(i + 1)]
    if (!arg.startsWith('-') || arg === '-') return [argv.slice(0, i), argv.slice(i)]
    if (arg.startsWith('--') && config[arg.slice(2)]?.type === 'string') i++
  }
  return [argv, []]
}

function parse(name: string, args: readonly string[], options: OptionTable) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error
    const problem =
      code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION'
        ? `unknown option ${/'(.*?)'/s.exec(message)?.[1] ?? ''}`
        : message.includes('ambiguous')
          ? `option ${/'(.*?)'/s.exec(message)?.[1] ?? ''} has no value`
          : message.charAt(0).toLowerCase() + message.slice(1).split('. ')[0]!.split('\n')[0]
    throw new UsageError(`${problem}; "ticketkeep ${name} --help" lists the options`)
  }
}
