import type { Command, Option } from '../cli/command.ts'
import { COMMANDS, OTHERS, optionsOf } from '../cli/help.ts'

/** What the man page and the completions need of a command. */
export interface Entry {
  readonly name: string
  readonly summary: string
  readonly command: Command
  /** Its own options, and those of every command. */
  readonly options: readonly [name: string, option: Option][]
}

/** Loads all commands. */
export function readTable(): Promise<readonly Entry[]> {
  return Promise.all(
    Object.entries(COMMANDS).map(async ([name, { summary, load }]) => {
      const { command } = await load()
      return { name, summary, command, options: optionsOf(command) }
    }),
  )
}

/** The name and summary of each command, including those that `main.ts` handles itself. */
export const summaries = (table: readonly Entry[]): (readonly [name: string, summary: string])[] => [
  ...table.map(({ name, summary }) => [name, summary] as const),
  ...OTHERS.map(([name, { summary }]) => [name, summary] as const),
]
