import { type ParseArgsConfig, parseArgs } from 'node:util'
import { closestMatch } from 'leven'
import type { Report } from './render.ts'

type ParsedOption = NonNullable<ParseArgsConfig['options']>[string]

/** An option of `parseArgs`, with texts for people. */
export interface Option extends ParsedOption {
  /** What it does, for the help, the man page and the completions: `all but the key`. */
  readonly about?: string
  /** The placeholder for its value. `FILE` is completed with file names. */
  readonly value?: string
  /** The possible values, if they can be listed. */
  readonly choices?: readonly string[]
}

export type OptionTable = Readonly<Record<string, Option>>

/** One subcommand. Its file is loaded only when it is called. */
export interface Command {
  /** The usage after `ticketkeep `: `invalidate HOST[:PORT] [--json]`. */
  readonly usage: string
  /** The paragraphs that `--help` and the man page show below the usage. Indented lines are not rewrapped. */
  readonly help: string
  /** Options besides `--json` and `--help`, which every command has. */
  readonly options?: OptionTable
  /** The minimum and maximum number of operands. */
  readonly operands: readonly [number, number]
  /** Completions for its operands: file names, program names, or these words. */
  readonly completes?: 'files' | 'programs' | readonly string[]
  /** Everything from the first operand on belongs to another program: `run`. */
  readonly wraps?: true
  /** Returns what to print. Returns nothing if the exit of another program decides ours. */
  run(input: Input): Report | undefined | Promise<Report | undefined>
}

export interface Input {
  readonly operands: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | undefined>>
  readonly json: boolean
}

/** Wrong usage: one sentence on stderr, exit 2. */
export class UsageError extends Error {}

/** A command that failed: one sentence on stderr, exit 1. */
export class Failure extends Error {}

/** The options of every command. */
export const COMMON: OptionTable = {
  json: { type: 'boolean', about: 'print the result as JSON' },
  help: { type: 'boolean', short: 'h', about: 'print this help' },
}

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
  for (const [option, { choices }] of Object.entries(config)) {
    const value = options[option]
    if (value !== undefined && choices && !choices.includes(String(value))) {
      throw new UsageError(`--${option} ${value} is not known; it is one of ${choices.join(', ')}`)
    }
  }
  return { operands, options, json: json === true, help: help === true }
}

/**
 * Splits the arguments into those before the wrapped program (a `--` is dropped), and the program with its arguments.
 */
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
    const config: ParseArgsConfig = { args: [...args], options, allowPositionals: true }
    return parseArgs(config)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error
    const quoted = /'(.*?)'/s.exec(message)?.[1] ?? ''
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
      const known = Object.keys(options).map((option) => `--${option}`)
      const help = `"ticketkeep ${name} --help" lists the options`
      throw new UsageError(`unknown option ${quoted}; ${didYouMean(quoted, known) ?? help}`)
    }
    const problem = message.includes('ambiguous')
      ? `option ${quoted} has no value`
      : message.charAt(0).toLowerCase() + message.slice(1).split('. ')[0]!.split('\n')[0]
    throw new UsageError(`${problem}; "ticketkeep ${name} --help" lists the options`)
  }
}

/** A "did you mean" question, if one of the names is close to the written one. */
export function didYouMean(written: string, names: readonly string[]): string | undefined {
  const near = closestMatch(written, names, { maxDistance: written.length < 5 ? 1 : 2 })
  return near && `did you mean "${near}"?`
}
