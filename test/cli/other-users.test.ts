// Root runs commands for other users, and hostile users try to abuse that.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/missing.ts'
import { missingUsers, type TestUser, usePackageForEveryone, useUser } from '../support/users.ts'

/** A folder and a file with valid names. */
const BATCH = 'AAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBB/CCCCCCCCCCC.DDDD.EEEE.s.70000000.0123456789abcdef.json'

describeWith(missingUsers(), 'status and purge --user, run by root,', () => {
  const pack = usePackageForEveryone()
  const user = useUser('tk-hostile')
  const victim = useUser('tk-victim')
  let scratch: string

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'ticketkeep-roots-'))
  })
  afterAll(async () => {
    rmSync(scratch, { recursive: true, force: true })
  })

  const ticketkeep = (args: string[], env = {}) =>
    spawnSync(process.execPath, [pack.cli, ...args], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: '/root', ...env },
    })

  const as = ({ prefix }: TestUser, script: string) => {
    const [command, ...args] = [...prefix, 'sh', '-ec', script]
    const { status, stderr } = spawnSync(command!, args, { encoding: 'utf8', cwd: '/' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  }

  const storeOf = ({ home }: TestUser) => join(home, '.cache/ticketkeep/tls-tickets')

  /** A store with one file, as that user would make it. */
  const fill = (one: TestUser) =>
    as(one, `umask 077; mkdir -p ${storeOf(one)}/${BATCH.split('/')[0]}; echo x >${storeOf(one)}/${BATCH}`)

  it("use that user's store regardless of root's environment", () => {
    fill(user)
    const env = { TICKETKEEP_DIR: scratch, TICKETKEEP_DISABLE: '1', XDG_CACHE_HOME: scratch, HOME: scratch }
    const { status, stdout } = ticketkeep(['status', '--user', user.name, '--json'], env)
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      disabled: false,
      files: 1,
      directory: { path: storeOf(user), owner: user.uid },
    })
    expect(ticketkeep(['status', '--user', user.name]).stdout).toContain(storeOf(user))
    ticketkeep(['purge', '--user', user.name, '--keep-key'])
    expect(existsSync(join(storeOf(user), BATCH))).toBe(false)
  })

  it('are in lines on a terminal, and say what such a process does not see', () => {
    const { stdout } = ticketkeep(['status', '--user', user.name], { COLUMNS: '60' })
    expect(stdout).toMatch(/^tickets kept .*\nswitched on .*\n(.*\n)*directory .*\n(.*\n)*policy .*\n/)
    expect(stdout).toContain('without a login')
    for (const line of stdout.split('\n').filter((one) => !one.includes('/'))) {
      expect(line.length).toBeLessThanOrEqual(60)
    }
  })

  const TRAPS: Record<string, (target: string) => string> = {
    'the store is a link': (target) => `rm -rf ${storeOf(user)}; ln -s ${target} ${storeOf(user)}`,
    'a folder above the store is a link': (target) =>
      `rm -rf ${user.home}/.cache; mkdir -p ${scratch}/open/x; ln -s ${scratch}/open ${user.home}/.cache; ` +
      `mkdir -p ${scratch}/open/ticketkeep; ln -s ${target} ${scratch}/open/ticketkeep/tls-tickets`,
    'a folder in the store is a link': (target) =>
      `mkdir -p ${storeOf(user)}; ln -s ${target}/${BATCH.split('/')[0]} ${storeOf(user)}/${BATCH.split('/')[0]}`,
  }

  it.each(Object.entries(TRAPS))("act with that user's rights only if %s", (_name, trap) => {
    const open = join(scratch, 'open')
    mkdirSync(open, { recursive: true })
    chmodSync(scratch, 0o755)
    chmodSync(open, 0o777)
    // Files of root and of a third user are at risk.
    const roots = join(scratch, 'roots')
    mkdirSync(join(roots, BATCH, '..'), { recursive: true })
    writeFileSync(join(roots, BATCH), 'x')
    fill(victim)
    for (const target of [roots, storeOf(victim)]) {
      rmSync(join(user.home, '.cache'), { recursive: true, force: true })
      spawnSync('sh', ['-c', `rm -rf ${open}/*`])
      as(user, `mkdir -p ${user.home}/.cache/ticketkeep`)
      as(user, trap(target))
      const before = spawnSync('find', [scratch, victim.home, '-printf', '%p %U %m %s\n'], {
        encoding: 'utf8',
      }).stdout
      const status = ticketkeep(['status', '--user', user.name, '--json'])
      if (status.status === 0) expect(JSON.parse(status.stdout)).toMatchObject({ files: 0 })
      ticketkeep(['purge', '--user', user.name, '--keep-key'])
      const after = spawnSync('find', [scratch, victim.home, '-printf', '%p %U %m %s\n'], {
        encoding: 'utf8',
      }).stdout
      expect(after).toBe(before)
      expect(readFileSync(join(target, BATCH), 'utf8').trim()).toBe('x')
    }
    rmSync(join(user.home, '.cache'), { recursive: true, force: true })
  })

  it('run as that user in a new session, so that nothing can be typed into a terminal of root', async () => {
    const command = spawn(process.execPath, [pack.cli, 'status', '--user', user.name], { stdio: 'ignore' })
    const ended = once(command, 'exit')
    let sessions: number[] = []
    while (command.exitCode === null && sessions.length === 0) {
      sessions = processes()
        .filter(({ parent, uid }) => parent === command.pid && uid === user.uid)
        .map(({ session }) => session)
      await new Promise((done) => setTimeout(done, 2))
    }
    await ended
    const own = processes().find(({ pid }) => pid === process.pid)!.session
    expect(sessions).toHaveLength(1)
    expect(sessions).not.toContain(own)
  })

  it('leave no file of root in that home', () => {
    ticketkeep(['status', '--user', user.name])
    ticketkeep(['purge', '--user', user.name])
    expect(spawnSync('find', [user.home, '-uid', '0'], { encoding: 'utf8' }).stdout).toBe('')
    expect(lstatSync(user.home).uid).toBe(user.uid)
  })

  it('touch nothing in the home of another user, or through its links, when root has its HOME', () => {
    const roots = join(scratch, 'rootonly')
    const config = join(user.home, '.config')
    mkdirSync(roots, { mode: 0o700 })
    for (const name of ['key', 'loader.cjs']) writeFileSync(join(roots, name), 'x', { mode: 0o600 })
    as(user, `mkdir -p ${config}; ln -s ${roots} ${config}/ticketkeep`)
    for (const env of [{ HOME: user.home }, { HOME: user.home, XDG_CONFIG_HOME: config }]) {
      const { status, stderr } = ticketkeep(['purge', '--everything'], env)
      expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('another user owns') })
    }
    expect(readdirSync(roots).sort()).toEqual(['key', 'loader.cjs'])
    // Nothing is made through a link either.
    as(user, `rm -rf ${config}; ln -s ${roots} ${config}`)
    ticketkeep(['env'], { HOME: user.home, XDG_CONFIG_HOME: config })
    ticketkeep(['init', '--key-file'], { HOME: user.home })
    expect(readdirSync(roots).sort()).toEqual(['key', 'loader.cjs'])
    as(user, `rm ${config}`)
  })

  it('are refused to other users and for unknown users', () => {
    const [command, ...prefix] = user.prefix
    const args = [...prefix, process.execPath, pack.cli, 'status', '--user', 'root']
    const { status, stderr } = spawnSync(command!, args, { encoding: 'utf8', cwd: '/' })
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('only root') })
    for (const name of ['nobody-of-this-name', '--help', '']) {
      expect(ticketkeep(['status', `--user=${name}`])).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('there is no user'),
      })
    }
  })
})

interface RunningProcess {
  readonly pid: number
  readonly uid: number
  readonly parent: number
  readonly session: number
}

/** Every process of this machine (proc(5)). */
function processes(): RunningProcess[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
      const [parent, session] = [Number(fields[1]), Number(fields[3])]
      return [{ pid: Number(name), uid: statSync(`/proc/${name}`).uid, parent, session }]
    } catch {
      return [] // it has ended
    }
  })
}
