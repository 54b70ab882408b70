import { COMMON, type Command, type Option } from './command.ts'
import type { Block } from './render.ts'

interface Entry {
  readonly summary: string
  load(): Promise<{ readonly command: Command }>
}

/** Every command: its summary, and the file that is loaded when it is called. */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  env: { summary: 'print shell code that switches ticketkeep on', load: () => import('./commands/env.ts') },
  run: { summary: 'run one command with ticketkeep switched on', load: () => import('./commands/run.ts') },
  init: { summary: 'make the key, and the files for your shell', load: () => import('./commands/init.ts') },
  status: { summary: 'say whether tickets are kept, and where', load: () => import('./commands/status.ts') },
  doctor: {
    summary: 'find out why tickets are not kept',
    load: () => import('./commands/doctor.ts'),
  },
  policy: {
    summary: "explain the administrator's policy",
    load: () => import('./commands/policy.ts'),
  },
  list: { summary: 'list the tickets', load: () => import('./commands/list.ts') },
  probe: { summary: 'measure what resumption saves at a server', load: () => import('./commands/probe.ts') },
  import: { summary: 'encrypt a plaintext ticket file', load: () => import('./commands/import.ts') },
  invalidate: { summary: 'remove the tickets of one server', load: () => import('./commands/invalidate.ts') },
  'rotate-key': { summary: 'replace the key now', load: () => import('./commands/rotate-key.ts') },
  purge: { summary: 'remove every ticket, and the key', load: () => import('./commands/purge.ts') },
  precompile: {
    summary: 'keep compiled code, for a quicker start',
    load: () => import('./commands/precompile.ts'),
  },
  completion: {
    summary: 'print code for the completions of a shell',
    load: () => import('./commands/completion.ts'),
  },
  pool: {
    summary: "take tickets from a fleet's pool, and give them back",
    load: () => import('./commands/pool.ts'),
  },
  prune: { summary: 'remove tickets that are too old', load: () => import('./commands/prune.ts') },
}

/** Commands that `main.ts` handles itself. */
export const OTHERS: readonly (readonly [name: string, about: Pick<Entry, 'summary'>])[] = [
  ['help', { summary: 'say what a command does' }],
  ['version', { summary: 'print the version' }],
]

export function helpForAll(): Block[] {
  return [
    'Usage: ticketkeep COMMAND [OPTION...]',
    '',
    'TLS session resumption across runs of Node programs, with the tickets encrypted on disk.',
    '',
    {
      table: [...Object.entries(COMMANDS), ...OTHERS].map(([name, { summary }]) => [`  ${name}`, summary]),
    },
    '',
    '"ticketkeep help COMMAND" says more. Every command takes --json.',
    'Exit status: 0 done, 1 failed, 2 wrong usage; "run" exits as its command does.',
  ]
}

export function helpFor(command: Command): Block[] {
  return [
    `Usage: ticketkeep ${command.usage}`,
    '',
    command.help.trim(),
    '',
    {
      table: optionsOf(command).flatMap(([name, option]) =>
        option.about === undefined ? [] : [[`  ${spellOption(name, option)}`, option.about]],
      ),
    },
  ]
}

/** The options of a command, its own first. An option without `about` is explained in the help text. */
export const optionsOf = ({ options }: Command): [name: string, option: Option][] =>
  Object.entries({ ...options, ...COMMON, ...options })

/** `-h, --help`, `--count N`. */
export const spellOption = (name: string, { short, value }: Option): string =>
  `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`

export function version(): string {
  const { version } = require('ticketkeep/package.json') as { version: string }
  return version
}
