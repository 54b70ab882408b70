import { execFileSync, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingRoot, runs } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { ROOT } from '../support/places.ts'
import { missingUsers, usePackageForEveryone, useUser } from '../support/users.ts'
import { cleanEnv, install, scratchDirectory, ticketkeep, useInstalled, which } from './kit.ts'

const KEY_SOURCE = { TICKETKEEP_KEY_SOURCE: 'memory' }

const missingMounts = !runs('unshare', '--mount', 'true')

/** Prints how often the preload is loaded in this process. */
const ASK = `'!!process[Symbol.for("ticketkeep.preload")]'`

const installed = useInstalled()

/** A home, its files, and commands that run in it. */
function newHome(extra: Record<string, string> = {}) {
  const home = scratchDirectory()
  const env = cleanEnv({ HOME: home, ...KEY_SOURCE, ...extra })
  const folder = join(env.XDG_CONFIG_HOME!, 'ticketkeep')
  return {
    home,
    env,
    folder,
    loader: join(folder, 'loader.cjs'),
    run: (...args: string[]) => ticketkeep(installed, args, { env }),
    nodeOption: () => JSON.parse(ticketkeep(installed, ['env', '--json'], { env }).stdout).nodeOption,
  }
}

describe('removing the package in a shell that has it in NODE_OPTIONS', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ticketkeep-prefix-'))
    execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: ROOT })
    const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz'))!)
    npm('install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', tarball)
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const npm = (command: string, ...args: string[]) =>
    execFileSync('npm', [command, '--global', '--prefix', folder, ...args], { stdio: 'pipe' })

  it('leaves Node working', () => {
    const bin = join(folder, 'bin')
    const { env } = newHome({ NODE: process.execPath, PATH: `${bin}:${process.env.PATH}` })
    const package_ = join(folder, 'lib/node_modules/ticketkeep')
    const script = `
      test -e ${folder}/share/man/man1/ticketkeep.1 && echo page
      eval "$(ticketkeep env)"; direct=--require=${package_}/dist/preload.cjs
      "$NODE" -p ${ASK}; NODE_OPTIONS=$direct "$NODE" -p ${ASK}
      npm rm --global --prefix ${folder} ticketkeep >/dev/null
      test -e ${package_} || echo removed
      test -e ${folder}/share/man/man1/ticketkeep.1 || echo no page
      "$NODE" -p ${ASK}; NODE_OPTIONS=$direct "$NODE" -p ${ASK} 2>/dev/null || echo dies`
    const { stdout, stderr } = spawnSync('sh', ['-c', script], { env, encoding: 'utf8' })
    expect({ stdout, stderr }).toEqual({
      stdout: 'page\ntrue\ntrue\nremoved\nno page\nfalse\ndies\n',
      stderr: '',
    })
  }, 60_000)
})

describe('the loader', () => {
  it.each(NODE_LINES)('loads the package as a preload of Node %s', async (line) => {
    const { env, loader } = newHome()
    ticketkeep(await install('plain', 'globalThis.preloads = module.isPreloading'), ['env'], { env })
    const node = nodeBinary(line)
    const ask = (more = {}) =>
      spawnSync(node, ['-p', 'preloads'], { env: { ...env, NODE_OPTIONS: `--require=${loader}`, ...more } })
    expect(ask().stdout.toString()).toBe('true\n')
  })

  it('is written once, private to its owner like its folder', () => {
    const { folder, loader, run } = newHome()
    run('env')
    expect(statSync(folder).mode & 0o777).toBe(process.geteuid!() === 0 ? 0o755 : 0o700)
    for (const name of readdirSync(folder)) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(process.geteuid!() === 0 ? 0o644 : 0o600)
    }
    const { ino, mtimeMs } = statSync(loader)
    run('env')
    run('init')
    expect(statSync(loader)).toMatchObject({ ino, mtimeMs })
    expect(readdirSync(folder).sort()).toEqual(['env.fish', 'env.ps1', 'env.sh', 'loader.cjs'])
  })

  it('is named by run if it loads this package', async () => {
    const { loader, run, env } = newHome()
    const options = () => run('run', process.execPath, '-p', 'process.env.NODE_OPTIONS').stdout
    expect(options()).toBe(`--require=${installed.preload}\n`)
    run('env')
    expect(options()).toBe(`--require=${loader}\n`)
    ticketkeep(await install(), ['env'], { env })
    expect(options()).toBe(`--require=${installed.preload}\n`)
  })

  it('is reported by status if it loads another copy of the package or a missing one', async () => {
    const { loader, env } = newHome()
    const other = await install()
    ticketkeep(other, ['env'], { env })
    const status = () =>
      ticketkeep(installed, ['status'], { env: { ...env, NODE_OPTIONS: `--require=${loader}` } }).stdout
    expect(status()).toContain(`yes, another copy: ${other.preload}`)
    rmSync(other.directory, { recursive: true })
    expect(status()).toMatch(/no, .*loader\.cjs names a copy that is gone; "ticketkeep init" writes it again/)
    ticketkeep(installed, ['env'], { env })
    expect(status()).toContain('yes, NODE_OPTIONS loads it')
  })
})

