import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cleanEnv, install, scratchDirectory, ticketkeep, which } from './kit.ts'

// Without a backslash, since Node runs no ES module from such a path.
const AWKWARD = `a b"c'd$HOME\`id\`*!é漢;&(x)[y]{z}#~%^|<>=‘’`

const SHELLS = [
  { name: 'sh', program: 'dash', eval: 'eval "$(CLI)"' },
  { name: 'bash', program: 'bash', eval: 'eval "$(CLI)"' },
  { name: 'bash', program: 'bash', eval: 'set -eu; eval $(CLI)' },
  { name: 'zsh', program: 'zsh', eval: 'eval "$(CLI)"' },
  { name: 'fish', program: 'fish', eval: 'CLI | source' },
  { name: 'powershell', program: 'pwsh', eval: 'CLI | Out-String | Invoke-Expression' },
] as const

/** The loader that NODE_OPTIONS gets. */
const loader = (env: NodeJS.ProcessEnv) => join(env.XDG_CONFIG_HOME!, 'ticketkeep/loader.cjs')

const REPORT = `"$NODE" -p 'JSON.stringify([process.env.NODE_OPTIONS, globalThis.preloads ?? 0])'`

/** An environment in which no key is made in the keychain of the user who runs the tests. */
const noKey = (extra = {}) => cleanEnv({ TICKETKEEP_KEY_SOURCE: 'memory', ...extra })

