import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { optionsOf } from '../../src/cli/help.ts'
import { readTable, summaries } from '../../src/manual/table.ts'
import { cleanEnv, install, scratchDirectory, ticketkeep } from '../cli/kit.ts'
import { describeWith, missingCommands } from '../support/missing.ts'
import { DIST } from '../support/places.ts'

const file = (shell: string) => join(DIST, 'completions', `ticketkeep.${shell}`)
const table = await readTable()

describe('the files that are made from the table of commands', () => {
  it.each(['completions/ticketkeep.bash', 'completions/ticketkeep.zsh', 'completions/ticketkeep.fish'])(
    'include %s with every command and option',
    (name) => {
      const text = readFileSync(join(DIST, name), 'utf8')
      for (const [command] of summaries(table)) expect(text).toMatch(new RegExp(`\\b${command}\\b`))
      for (const { name: command, command: one } of table) {
        const lines = text.split(new RegExp(`^ *${command}\\)`, 'm'))[1] ?? text
        for (const [option] of optionsOf(one)) expect(lines).toMatch(new RegExp(`(--|-l )${option}\\b`))
      }
    },
  )

  it('include the man page with every command and option', () => {
    const text = readFileSync(join(DIST, 'man/ticketkeep.1'), 'utf8').replaceAll('\\-', '-')
    for (const { name, options } of table) {
      const section = text.split(`\n.SS ${name}\n`)[1] ?? ''
      for (const [option] of options) expect(section.split('\n.S')[0]).toContain(`--${option}`)
    }
  })
})

describeWith(missingCommands('groff'), 'the man page', () => {
  it('is rendered by groff without a warning', () => {
    const { stdout, stderr } = spawnSync('groff', ['-ww', '-man', '-Tutf8', join(DIST, 'man/ticketkeep.1')], {
      encoding: 'utf8',
    })
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^ {9}sh, bash, zsh +eval "\$\(ticketkeep env --off\)"$/m)
  })
})

/** Runs a script in a shell of this machine. `$1` is the file of completions. */
function inShell(command: readonly string[], name: string, script: string) {
  const [program, ...args] = command
  const folder = scratchDirectory()
  writeFileSync(join(folder, 'a file'), '')
  writeFileSync(join(folder, 'script'), script)
  const { stdout, stderr } = spawnSync(program!, [...args, join(folder, 'script'), file(name)], {
    cwd: folder,
    env: cleanEnv({ HOME: folder }),
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  return stdout
}

describeWith(missingCommands('bash'), 'bash', () => {
  it('completes commands, options, values and files', () => {
    const stdout = inShell(
      ['bash', '--norc'],
      'bash',
      `source "$1"
      ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _ticketkeep; printf '%s|' "\${COMPREPLY[@]}"; echo; }
      ask ticketkeep st; ask ticketkeep probe --c; ask ticketkeep env --shell p; ask ticketkeep help docto
      ask ticketkeep import 'a f'; ask ticketkeep run bas; ask ticketkeep list x`,
    )
    expect(stdout.replace(/^bash.*$/m, 'bash')).toBe(
      'status|\n--count|--cert|\npowershell|\ndoctor|\na file|\nbash\n|\n',
    )
  })
})

describeWith(missingCommands('fish'), 'fish', () => {
  it('completes commands, options, values and files', () => {
    const words = ['st', 'probe --c', 'env --shell p', 'help docto', 'import a', 'list x']
    const asked = words.map(
      (one) => `complete -C 'ticketkeep ${one}' | string replace -r '\\t.*' '' | string join '|'`,
    )
    expect(inShell(['fish'], 'fish', `source $argv[1]\n${asked.join('\n')}`)).toBe(
      'status\n--cert|--count\npowershell\ndoctor\na file\n',
    )
  })
})

describeWith(missingCommands('zsh'), 'zsh', () => {
  it('completes commands, options and values', () => {
    const script = `
      zmodload zsh/zpty
      seen() { local line out=; repeat 400; do while zpty -r -t z line; do out+=$line; done
        [[ $out == *$1* ]] && return; sleep 0.05; done; print -r -- "never saw $1 in: $out"; exit 1 }
      type() { zpty -w -n z "$1"$'\\t' }
      zpty z 'TERM=dumb zsh -f -i'
      zpty -w z "PROMPT='> '; autoload -Uz compinit; compinit -u -D; source \${(q)1}; echo 'rea''dy'"
      seen ready
      type 'ticketkeep stat'; seen 'status '; type '--js'; seen '--json '; zpty -w -n z $'\\x15'
      type 'ticketkeep env --shell pow'; seen 'powershell '
      print seen`
    expect(inShell(['zsh', '-f'], 'zsh', script)).toBe('seen\n')
  })
})

describe('ticketkeep completion', () => {
  it('prints the code for a shell and refuses an unknown shell in one sentence', async () => {
    const installed = await install()
    expect(ticketkeep(installed, ['completion', 'fish']).stdout).toBe(readFileSync(file('fish'), 'utf8'))
    expect(ticketkeep(installed, ['completion', 'tcsh'])).toMatchObject({
      status: 2,
      stderr: 'ticketkeep: there is no completion for "tcsh"; give one of bash, zsh, fish\n',
    })
  })
})
