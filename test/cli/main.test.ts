import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { COMMANDS, helpFor } from '../../src/cli/help.ts'
import { type Block, renderText, widthOf } from '../../src/cli/render.ts'
import { cleanEnv, ticketkeep, useInstalled } from './kit.ts'

const installed = useInstalled()

describe('the command', () => {
  it('is executable, with its interpreter in the first line', () => {
    expect(readFileSync(installed.cli, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  })

  it.each(['version', '--version', '-v', '-V'])('prints its version: %s', (word) => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect(ticketkeep(installed, [word])).toMatchObject({ stdout: `ticketkeep ${version}\n`, status: 0 })
  })

  it.each([[['help']], [['--help']], [['-h']]])('lists its commands: %j', (args) => {
    const { stdout, status } = ticketkeep(installed, args)
    expect(status).toBe(0)
    for (const name of Object.keys(COMMANDS)) expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  })

  it.each(Object.keys(COMMANDS))('%s has its own help, within 110 columns', (name) => {
    const { stdout, status } = ticketkeep(installed, [name, '--help'])
    expect(status).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Usage: ticketkeep ${name}`))
    expect(stdout).toBe(ticketkeep(installed, ['help', name]).stdout)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(110)
  })

  it.each(Object.keys(COMMANDS))('the help of %s explains every option', async (name) => {
    const { command } = await COMMANDS[name]!.load()
    const help = renderText(helpFor(command))
    for (const option of Object.keys(command.options ?? {})) {
      expect(help).toMatch(new RegExp(`^ +(-., )?--${option}\\b.* {2}\\S`, 'm'))
    }
  })

  it('lists its commands on stderr and exits 2 without a command', () => {
    const { stdout, stderr, status } = ticketkeep(installed, [])
    expect({ stdout, status }).toEqual({ stdout: '', status: 2 })
    expect(stderr).toMatch(/^Usage: ticketkeep COMMAND/)
  })

  it.each(['nope', 'constructor', '__proto__', ''])('refuses the command %j', (name) => {
    expect(ticketkeep(installed, [name])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `ticketkeep: there is no command "${name}"; "ticketkeep help" lists the commands\n`,
    })
  })

  it.each([
    [['stauts'], 'there is no command "stauts"; did you mean "status"?'],
    [['list', '--jsn'], 'unknown option --jsn; did you mean "--json"?'],
    [['help', 'docter'], 'there is no command "docter"; did you mean "doctor"?'],
    [['--json', 'list'], 'there is no command "--json"; options go behind the command'],
    [['version', '--jsn'], 'version takes no --jsn; usage: ticketkeep version [--json]'],
  ])('suggests what was meant: %j', (args, sentence) => {
    expect(ticketkeep(installed, args)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `ticketkeep: ${sentence}\n`,
    })
  })

  it.each([
    [['list', 'x', '--json'], 2, 'ERR_USAGE'],
    [['nope', '--json'], 2, 'ERR_USAGE'],
    [['import', '/nowhere', '--json'], 1, 'ERR_FAILED'],
    [['status', '--json'], 2, 'ERR_INVALID_SETTING'],
  ])('prints errors as JSON under --json: %j', (args, status, code) => {
    const wrong = code === 'ERR_INVALID_SETTING' && { TICKETKEEP_KEY_SOURCE: 'oracle' }
    const result = ticketkeep(installed, args, { env: cleanEnv({ ...wrong }) })
    const { error } = JSON.parse(result.stdout)
    expect(error).toEqual({ code, message: expect.any(String) })
    expect(result).toMatchObject({ status, stderr: `ticketkeep: ${error.message}\n` })
  })

  it('run --json prints no JSON into the output of its command', () => {
    const result = ticketkeep(installed, ['run', '--jsn', '--json', 'true'])
    expect(result).toMatchObject({ status: 2, stdout: '' })
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

  it('names the option without a value', () => {
    expect(ticketkeep(installed, ['probe', 'a.example', '--count', '-1'])).toMatchObject({
      status: 2,
      stderr: 'ticketkeep: option --count has no value; "ticketkeep probe --help" lists the options\n',
    })
  })

  it('ends quietly when its reader closes the pipe', () => {
    const script = 'set -o pipefail; "$NODE" "$CLI" help 2>&1 | head -c 1; echo $?'
    const env = cleanEnv({ NODE: process.execPath, CLI: installed.cli })
    expect(spawnSync('bash', ['-c', script], { env, encoding: 'utf8' }).stdout).toBe('U0\n')
  })
})

describe('the output', () => {
  it('contains no control characters, even from names and reasons', () => {
    const text = renderText(['a\x1b[2Jb\x07\u202ec', { table: [['x\ny', '\x9b1m']] }])
    expect(text).toBe('a\ufffd[2Jb\ufffd\ufffdc\nx y  \ufffd1m\n')
  })
})

describe('on a terminal', () => {
  const table: Block = {
    table: [
      ['server', 'protocol', 'age', 'expires in', 'bound'],
      ['registry.example.com:443', 'TLSv1.3', '3m 20s', '23h 56m', 'yes'],
    ],
  }
  const pairs: Block = { pairs: [['directory', '/home/ann/.cache/ticketkeep (not made yet, and so on)']] }
  const reasons: Block = { table: [['keychain', 'unavailable', 'there is no session bus of this user']] }

  it.each([40, 80, 120])('of %d columns no line is wider, except a single long word', (width) => {
    for (const block of ['word '.repeat(60).trim(), table, pairs, reasons]) {
      const lines = renderText([block], width).trimEnd().split('\n')
      expect(lines.filter((line) => line.length > width)).toEqual([])
    }
  })

  it('a table that is too wide has its longest column on separate lines', () => {
    expect(renderText([table], 40)).toBe(
      `server
  protocol  age     expires in  bound
registry.example.com:443
  TLSv1.3   3m 20s  23h 56m     yes
`,
    )
    expect(renderText([reasons], 40)).toBe(
      'keychain  unavailable\n      there is no session bus of this\n      user\n',
    )
    expect(renderText([pairs], 40)).toBe(
      `directory  /home/ann/.cache/ticketkeep
           (not made yet, and so on)
`,
    )
  })

  it('paragraphs are wrapped, and indented lines are not', () => {
    expect(renderText(['one two three\nfour\n\n  code that is long  here\n\nfive'], 20)).toBe(
      'one two three four\n\n  code that is long  here\n\nfive\n',
    )
  })

  it('bars are in proportion to their values', () => {
    const bars: Block = {
      bars: [
        ['full', 40, '40.0 ms'],
        ['resumed', 20, '20.0 ms'],
        ['none', 0, '0 ms'],
      ],
    }
    expect(renderText([bars], 40)).toBe(
      `full     ######################  40.0 ms
resumed  ###########             20.0 ms
none                             0 ms
`,
    )
  })

  it('lines are wrapped, but not in a file or a pipe', () => {
    expect(renderText(['word '.repeat(60), table])).toContain('word '.repeat(60))
    expect(widthOf({}, {})).toBeUndefined()
    expect(widthOf({ columns: 0 }, {})).toBeUndefined()
    expect(widthOf({}, { COLUMNS: '40' })).toBe(40)
    expect(widthOf({ columns: 120 }, { COLUMNS: '40' })).toBe(120)
  })
})