describe.each(SHELLS)('ticketkeep env in $program: $eval', ({ name, program, eval: form }) => {
  const shell = which(program)
  const skip = shell === undefined

  const evaluate = (cli: string, options: { existing?: string; times?: number; config?: string } = {}) => {
    const code = form.replace('CLI', `"$NODE" "$CLI" env --shell ${name}`)
    const once = `${code}\n`
    const script =
      name === 'powershell'
        ? once.repeat(options.times ?? 1).replaceAll('"$NODE" "$CLI"', '& $env:NODE $env:CLI') +
          REPORT.replace('"$NODE"', '& $env:NODE')
        : once.repeat(options.times ?? 1) + REPORT
    const env = noKey({
      NODE: process.execPath,
      CLI: cli,
      NODE_OPTIONS: options.existing,
      ...(options.config && { XDG_CONFIG_HOME: options.config }),
    })
    const result = spawnSync(shell!, ['-c', script], { env, encoding: 'utf8', cwd: '/' })
    expect(result.stderr).toBe('')
    const [nodeOptions, preloads] = JSON.parse(result.stdout) as [string | null, number]
    return { nodeOptions, preloads }
  }

  it.skipIf(skip)(
    `switches the preload on once, even if it is evaluated repeatedly (needs ${program})`,
    async () => {
      const { cli } = await install()
      const once = { nodeOptions: `--require=${loader(noKey())}`, preloads: 1 }
      expect(evaluate(cli)).toEqual(once)
      expect(evaluate(cli, { times: 3 })).toEqual(once)
      expect(evaluate(cli, { existing: '' })).toEqual(once)
    },
  )

  it.skipIf(skip)(`keeps an existing NODE_OPTIONS with its quotes (needs ${program})`, async () => {
    const { cli } = await install()
    const existing = `--title="a \\"b\\" $x 'c' \\\\" --no-warnings`
    const nodeOptions = `--require=${loader(noKey())} ${existing}`
    expect(evaluate(cli, { existing })).toEqual({ nodeOptions, preloads: 1 })
    expect(evaluate(cli, { existing, times: 2 })).toEqual({ nodeOptions, preloads: 1 })
    expect(evaluate(cli, { existing: nodeOptions })).toEqual({ nodeOptions, preloads: 1 })
  })

  it.skipIf(skip || form.includes('eval $('))(
    `works with a path of awkward characters (needs ${program})`,
    async () => {
      const { cli } = await install(AWKWARD)
      const config = join(scratchDirectory(), AWKWARD)
      expect(evaluate(cli, { config }).preloads).toBe(1)
      const twice = evaluate(cli, { times: 2, existing: '--no-warnings', config })
      expect(twice.preloads).toBe(1)
      expect(twice.nodeOptions).toMatch(/^"--require=.* --no-warnings$/s)
      expect(twice.nodeOptions?.match(/--require/g)).toHaveLength(1)
    },
  )

  it.skipIf(skip)(`leaves Node's permission model alone (needs ${program})`, async () => {
    const { cli } = await install()
    const code = ticketkeep({ cli, directory: '', preload: '' }, ['env', '--shell', name], {
      env: noKey(),
    }).stdout
    const print = name === 'powershell' ? '$env:NODE_OPTIONS' : 'printf "%s\\n" "$NODE_OPTIONS"'
    for (const option of ['--permission', '--experimental-permission', '--experimental_permission']) {
      const env = noKey({ NODE_OPTIONS: option })
      const result = spawnSync(shell!, ['-c', `${code}\n${print}`], { env, encoding: 'utf8' })
      expect(result.stdout).toBe(`${option}\n`)
    }
  })

  it.skipIf(skip)(`does nothing if the package has been removed since (needs ${program})`, async () => {
    const installed = await install()
    const env = noKey({ NODE: process.execPath })
    const code = ticketkeep(installed, ['env', '--shell', name], { env }).stdout
    rmSync(installed.directory, { recursive: true })
    const report = name === 'powershell' ? REPORT.replace('"$NODE"', '& $env:NODE') : REPORT
    const result = spawnSync(shell!, ['-c', `${code}\n${report}`], { env, encoding: 'utf8' })
    expect(result).toMatchObject({ stderr: '', status: 0 })
    expect(JSON.parse(result.stdout)).toEqual([`--require=${loader(env)}`, 0])
  })

  it.skipIf(skip)(`is undone by --off, which changes nothing else (needs ${program})`, async () => {
    const installed = await install()
    const off = (existing: string) => {
      const env = noKey({ NODE_OPTIONS: existing, NODE: process.execPath })
      const code = ticketkeep(installed, ['env', '--off', '--shell', name], { env }).stdout
      const report = name === 'powershell' ? REPORT.replace('"$NODE"', '& $env:NODE') : REPORT
      return JSON.parse(spawnSync(shell!, ['-c', `${code}\n${report}`], { env, encoding: 'utf8' }).stdout)[0]
    }
    const ours = `--require=${loader(noKey())}`
    expect(off(ours)).toBeNull()
    expect(off(`--require=${installed.preload}`)).toBeNull()
    expect(off(`${ours} --title="a "b" $x"`)).toBe('--title="a "b" $x"')
  })
})

describe('ticketkeep env', () => {
  const names = fc.string({
    unit: fc.constantFrom('a', 'é', '漢', ' ', '"', "'", '$', '`', '*', '!', '\n', '=', '-', '~'),
    minLength: 1,
    maxLength: 20,
  })

  it('works with any directory name in a real shell and a real Node', async () => {
    await fc.assert(
      fc.asyncProperty(names, async (name) => {
        const installed = await install(name)
        const script = `eval "$("$NODE" "$CLI" env)"; eval "$("$NODE" "$CLI" env)"; "$NODE" -p preloads`
        const XDG_CONFIG_HOME = join(scratchDirectory(), name)
        const env = noKey({ NODE: process.execPath, CLI: installed.cli, XDG_CONFIG_HOME })
        expect(spawnSync('sh', ['-c', script], { env, encoding: 'utf8', cwd: '/' })).toMatchObject({
          stdout: '1\n',
          stderr: '',
        })
      }),
      { numRuns: 8 },
    )
  }, 60_000)

  it('prints an absolute path in any working directory', async () => {
    const installed = await install()
    const { stdout } = ticketkeep(installed, ['env', '--json'], {
      cwd: dirname(installed.directory),
      env: noKey(),
    })
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ shell: 'sh', preload: installed.preload })
    expect(report.nodeOption).toBe(`--require=${loader(noKey())}`)
    expect(report.code).toContain(report.nodeOption)
    expect(readFileSync(report.file, 'utf8')).toContain(report.code)
  })

  it('starts making the first key if a keychain will hold it and nothing was ever stored', async () => {
    const installed = await install()
    // Replaces the helper process: records that it was called, and for what.
    writeFileSync(
      join(installed.directory, 'dist', 'key-helper.cjs'),
      `const task = require('node:fs').readFileSync(0, 'utf8')
       require('node:fs').writeFileSync(process.env.MARK, task)`,
    )
    const folder = scratchDirectory()
    mkdirSync(join(folder, 'tickets'))
    const run = (name: string, more: Record<string, string>) => {
      const mark = join(folder, name)
      const env = cleanEnv({ HOME: folder, TICKETKEEP_DIR: join(folder, 'none'), MARK: mark, ...more })
      const { stdout, stderr, status } = ticketkeep(installed, ['env'], { env })
      expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
      expect(stdout).toContain('loader.cjs')
      return mark
    }
    const left = {
      stored: { TICKETKEEP_DIR: join(folder, 'tickets') },
      disabled: { TICKETKEEP_DISABLE: '1' },
      variable: { TICKETKEEP_KEY: Buffer.alloc(32, 1).toString('base64') },
      wrong: { TICKETKEEP_KEY: 'swordfish' },
      file: { TICKETKEEP_KEY_FILE: join(folder, 'key') },
      command: { TICKETKEEP_KEY_COMMAND: 'echo key' },
      memory: { TICKETKEEP_KEY_SOURCE: 'memory' },
      named: { TICKETKEEP_KEY_SOURCE: 'file' },
      invalid: { TICKETKEEP_KEY_SOURCE: 'oracle' },
    }
    const others = Object.entries(left).map(([name, more]) => run(name, more))
    const asked = [run('auto', {}), run('keychain', { TICKETKEEP_KEY_SOURCE: 'keychain' })]
    for (const mark of asked) {
      await expect.poll(() => existsSync(mark) && readFileSync(mark, 'utf8')).toMatch(/"task":"create"/)
    }
    expect(others.filter(existsSync)).toEqual([])
  })

  it('prints nothing to evaluate and fails if the preload is missing', async () => {
    const installed = await install()
    rmSync(installed.preload)
    expect(ticketkeep(installed, ['env'], { env: noKey() })).toMatchObject({
      status: 1,
      stdout: '',
      stderr:
        'ticketkeep: the preload is missing or unreadable, so nothing was printed; install ticketkeep again\n',
    })
  })

  it('refuses an unknown shell in one sentence', async () => {
    expect(ticketkeep(await install(), ['env', '--shell', 'tcsh'], { env: noKey() })).toMatchObject({
      status: 2,
      stdout: '',
      stderr: 'ticketkeep: --shell tcsh is not known; it is one of sh, bash, zsh, fish, powershell\n',
    })
  })
})
