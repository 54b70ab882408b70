import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeWith } from '../support/missing.ts'
import { masterKey } from '../support/tickets.ts'
import { cleanEnv, scratchDirectory, ticketkeep, useInstalled, which } from './kit.ts'

const KEY = Buffer.from(masterKey(1)).toString('base64')

const installed = useInstalled()

/** A command that prints the key and counts its calls. */
function vault(prints = KEY) {
  const home = scratchDirectory()
  const calls = join(home, 'calls')
  const program = join(home, 'vault')
  writeFileSync(program, `#!/bin/sh\necho called >> '${calls}'\necho '${prints}'\n`, { mode: 0o755 })
  mkdirSync(join(home, 'run'), { mode: 0o700 })
  const env = cleanEnv({
    HOME: home,
    TICKETKEEP_DIR: join(home, 'tickets'),
    TICKETKEEP_KEY_COMMAND: program,
    XDG_RUNTIME_DIR: join(home, 'run'),
    NODE: process.execPath,
    CLI: installed.cli,
  })
  const asked = () => (existsSync(calls) ? readFileSync(calls, 'utf8').split('\n').length - 1 : 0)
  return { env, asked }
}

const missing = existsSync('/dev/shm') ? undefined : 'there is no memory file system here'
/** Each process of the tree prints the source of its key. */
const TREE =
  'for i in 1 2 3; do "$NODE" "$CLI" status --json | grep \'"source"\'; done; echo "$TICKETKEEP_KEY_FILE"; exit 3'

describeWith(missing, 'the key of a command', () => {
  it.each([[[]], [['--summary']]])(
    'is fetched once by run with the flags %j, and its file is removed afterwards',
    (flags) => {
      const { env, asked } = vault()
      const { stdout, status } = ticketkeep(installed, ['run', ...flags, 'sh', '-c', TREE], { env })
      expect(status).toBe(3)
      const lines = stdout.trimEnd().split('\n')
      expect(lines.slice(0, 3).map((line) => line.trim())).toEqual(Array(3).fill('"source": "file",'))
      expect(lines[3]).toMatch(/^\/.*ticketkeep-.*\.key$/)
      expect(existsSync(lines[3]!)).toBe(false)
      expect(asked()).toBe(1)
    },
  )

  it('is not fetched if ticketkeep is disabled, and run works if the command fails', () => {
    const { env, asked } = vault()
    const run = (extra: NodeJS.ProcessEnv) =>
      ticketkeep(installed, ['run', 'sh', '-c', 'exit 3'], { env: { ...env, ...extra } })
    expect(run({ TICKETKEEP_DISABLE: '1' })).toMatchObject({ status: 3, stderr: '' })
    expect(asked()).toBe(0)
    expect(run({ TICKETKEEP_KEY_COMMAND: '/bin/false' })).toMatchObject({ status: 3, stderr: '' })
    expect(run({ TICKETKEEP_KEY_SOURCE: 'oracle' })).toMatchObject({ status: 3, stderr: '' })
  })

  it.for([
    ['sh', 'eval "$("$NODE" "$CLI" env --with-key)"'],
    ['fish', '"$NODE" "$CLI" env --with-key --shell fish | source'],
  ])('is fetched once by env --with-key in %s', ([shell = '', code], { skip }) => {
    skip(!which(shell), `${shell} is not installed`)
    const { env, asked } = vault()
    const show = '"$NODE" "$CLI" status --json | grep \'"source"\''
    const script = `${code}\n${show}\n${show}\n${code}\necho $TICKETKEEP_KEY_FILE`
    const { stdout, stderr } = spawnSync(shell, ['-c', script], { env, encoding: 'utf8' })
    expect(stderr).toBe('')
    const [first, second, file] = stdout.split('\n').map((line) => line.trim())
    rmSync(file!)
    expect([first, second]).toEqual(Array(2).fill('"source": "file",'))
    expect(asked()).toBe(1)
  })

  it('is not fetched by env --with-key if no program would use it', () => {
    const { env, asked } = vault()
    for (const more of [
      { TICKETKEEP_DISABLE: '1' },
      { TICKETKEEP_KEY: Buffer.alloc(32, 1).toString('base64') },
    ]) {
      const { stdout, stderr, status } = ticketkeep(installed, ['env', '--with-key'], {
        env: { ...env, ...more },
      })
      expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
      expect(stdout).not.toContain('TICKETKEEP_KEY_FILE')
    }
    expect(asked()).toBe(0)
  })

  it('is not passed on by env if the command fails, and env says so and still switches the preload on', () => {
    const { env } = vault('not a key')
    const { stdout, stderr, status } = ticketkeep(installed, ['env', '--with-key'], { env })
    expect(status).toBe(0)
    expect(stdout).toContain('export NODE_OPTIONS=')
    expect(stderr).toBe(
      'ticketkeep: the key could not be passed on, so each program asks for it; see "ticketkeep doctor"\n',
    )
    const unset = { ...env, TICKETKEEP_KEY_COMMAND: '' }
    expect(ticketkeep(installed, ['env', '--with-key'], { env: unset }).status).toBe(2)
  })
})
