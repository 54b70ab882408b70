import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/help.ts'
import { renderText } from '../../src/cli/render.ts'
import { cleanEnv, type Installed, install, ticketkeep } from './kit.ts'

let installed: Installed
beforeAll(async () => {
  installed = await install()
})

describe('the command', () => {
  it('is a program: its first line names its interpreter', () => {
    expect(readFileSync(installed.cli, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  })

  it('prints its version', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect(ticketkeep(installed, ['--version'])).toMatchObject({
      stdout: `ticketkeep ${version}\n`,
      status: 0,
    })
  })

  it.each([[['help']], [['--help']], [['-h']]])('lists its commands: %j', (args) => {
    const { stdout, status } = ticketkeep(installed, args)
    expect(status).toBe(0)
    for (const name of Object.keys(COMMANDS)) expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  })

  it.each(Object.keys(COMMANDS))('%s has help of its own, within 110 columns', (name) => {
    const { stdout, status } = ticketkeep(installed, [name, '--help'])
    expect(status).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Usage: ticketkeep ${name}`))
    expect(stdout).toBe(ticketkeep(installed, ['help', name]).stdout)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(110)
  })

  it('without a command says what there is, on stderr, and exits 2', () => {
    const { stdout, stderr, status } = ticketkeep(installed, [])
    expect({ stdout, status }).toEqual({ stdout: '', status: 2 })
    expect(stderr).toMatch(/^Usage: ticketkeep COMMAND/)
  })

  it.each(['nope', 'constructor', '__proto__', '--nope', ''])('refuses the command %j', (name) => {
    expect(ticketkeep(installed, [name])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `ticketkeep: there is no command "${name}"; "ticketkeep help" lists the commands\n`,
    })
  })

  it.skipIf(!existsSync('/dev/full'))(
    'says in a sentence that its output cannot be written, and keeps the exit status',
    () => {
      const script = (words: string) => spawnSync('bash', ['-c', words], { env, encoding: 'utf8' })
      const env = cleanEnv({ NODE: process.execPath, CLI: installed.cli, TICKETKEEP_KEY_SOURCE: 'memory' })
      for (const words of ['--version', 'help', 'env --json', 'status']) {
        expect(script(`"$NODE" "$CLI" ${words} >/dev/full`)).toMatchObject({
          status: 1,
          stderr: 'ticketkeep: the output could not be written (ENOSPC); check where it goes\n',
        })
      }
      for (const [words, status] of [
        ['nope', 2],
        ['run nosuch', 127],
        ["run --summary -- sh -c 'exit 3'", 3],
        ["run --summary -- sh -c 'exit 0'", 0],
      ]) {
        expect(script(`"$NODE" "$CLI" ${words} 2>/dev/full`).status).toBe(status)
        expect(script(`{ "$NODE" "$CLI" ${words}; exit $?; } 2> >(exec true)`).status).toBe(status)
      }
    },
  )

  it('says which option has no value', () => {
    expect(ticketkeep(installed, ['probe', 'a.example', '--count', '-1'])).toMatchObject({
      status: 2,
      stderr: 'ticketkeep: option --count has no value; "ticketkeep probe --help" lists the options\n',
    })
  })

  it('does not mind a reader that has seen enough', () => {
    const script = 'set -o pipefail; "$NODE" "$CLI" help 2>&1 | head -c 1; echo $?'
    const env = cleanEnv({ NODE: process.execPath, CLI: installed.cli })
    expect(spawnSync('bash', ['-c', script], { env, encoding: 'utf8' }).stdout).toBe('U0\n')
  })
})

describe('what it prints', () => {
  it('holds no control character, whatever a name or a reason holds', () => {
    const text = renderText(['a\x1b[2Jb\x07\u202ec', { table: [['x\ny', '\x9b1m']] }])
    expect(text).toBe('a\ufffd[2Jb\ufffd\ufffdc\nx y  \ufffd1m\n')
  })
})
