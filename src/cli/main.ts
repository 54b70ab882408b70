#!/usr/bin/env node
import { TicketkeepError } from '../errors.ts'
import { type Command, Failure, parseInput, UsageError } from './command.ts'
import { COMMANDS, helpFor, helpForAll, version } from './help.ts'
import { type Report, renderError, renderJson, renderText } from './render.ts'

async function main(argv: readonly string[]): Promise<number | undefined> {
  const [name, ...rest] = argv
  if (name === undefined) {
    process.stderr.write(renderText(helpForAll()))
    return 2
  }
  if (name === '--version' || name === '-V') return print({ json: undefined, text: [version()] }, false)
  if (name === 'help' || name === '--help' || name === '-h') return help(rest[0])
  const command = await load(name)
  const { help: wanted, ...input } = parseInput(name, command, rest)
  if (wanted) return print({ json: undefined, text: helpFor(command) }, false)
  const report = await command.run(input)
  return report && print(report, input.json)
}

async function help(name: string | undefined): Promise<number> {
  const text = name === undefined ? helpForAll() : helpFor(await load(name))
  return print({ json: undefined, text }, false)
}

async function load(name: string): Promise<Command> {
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (entry) return (await entry.load()).command
  throw new UsageError(`there is no command "${name}"; "ticketkeep help" lists the commands`)
}

function print(report: Report, json: boolean): number {
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
    // A reader that has seen enough (`| head -1`) is no failure.
    if (code === 'EPIPE') return
    process.stderr.write(renderError(`the output could not be written (${code}); check where it goes`))
    process.exitCode = 1
  })
  process.stdout.write(json ? renderJson(report.json) : renderText(report.text))
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

// Where nobody can be told what is wrong, the exit status still says it.
process.stderr.on('error', () => {})
main(process.argv.slice(2)).then(
  (code) => {
    if (code !== undefined) process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(renderError(sentence(error)))
    process.exitCode = isWrongUsage(error) ? 2 : 1
  },
)
