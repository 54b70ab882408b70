import type { Option } from '../cli/command.ts'
import { type Entry, summaries as names } from './table.ts'

/** Completions of a word: file names, program names, these words, or nothing. */
type Completes = 'files' | 'programs' | readonly string[]

const ofValue = ({ choices, value }: Option): Completes => choices ?? (value === 'FILE' ? 'files' : [])

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** A script for bash. It does not need bash-completion. */
export function bashCompletion(table: readonly Entry[]): string {
  const reply = (completes: Completes) =>
    completes === 'files'
      ? `IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$word"))`
      : completes === 'programs'
        ? 'COMPREPLY=($(compgen -c -- "$word"))'
        : `COMPREPLY=($(compgen -W ${quote(completes.join(' '))} -- "$word"))`
  const commands = table.map(({ name, command, options }) => {
    const words = options.flatMap(([option, { short }]) => [`--${option}`, ...(short ? [`-${short}`] : [])])
    const values = options
      .filter(([, { type }]) => type === 'string')
      .map(([option, about]) => `        --${option}) ${reply(ofValue(about))}; return ;;`)
    return [
      `    ${name})`,
      ...(values.length > 0 ? ['      case $before in', ...values, '      esac'] : []),
      `      if [[ $word == -* ]]; then ${reply(words)}`,
      `      else ${reply(command.completes ?? [])}; fi ;;`,
    ].join('\n')
  })
  const all = names(table).map(([name]) => name)
  return `# bash completion of ticketkeep. Made from its table of commands.
_ticketkeep() {
  local IFS=$' \\t\\n' word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    ${reply(all)}
    return
  fi
  case \${COMP_WORDS[1]} in
${commands.join('\n')}
    help) ${reply(all)} ;;
  esac
}
complete -o filenames -F _ticketkeep ticketkeep
`
}

/** A script for zsh, for a folder of `$fpath` or for `source`. */
export function zshCompletion(table: readonly Entry[]): string {
  const text = (words: string) => words.replace(/[\\[\]:]/g, '\\$&')
  const action = (completes: Completes) =>
    completes === 'files'
      ? '_files'
      : completes === 'programs'
        ? '_command_names -e'
        : `(${completes.join(' ')})`
  const option = ([name, about]: readonly [string, Option]) => {
    const value = about.type === 'string' ? `:${about.value ?? name}:${action(ofValue(about))}` : ''
    const words = `[${text(about.about ?? '')}]${value}`
    return [`--${name}`, ...(about.short ? [`-${about.short}`] : [])].map((flag) => quote(`${flag}${words}`))
  }
  const commands = table.map(({ name, command, options }) => {
    const operands = command.completes ? [quote(`*: :${action(command.completes)}`)] : []
    const rest = command.wraps ? [quote('(-)1: :_command_names -e'), quote('*:: :_normal')] : operands
    return `    ${name}) _arguments -s ${[...options.flatMap(option), ...rest].join(' ')} ;;`
  })
  return `#compdef ticketkeep
# zsh completion of ticketkeep. Made from its table of commands.
_ticketkeep() {
  local -a commands=(${names(table)
    .map(([name, summary]) => quote(`${name}:${text(summary)}`))
    .join(' ')})
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${commands.join('\n')}
    help) _describe command commands ;;
  esac
}
if [[ $funcstack[1] == _ticketkeep ]]; then _ticketkeep "$@"; else compdef _ticketkeep ticketkeep; fi
`
}

/** A script for fish. */
export function fishCompletion(table: readonly Entry[]): string {
  const quoted = (words: string) => `'${words.replace(/['\\]/g, '\\$&')}'`
  const values = (completes: Completes) =>
    completes === 'files'
      ? '-F'
      : completes === 'programs'
        ? "-a '(__fish_complete_command)'"
        : completes.length > 0
          ? `-a ${quoted(completes.join(' '))}`
          : ''
  const of = (name: string) => `complete -c ticketkeep -n '__fish_seen_subcommand_from ${name}'`
  const commands = names(table).map(
    ([name, summary]) => `complete -c ticketkeep -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
  )
  const options = table.flatMap(({ name, command, options }) => [
    ...options.map(([option, about]) => {
      const short = about.short ? ` -s ${about.short}` : ''
      const value = about.type === 'string' ? ` -r ${values(ofValue(about))}` : ''
      return `${of(name)} -l ${option}${short}${value} -d ${quoted(about.about ?? '')}`
    }),
    ...(command.completes ? [`${of(name)} ${values(command.completes)}`] : []),
  ])
  return `# fish completion of ticketkeep. Made from its table of commands.
complete -c ticketkeep -f
${[...commands, ...options].join('\n')}
${of('help')} -a ${quoted(
    names(table)
      .map(([name]) => name)
      .join(' '),
  )}
`
}
