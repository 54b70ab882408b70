#!/usr/bin/env node
import { TicketkeepError } from '../errors.ts'
import { type Command, didYouMean, Failure, parseInput, UsageError } from './command.ts'
import { COMMANDS, helpFor, helpForAll, version } from './help.ts'
import { PROSE, type Report, renderError, renderJson, renderText, widthOf } from './render.ts'

async function main(argv: readonly string[]): Promise<number | undefined> {
  const [name, ...rest] = argv
  if (name === undefined) {
    process.stderr.write(renderText(helpForAll(), widthOf(process.stderr) ?? PROSE))
    return 2
  }
  if (['version', '--version', '-v', '-V'].includes(name)) {
    const other = rest.find((word) => word !== '--json')
    if (other !== undefined)
      throw new UsageError(`version takes no ${other}; usage: ticketkeep version [--json]`)
    const report = { json: { version: version() }, text: [`ticketkeep ${version()}`] }
    return print(report, rest.includes('--json'))
  }
  if (['help', '--help', '-h'].includes(name)) return help(rest[0])
  const command = await load(name)
  const { help: wanted, ...input } = parseInput(name, command, rest)
  if (wanted) return help(name)
  const report = await command.run(input)
  return report && print(report, input.json)
}

async function help(name: string | undefined): Promise<number> {
  const text = name === undefined ? helpForAll() : helpFor(await load(name))
  return print({ json: undefined, text }, false, PROSE)
}

async function load(name: string): Promise<Command> {
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (entry) return (await entry.load()).command
  const hint =
    didYouMean(name, Object.keys(COMMANDS)) ??
    (name.startsWith('-') ? 'options go behind the command' : '"ticketkeep help" lists the commands')
  throw new UsageError(`there is no command "${name}"; ${hint}`)
}

/** @param otherwise columns to use if the output is not a terminal; if omitted, paragraphs are not wrapped */
function print(report: Report, json: boolean, otherwise?: number): number {
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
    // A reader that closes the pipe early (`| head -1`) is not a failure.
    if (code === 'EPIPE') return
    process.stderr.write(renderError(`the output could not be written (${code}); check where it goes`))
    process.exitCode = 1
  })
  process.stdout.write(
    json ? renderJson(report.json) : renderText(report.text, widthOf(process.stdout) ?? otherwise),
  )
  return report.exitCode ?? 0
}

function sentence(error: unknown): string {
  if (error instanceof UsageError || error instanceof Failure || error instanceof TicketkeepError) {
    return error.message
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `this is a defect in ticketkeep, please report it with these words: ${detail}`
}

function isWrongUsage(error: unknown): boolean {
  return (
    error instanceof UsageError || (error instanceof TicketkeepError && error.code === 'ERR_INVALID_SETTING')
  )
}

/** For `run`, `--json` may belong to another program, whose output is not ours. */
const wantsJson = ([name, ...rest]: readonly string[]) => name !== 'run' && rest.includes('--json')

/** `{ "error": { "code": "ERR_USAGE", "message": "…" } }`. The code is `ERR_USAGE`, `ERR_FAILED`, `ERR_DEFECT` or that of a `TicketkeepError`. */
function errorAsJson(error: unknown) {
  const code =
    error instanceof TicketkeepError
      ? error.code
      : error instanceof UsageError
        ? 'ERR_USAGE'
        : error instanceof Failure
          ? 'ERR_FAILED'
          : 'ERR_DEFECT'
  return { error: { code, message: sentence(error) } }
}

// If stderr cannot be written, the exit status still reports the failure.
process.stderr.on('error', () => {})
main(process.argv.slice(2)).then(
  (code) => {
    if (code !== undefined) process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(renderError(sentence(error)))
    if (wantsJson(process.argv.slice(2))) process.stdout.write(renderJson(errorAsJson(error)))
    process.exitCode = isWrongUsage(error) ? 2 : 1
  },
)