describe('a loader that somebody else could change', () => {
  /** Makes a correct loader, and then changes something. */
  const place = (change: (place: ReturnType<typeof newHome>) => void) => {
    const made = newHome()
    made.run('env')
    expect(namedByRun(made)).toBe(`--require=${made.loader}\n`)
    change(made)
    return made
  }
  const namedByRun = ({ run }: ReturnType<typeof newHome>) =>
    run('run', process.execPath, '-p', 'process.env.NODE_OPTIONS').stdout

  it('is not named if others can write to its folder', () => {
    for (const changed of [
      place(({ folder }) => chmodSync(folder, 0o777)),
      place(({ folder }) => chmodSync(folder, 0o1777)),
      place(({ folder }) => chmodSync(dirname(folder), 0o770)),
    ]) {
      expect(namedByRun(changed)).toBe(`--require=${installed.preload}\n`)
      expect(changed.nodeOption()).toBe(`--require=${installed.preload}`)
    }
  })

  it('is written again if its folder belongs to the user', () => {
    const target = join(scratchDirectory(), 'target')
    writeFileSync(target, 'theirs')
    for (const changed of [
      place(({ loader }) => chmodSync(loader, 0o666)),
      place(({ loader }) => appendFileSync(loader, 'console.log("evil")')),
      place(({ loader }) => {
        rmSync(loader)
        symlinkSync(target, loader)
      }),
    ]) {
      expect(namedByRun(changed)).toBe(`--require=${installed.preload}\n`)
      expect(changed.nodeOption()).toBe(`--require=${changed.loader}`)
      expect(lstatSync(changed.loader).isFile()).toBe(true)
      expect(statSync(changed.loader).mode & 0o022).toBe(0)
      expect(namedByRun(changed)).toBe(`--require=${changed.loader}\n`)
    }
    expect(readFileSync(target, 'utf8')).toBe('theirs')
  })

  it.skipIf(missingRoot())('is not named for root with the HOME of another user (needs root)', () => {
    for (const changed of [
      place(({ folder }) => chownSync(folder, 65_534, 65_534)),
      place(({ home }) => chownSync(home, 65_534, 65_534)),
    ]) {
      expect(namedByRun(changed)).toBe(`--require=${installed.preload}\n`)
      expect(changed.nodeOption()).toBe(`--require=${installed.preload}`)
    }
    const changed = place(({ loader }) => chownSync(loader, 65_534, 65_534))
    expect(namedByRun(changed)).toBe(`--require=${installed.preload}\n`)
    changed.run('env')
    expect(statSync(changed.loader).uid).toBe(0)
  })
})

describe('the line for a profile', () => {
  const SHELLS = [
    { shell: 'sh, bash, zsh', program: 'dash' },
    { shell: 'sh, bash, zsh', program: 'bash' },
    { shell: 'sh, bash, zsh', program: 'zsh' },
    { shell: 'fish', program: 'fish' },
    { shell: 'PowerShell', program: 'pwsh' },
  ]

  it.for(SHELLS)(
    'of $program starts no program and prints nothing once the file is removed',
    ({ shell, program }, { skip }) => {
      const path = which(program) ?? skip(`needs ${program}`)
      const { run, env, loader, folder } = newHome({ TICKETKEEP_KEY_SOURCE: 'auto' })
      const { stdout } = run('init', '--key-file')
      const line = stdout
        .split('\n')
        .at(stdout.split('\n').indexOf(`${shell}:`) + 1)!
        .trim()
      // No program but the shell and its builtins.
      const bin = scratchDirectory()
      const start = program === 'fish' || program === 'pwsh' ? '' : 'set -eu; '
      const print = program === 'pwsh' ? '"[$env:NODE_OPTIONS]"' : 'echo "[$NODE_OPTIONS]"'
      const source = (extra: NodeJS.ProcessEnv) =>
        spawnSync(path, ['-c', `${start}${line}\n${line}\n${print}`], {
          env: { ...env, PATH: bin, ...extra },
          encoding: 'utf8',
        })
      expect(source({ NODE_OPTIONS: '' })).toMatchObject({
        stdout: `[--require=${loader}]\n`,
        stderr: '',
        status: 0,
      })
      rmSync(folder, { recursive: true })
      expect(source({ NODE_OPTIONS: '-r x' })).toMatchObject({ stdout: '[-r x]\n', stderr: '', status: 0 })
    },
  )
})

