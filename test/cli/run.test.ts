import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { blocksOf } from '../support/blocks.ts'
import { cleanEnv, install, scratchDirectory, start, ticketkeep, useInstalled, which } from './kit.ts'
import { full, line } from './summary/kit.ts'

const node = process.execPath
const alive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const plain = useInstalled()

/** With a summary `run` stays as the parent process. Without one it becomes the command, if Node can do that. */
const FORMS = [
  { form: 'run', flags: [] },
  { form: 'run --summary', flags: ['--summary'] },
]
const EMPTY = 'ticketkeep: no TLS connection of a Node program was seen\n'

describe.each(FORMS)('ticketkeep $form', ({ flags }) => {
  const tail = flags.length ? EMPTY : ''
  const run = (args: string[], options: Parameters<typeof ticketkeep>[2] = {}): SpawnSyncReturns<string> =>
    ticketkeep(plain, ['run', ...flags, ...args], options)

  it('switches the preload on for the command and its child processes', () => {
    const script = `console.log(preloads, require('child_process').execFileSync(process.execPath, ['-p', 'preloads']) + '')`
    expect(run(['--', node, '-e', script]).stdout).toBe('1 1\n\n')
  })

  it('loads the preload from a directory with an awkward name', async () => {
    const odd = await install(`a b"c'd$HOME\`é漢`)
    const { stdout } = ticketkeep(odd, ['run', ...flags, node, '-p', 'preloads'])
    expect(stdout).toBe('1\n')
  })

  it('keeps an existing NODE_OPTIONS after its own', () => {
    const NODE_OPTIONS = `--title="a \\"b\\" 'c' \\\\"`
    const { stdout } = run([node, '-p', 'process.title + "|" + process.env.NODE_OPTIONS + "|" + preloads'], {
      env: cleanEnv({ NODE_OPTIONS }),
    })
    expect(stdout).toBe(`a "b" 'c' \\|--require=${plain.preload} ${NODE_OPTIONS}|1\n`)
  })

  it('adds nothing inside another run', () => {
    const { stdout, stderr } = run([node, plain.cli, 'run', node, '-p', 'process.env.NODE_OPTIONS'])
    expect(stdout).toBe(`--require=${plain.preload}\n`)
    expect(stderr).toBe(tail)
  })

  it.each([0, 1, 3, 42, 255])('exits with the status of its command: %i', (status) => {
    expect(run(['--', 'sh', '-c', `exit ${status}`])).toMatchObject({ status, stdout: '', stderr: tail })
  })

  it.each(['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const)(
    'dies of the signal of its command: %s',
    (signal) => {
      const result = run(['sh', '-c', `ulimit -c 0; kill -${signal.slice(3)} $$`])
      expect(result).toMatchObject({ status: null, signal, stderr: tail })
    },
  )

  // A core file of `run` would overwrite that of the command.
  it.each(['SIGABRT', 'SIGSEGV', 'SIGQUIT'] as const)('exits with 128 plus the number of %s', (signal) => {
    const result = run(['sh', '-c', `ulimit -c 0; kill -${signal.slice(3)} $$`])
    expect(result).toMatchObject({ status: 128 + constants.signals[signal], stderr: tail })
  })

  it('passes standard input, output and error through', () => {
    const result = run(['sh', '-c', 'cat; echo err >&2'], { input: 'in\n' })
    expect(result).toMatchObject({ stdout: 'in\n', stderr: `err\n${tail}`, status: 0 })
  })

  it('passes on every argument unchanged', () => {
    const args = ['--summary', '-x', '', ' ', '$HOME', '"', "'", '*', 'a\nb', '漢', '--']
    const result = run(['--', node, '-p', 'JSON.stringify(process.argv.slice(1))', '--', ...args])
    expect(JSON.parse(result.stdout)).toEqual(args)
  })

  it('passes on the options of the command, even without --', () => {
    expect(run(['sh', '-c', 'echo "$@"', 'sh', '--summary', '--help']).stdout).toBe('--summary --help\n')
  })

  it('runs what a shell runs: by PATH, by path, and a script without #!', () => {
    const directory = scratchDirectory()
    const put = (name: string, text: string, mode = 0o755) => {
      writeFileSync(join(directory, name), text)
      chmodSync(join(directory, name), mode)
      return join(directory, name)
    }
    const env = cleanEnv({ PATH: `${directory}:${process.env.PATH}` })
    put('with', '#!/bin/sh\necho with "$0"\n')
    put('without', 'echo without\n')
    put('nested', `#!${join(directory, 'with')}\n`)
    expect(run(['with'], { env }).stdout).toBe(`with ${join(directory, 'with')}\n`)
    expect(run(['./with'], { cwd: directory }).stdout).toBe('with ./with\n')
    expect(run(['without'], { env }).stdout).toBe('without\n')
    expect(run(['nested'], { env }).stdout).toContain('with')
  })

  it('exits 127 if the command is not found and 126 if it cannot be executed', () => {
    const directory = scratchDirectory()
    const put = (name: string, text: string, mode: number) => {
      writeFileSync(join(directory, name), text)
      chmodSync(join(directory, name), mode)
      return join(directory, name)
    }
    const missing = `cannot run "nowhere": it was not found; check the name and PATH\n`
    expect(run(['nowhere'])).toMatchObject({
      status: 127,
      stdout: '',
      stderr: `${tail}ticketkeep: ${missing}`,
    })
    expect(run(['']).status).toBe(127)
    expect(run([join(directory, 'a', 'b')]).status).toBe(127)
    expect(run([put('interpreter', '#!/nowhere/sh\n', 0o755)]).status).toBe(127)
    const plainFile = run([put('plain', 'x', 0o644)])
    expect(plainFile.status).toBe(126)
    expect(plainFile.stderr).toContain('it is not executable; check the file and its mode\n')
    expect(run([directory]).status).toBe(126)
  })

  it('does not change the signal dispositions of the command: yes | head prints no error', () => {
    const result = run(['bash', '-c', 'yes | head -1; grep SigIgn /proc/self/status'])
    expect(result.stderr).toBe(tail)
    if (process.platform === 'linux') expect(result.stdout).toMatch(/^y\nSigIgn:\t0+\n$/)
  })

  it('causes no warning of Node', () => {
    for (const version of ['--trace-warnings', '--pending-deprecation']) {
      const env = cleanEnv({ NODE_OPTIONS: version })
      expect(run(['true'], { env })).toMatchObject({ stdout: '', stderr: tail, status: 0 })
    }
  })

  it('runs the command without the preload if that is missing or disabled', async () => {
    const broken = await install()
    rmSync(broken.preload)
    const print = [node, '-p', 'process.env.NODE_OPTIONS']
    const result = ticketkeep(broken, ['run', ...flags, ...print])
    expect(result).toMatchObject({ stdout: 'undefined\n', status: 0 })
    expect(result.stderr).toContain('the preload is missing, so the command runs without it')
    const env = cleanEnv({ TICKETKEEP_DISABLE: '1' })
    const disabled = run(print, { env })
    expect(disabled.stdout).toBe('undefined\n')
    expect(disabled.stderr).toMatch(flags.length ? /was seen: ticketkeep is disabled by/ : /^$/)
  })

  it('starts a program under Node’s permission model as without ticketkeep', () => {
    const flag = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission'
    expect(run([node, '--no-warnings', flag, '-p', '1'])).toMatchObject({ stdout: '1\n', status: 0 })
  })

  it('runs a command with a very large argument', () => {
    const large = 'x'.repeat(120_000)
    expect(run(['sh', '-c', 'printf %s "$1" | wc -c', 'sh', large]).stdout.trim()).toBe('120000')
    const bash = which('bash')!
    // Linux refuses such an argument to any child. `run` must not abort.
    const env = cleanEnv({ BIG: 'x'.repeat(100_000), NODE: node, CLI: plain.cli })
    expect(
      spawnSync(bash, ['-c', `"$NODE" "$CLI" run ${flags} true`], { env, encoding: 'utf8' }),
    ).toMatchObject({
      status: 0,
      stderr: tail,
    })
  })

  it.each(['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)(
    'passes %s to its command once',
    async (signal) => {
      const script = `
        let n = 0
        process.on('${signal}', () => { n++; setTimeout(() => { console.log('got', n); process.exit(7) }, 150) })
        setInterval(() => {}, 1000); console.log('ready')`
      const { child, ended, said } = start(plain, ['run', ...flags, node, '-e', script])
      await said('ready')
      child.kill(signal)
      expect(await ended).toEqual({ code: 7, signal: null, stdout: 'ready\ngot 1\n', stderr: tail })
    },
  )

  it('ends its command when it is terminated', async () => {
    const script = `console.log('pid ' + process.pid); setInterval(() => {}, 1000)`
    const { child, ended, said } = start(plain, ['run', ...flags, node, '-e', script])
    await said('\n')
    child.kill('SIGTERM')
    const { signal, stdout } = await ended
    expect(signal).toBe('SIGTERM')
    expect(alive(Number(stdout.slice(4)))).toBe(false)
  })

  it.skipIf(!which('script'))('passes Ctrl-C to the command once (needs script)', async () => {
    const directory = scratchDirectory()
    const program = join(directory, 'p.cjs')
    writeFileSync(
      program,
      `let n = 0; process.on('SIGINT', () => { n++; setTimeout(() => { console.log('got ' + n); process.exit(9) }, 300) })
       setInterval(() => {}, 1000); console.log('ready')`,
    )
    const line = `exec ${[node, plain.cli, 'run', ...flags, node, program].map((a) => `'${a}'`).join(' ')}`
    const tty = spawn('script', ['-qec', line, '/dev/null'], {
      env: cleanEnv(),
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let seen = ''
    tty.stdout.on('data', (data) => {
      seen += data
      if (String(data).includes('ready')) tty.stdin.write('\x03')
    })
    const code = await new Promise((resolve) => tty.on('close', resolve))
    expect(seen).toContain('got 1')
    expect(code).toBe(9)
  })
})

describe('ticketkeep run --summary', () => {
  /** A preload that reports like the real one. */
  const reportingInstall = (...lines: (object | string)[]) => {
    const text = lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('')
    return install(
      'plain',
      `const { TICKETKEEP_SUMMARY_FILE: file } = process.env
       const text = ${JSON.stringify(text)}.replaceAll(/"id":"/g, () => '"id":"' + process.pid + '.' + Math.random())
       if (file) process.on('exit', () => require('node:fs').appendFileSync(file, text))`,
    )
  }
  const kept = { pid: 1, kept: 3, problem: '' }

  it('adds up all processes of the tree', async () => {
    const installed = await reportingInstall(line(), line(), full('worker thread: x'), kept)
    const script = '"$0" -e 0; "$0" -e 0; "$0" -e 0; exit 3'
    const result = ticketkeep(installed, ['run', '--summary', 'sh', '-c', script, node])
    expect(result.stderr).toBe(
      'ticketkeep: 9 connections to registry.example: 6 resumed, about 300 ms of handshakes saved, 9 tickets stored; 3 not (registry.example: worker thread: x)\n',
    )
    expect(result.status).toBe(3)
  })

  it('prints a line for each of several reasons', async () => {
    const installed = await reportingInstall(full('worker thread: x'), full('the flag --x may decide trust'))
    expect(ticketkeep(installed, ['run', '--summary', node, '-e', '0']).stderr.split('\n')).toEqual([
      'ticketkeep: 2 connections to registry.example: 0 resumed; 2 not:',
      'ticketkeep:   1 to registry.example: worker thread: x',
      'ticketkeep:   1 to registry.example: the flag --x may decide trust',
      '',
    ])
  })

  const shown = blocksOf('test/cli/run.test.ts')
  const shownFor = (language: string) => shown.find((block) => block.language === language)!.text

  it('has two examples in docs/command.md', () =>
    expect(shown.map(({ language }) => language)).toEqual(['console', 'json']))

  it('prints what docs/command.md shows', async () => {
    const resumed = Array.from({ length: 141 }, (_, i) => line({ host: i < 3 ? 'a.example' : 'b.example' }))
    const others = [full('no ticket'), full('no ticket')]
    const installed = await reportingInstall(...resumed, ...others)
    const { stderr } = ticketkeep(installed, ['run', '--summary', node, '-e', '0'])
    expect(`$ ticketkeep run --summary -- npm ci\n…\n${stderr}`).toBe(shownFor('console'))
  })

  it('prints the same as JSON', async () => {
    const lines = [line(), full('no ticket', { host: 'api.example' }), { notSeen: 'bun' }, kept]
    const installed = await reportingInstall(...lines)
    const { stderr } = ticketkeep(installed, ['run', '--summary', '--json', node, '-e', '0'])
    expect(JSON.parse(stderr)).toEqual(JSON.parse(shownFor('json')))
    expect(stderr.trimEnd()).not.toContain('\n')
    const alone = ticketkeep(installed, ['run', '--json', node, '-e', '0'])
    expect(JSON.parse(alone.stderr)).toEqual(JSON.parse(shownFor('json')))
  })

  it('writes it to a file that only its owner can read', async () => {
    const installed = await reportingInstall(line(), kept)
    const cwd = scratchDirectory()
    const run = (...flags: string[]) =>
      ticketkeep(installed, ['run', '--summary-file', 'summary', ...flags, node, '-e', '0'], { cwd })
    const file = join(cwd, 'summary')
    expect(run()).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(readFileSync(file, 'utf8')).toBe(
      'ticketkeep: 1 connection to registry.example: 1 resumed, about 50 ms of handshakes saved, 3 tickets stored\n',
    )
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(run('--json')).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ connections: 1, resumed: 1, kept: 3 })
  })

  it('writes a page, even into a folder that the command makes again', async () => {
    const installed = await reportingInstall(line())
    const cwd = scratchDirectory()
    const script = 'rm -r dist && mkdir dist && "$0" -e 0'
    mkdirSync(join(cwd, 'dist'))
    const args = ['run', '--report', 'dist/page.html', 'sh', '-c', script, node]
    expect(ticketkeep(installed, args, { cwd })).toMatchObject({ status: 0, stdout: '', stderr: '' })
    const page = readFileSync(join(cwd, 'dist/page.html'), 'utf8')
    expect(page).toContain('1 connection to registry.example: 1 resumed')
    // Without the arguments, which may contain secrets.
    expect(page).toContain('<code>sh</code>')
    expect(page).not.toContain('mkdir')
    expect(statSync(join(cwd, 'dist/page.html')).mode & 0o777).toBe(0o600)
  })

  it.each(['--report', '--summary-file'])('%s: runs nothing if the file cannot be written', (flag) => {
    const cwd = scratchDirectory()
    for (const file of ['nowhere/file', '.']) {
      const result = ticketkeep(plain, ['run', flag, file, 'sh', '-c', 'echo ran'], { cwd })
      expect(result).toMatchObject({ status: 1, stdout: '' })
      expect(result.stderr).toMatch(
        /^ticketkeep: .* cannot be written \(E\w+\), so the command was not run; .*\n$/,
      )
    }
  })

  it('exits with the status of the command if the file can no longer be written', () => {
    const cwd = scratchDirectory()
    mkdirSync(join(cwd, 'dist'))
    const result = ticketkeep(
      plain,
      ['run', '--report', 'dist/page.html', 'sh', '-c', 'rm -r dist; exit 4'],
      { cwd },
    )
    expect(result).toMatchObject({ status: 4, stderr: expect.stringContaining('was not written (ENOENT)') })
  })

  it('includes the connections of an inner run', async () => {
    const installed = await reportingInstall(line({ sessions: 1 }))
    const inner = [node, installed.cli, 'run', '--summary', node, '-e', '0']
    const { stderr } = ticketkeep(installed, ['run', '--summary', ...inner])
    // The inner `run` is itself a process with the preload.
    expect(stderr).toMatch(/^ticketkeep: 1 connection to .*\nticketkeep: 2 connections to .*\n$/)
  })

  it.each(['', 'null', '{"pid":-1,"kept":0,"problem":""}', '{"pid":1,"kept":1e99,"problem":""}', '\0\xff'])(
    'ignores invalid lines: %j',
    async (text) => {
      const installed = await reportingInstall(text)
      expect(ticketkeep(installed, ['run', '--summary', node, '-e', '0']).stderr).toBe(EMPTY)
    },
  )

  it('names a command that is not a Node program', () => {
    const directory = scratchDirectory()
    copyFileSync(which('ls')!, join(directory, 'bun'))
    const env = cleanEnv({ PATH: `${directory}:${process.env.PATH}` })
    expect(ticketkeep(plain, ['run', '--summary', 'bun', directory], { env }).stderr).toBe(
      `${EMPTY}ticketkeep: bun is not a Node program, so its own connections are not seen\n`,
    )
  })

  it('keeps its file private, and removes it however the command ends', () => {
    const directory = scratchDirectory()
    const env = cleanEnv({ TMPDIR: directory })
    const show = 'stat -c "%a %s" "$TICKETKEEP_SUMMARY_FILE"; kill -TERM $$'
    const result = ticketkeep(plain, ['run', '--summary', 'sh', '-c', show], { env })
    expect(result).toMatchObject({ stdout: '600 0\n', stderr: EMPTY, signal: 'SIGTERM' })
    expect(readdirSync(directory)).toEqual([])
  })

  it('runs the command without a summary if no temporary file can be made', () => {
    const env = cleanEnv({ TMPDIR: join(scratchDirectory(), 'nowhere') })
    expect(ticketkeep(plain, ['run', '--summary', 'sh', '-c', 'exit 4'], { env })).toMatchObject({
      status: 4,
      stderr: 'ticketkeep: no temporary file can be made (ENOENT), so there will be no summary\n',
    })
  })

  it('prints a summary if the command is not found', () => {
    mkdirSync(join(scratchDirectory(), 'x'))
    expect(ticketkeep(plain, ['run', '--summary', '--json', 'nowhere']).stderr).toContain('"connections":0')
  })
})

describe('ticketkeep run with wrong arguments', () => {
  it('exits 2 and prints its usage', () => {
    for (const args of [[], ['--'], ['--summary']]) {
      expect(ticketkeep(plain, ['run', ...args])).toMatchObject({
        status: 2,
        stdout: '',
        stderr:
          'ticketkeep: too few arguments; usage: ticketkeep run [--summary] [--summary-file FILE] [--json] [--report FILE] [--pool URL] [--job NAME] [--] COMMAND [ARGUMENT...]\n',
      })
    }
    expect(ticketkeep(plain, ['run', '--sumary', 'true'])).toMatchObject({
      status: 2,
      stderr: 'ticketkeep: unknown option --sumary; did you mean "--summary"?\n',
    })
  })
})