describe('ticketkeep init', () => {
  it('makes a key file once, if --key-file says so and there is no other key', () => {
    const { run, env, folder } = newHome({ TICKETKEEP_KEY_SOURCE: 'file' })
    const key = join(folder, 'key')
    expect(run('init')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining('init --key-file'),
    })
    expect(existsSync(folder)).toBe(false)
    expect(run('init', '--key-file').stdout).toMatch(`Made a key (file: ${key}).\nWhoever reads that file`)
    expect(statSync(key).mode & 0o777).toBe(0o600)
    const content = readFileSync(key, 'utf8')
    expect(Buffer.from(content, 'base64')).toHaveLength(32)
    expect(run('init', '--key-file').stdout).toMatch(`There is a key (file: ${key}).\n`)
    expect(readFileSync(key, 'utf8')).toBe(content)
    expect(JSON.parse(run('init', '--json').stdout)).toMatchObject({ source: 'file', created: false })
    expect(JSON.parse(ticketkeep(installed, ['status', '--json'], { env }).stdout).keeping).toBe(true)
  })

  it('makes no key file in a folder that others can write to', () => {
    const { run, folder } = newHome({ TICKETKEEP_KEY_SOURCE: 'auto' })
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, 0o777)
    const { status, stderr } = run('init', '--key-file')
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `ticketkeep: no key was made: others can write to ${folder}, or to a folder above it\n`,
    })
    expect(readdirSync(folder)).toEqual([])
  })
})

describeWith(missingUsers(), 'a user', () => {
  const everyones = usePackageForEveryone()
  const user = useUser('setup')

  /** A shell script in which `tk` is the command. */
  function shell(prefix: readonly string[], script: string, env: NodeJS.ProcessEnv) {
    const node = everyones.node(process.execPath)
    const [command, ...args] = [...prefix, 'sh', '-c', `tk() { "$NODE" "$CLI" "$@"; }; ${script}`]
    const { stdout, stderr, status } = spawnSync(command!, args, {
      env: { PATH: process.env.PATH, NODE: node, CLI: everyones.cli, ...env },
      encoding: 'utf8',
      cwd: '/',
    })
    return { stdout, stderr, status }
  }

  it.skipIf(missingMounts)("can read the file in root's NODE_OPTIONS under any umask of root", () => {
    // With its own /etc, where the files of root are.
    const script = `
      cp /etc/passwd /etc/group "$T" && mount -t tmpfs tmpfs /etc && cp "$T/passwd" "$T/group" /etc && umask 077
      eval "$(tk env)"; echo "$NODE_OPTIONS"; find /etc/ticketkeep -printf '%f %m\\n' | sort
      setpriv --reuid=${user.uid} --clear-groups "$NODE" -p ${ASK}; tk env --off`
    const env = { HOME: '/root', T: scratchDirectory(), ...KEY_SOURCE }
    const { stdout, stderr } = shell(['unshare', '--mount'], script, env)
    expect(stderr).toBe('')
    expect(stdout.split('\n')).toEqual([
      '--require=/etc/ticketkeep/loader.cjs',
      ...['env.fish 644', 'env.ps1 644', 'env.sh 644', 'loader.cjs 644', 'ticketkeep 755'],
      ...['true', 'unset NODE_OPTIONS;', ''],
    ])
  })

  it.skipIf(missingMounts)(
    "is told by status that root's loader switches ticketkeep on, if it belongs to root",
    () => {
      const script = `
      cp /etc/passwd /etc/group "$T" && mount -t tmpfs tmpfs /etc && cp "$T/passwd" "$T/group" /etc
      look() { setpriv --reuid=${user.uid} --clear-groups "$NODE" "$CLI" status | sed -n 2p; }
      export HOME=${user.home}; eval "$(tk env)"; look
      chown ${user.uid} /etc/ticketkeep/loader.cjs; look; chown 0 /etc/ticketkeep/loader.cjs
      chown 65534 /etc/ticketkeep; look; chown 0 /etc/ticketkeep; look
      sed -i 's|/dist/|/gone/|' /etc/ticketkeep/loader.cjs; look`
      const env = { HOME: '/root', T: scratchDirectory(), ...KEY_SOURCE }
      const { stdout } = shell(['unshare', '--mount'], script, env)
      expect(stdout.split('\n')).toEqual([
        expect.stringMatching(/^switched on +yes, NODE_OPTIONS loads it$/),
        expect.stringMatching(/^switched on +not in this environment/),
        expect.stringMatching(/^switched on +not in this environment/),
        expect.stringMatching(/^switched on +yes, NODE_OPTIONS loads it$/),
        expect.stringMatching(
          /loader.cjs names a copy that is gone; "ticketkeep env" run by root writes it again$/,
        ),
        '',
      ])
    },
  )

  it.skipIf(missingMounts)('does not load by root what another user can change', () => {
    const dist = dirname(everyones.cli)
    const script = `
      cp /etc/passwd /etc/group "$T" && mount -t tmpfs tmpfs /etc && cp "$T/passwd" "$T/group" /etc
      chown ${user.uid} ${dist}; eval "$(tk env)"; echo "$NODE_OPTIONS"; ls /etc; chown 0 ${dist}`
    const { stdout } = shell(['unshare', '--mount'], script, {
      HOME: '/root',
      T: scratchDirectory(),
      ...KEY_SOURCE,
    })
    expect(stdout).toBe(`--require=${everyones.preload}\ngroup\npasswd\n`)
  })

  it('keeps a loader when root runs the commands', () => {
    const { stderr, status } = shell([], 'tk purge --everything --user nobody', { HOME: '/' })
    expect({ stderr, status }).toEqual({
      stderr: 'ticketkeep: --everything cannot be combined with --keep-key or --user\n',
      status: 2,
    })
  })

  it('has nothing left in the home after purge --everything', () => {
    const script = `
      find "$HOME" /run/user/$(id -u) /dev/shm -user $(id -un) 2>/dev/null | sort >"$BEFORE"
      tk init --key-file >/dev/null; eval "$(tk env)"
      export TICKETKEEP_DIR= ; mkdir -p "$HOME/.cache/ticketkeep"; : >"$HOME/.cache/ticketkeep/create-key.json"
      "$NODE" -e 0; tk purge --everything; eval "$(tk env --off)"; "$NODE" -e 0; tk purge --everything >/dev/null
      find "$HOME" /run/user/$(id -u) /dev/shm -user $(id -un) 2>/dev/null | sort | diff "$BEFORE" - && echo nothing`
    const before = join(everyones.folder, 'before')
    writeFileSync(before, '')
    chownSync(before, user.uid, 0)
    const { stdout, stderr } = shell(user.prefix, script, { HOME: user.home, BEFORE: before })
    expect(stdout).toBe('nothing\n')
    expect(stderr).toMatch(/^ticketkeep: nothing was removed: this shell has ticketkeep in NODE_OPTIONS.*\n$/)
  })

  it('is told what purge --everything could not remove', () => {
    const script = `
      tk init --key-file >/dev/null; cd "$HOME/.config/ticketkeep"; chmod 500 .; tk purge --everything; echo $?; ls
      chmod 700 .; tk purge --everything >/dev/null; echo $?`
    const { stdout, stderr } = shell(user.prefix, script, { HOME: user.home, TICKETKEEP_KEY_SOURCE: 'file' })
    expect(stdout).toBe('1\nenv.fish\nenv.ps1\nenv.sh\nkey\nloader.cjs\n0\n')
    const folder = join(user.home, '.config/ticketkeep')
    expect(stderr).toContain(`${folder}/key, ${folder}/loader.cjs, `)
    expect(stderr).toMatch(/could not be removed; check that the folder can be written to\n$/)
  })

  it('without a home is not sent to a key file that cannot be made', () => {
    const script = 'tk init; tk init --key-file'
    const prefix = ['setpriv', '--reuid=54321', '--regid=54321', '--clear-groups']
    const { stderr, status } = shell(prefix, script, { HOME: '/' })
    const [init, file] = stderr.split('\n')
    expect(init).toMatch(/^ticketkeep: there is no key \(memory: .*\); "ticketkeep doctor" says what to do$/)
    expect(file).toMatch(/cannot be written \(EACCES\); set HOME .* TICKETKEEP_KEY_FILE$/)
    expect(status).toBe(1)
  })

  it.each([
    [
      'without a passwd entry and a home',
      ['setpriv', '--reuid=54321', '--regid=54321', '--clear-groups'],
      '/',
    ],
    ['whose home cannot be written to', undefined, 'read-only'],
  ])('%s has the package itself in NODE_OPTIONS', (_, prefix, home) => {
    const HOME = home === '/' ? '/' : mkdtempSync(join(everyones.folder, 'home-'))
    if (home !== '/') chmodSync(HOME, 0o555)
    const script = `eval "$(tk env)"; echo "$NODE_OPTIONS"; "$NODE" -p ${ASK}`
    const { stdout, stderr } = shell(prefix ?? user.prefix, script, { HOME, ...KEY_SOURCE })
    expect({ stdout, stderr }).toEqual({ stdout: `--require=${everyones.preload}\ntrue\n`, stderr: '' })
  })
})
