// Three users of one machine, each with programs under the preload, a key and tickets.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isBatchName } from '../../src/store/names.ts'
import { IN_SESSION_KEYRING, missingKernelKeyring } from '../support/keychains.ts'
import { describeWith, missingCommands } from '../support/missing.ts'
import { createAuthority } from '../support/pki.ts'
import {
  createSandbox,
  exampleProgram,
  type Outcome,
  runCommand,
  type Sandbox,
} from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { makeUser, missingUsers, type TestUser, usePackageForEveryone } from '../support/users.ts'

const missing = [missingUsers(), missingKernelKeyring(), missingCommands('su', 'chpasswd')]

describeWith(missing, 'three users of one machine', () => {
  let server: TlsServer
  const pack = usePackageForEveryone()
  let sandbox: Sandbox
  let users: TestUser[]
  let program: string
  let ca: string
  let visits = 0

  beforeAll(async () => {
    const authority = await createAuthority()
    server = await startTlsServer(await authority.issue())
    sandbox = createSandbox()
    ca = sandbox.write('ca.pem', authority.cert)
    program = sandbox.write('program.cjs', readFileSync(exampleProgram('slow-lookup.cjs')))
    users = []
    for (const name of ['tk-test-x', 'tk-test-y', 'tk-test-z']) users.push(await makeUser(name))
    // The home can be entered, so that only the folder of ticketkeep keeps the others out.
    for (const { home } of users) chmodSync(home, 0o755)
  })
  afterAll(async () => {
    for (const user of users ?? []) await user.remove()
    sandbox?.remove()
    await server?.close()
  })

  const folderOf = ({ home }: TestUser) => join(home, '.cache', 'ticketkeep', 'tls-tickets')
  const pathsBelow = (folder: string) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path))
  const ticketsOf = (user: TestUser) =>
    pathsBelow(folderOf(user)).filter((path) => isBatchName(basename(path)))
  const login = (user: TestUser) => [...user.prefix, ...IN_SESSION_KEYRING]
  const content = (folder: string) =>
    Object.fromEntries(
      pathsBelow(folder).map((path) => [path, lstatSync(path).isFile() && readFileSync(path, 'base64')]),
    )
  const GOOD = { status: 0, signal: null, stdout: '200 hello\n' }

  /** Runs a wrapped program as a user; tells whether its connection was resumed. */
  async function visit(
    user: TestUser,
    env = {},
    words = login(user),
  ): Promise<Outcome & { reused: boolean }> {
    const path = `/${++visits}`
    const outcome = await runCommand(
      {
        sandbox,
        preload: pack.preload,
        prefix: words,
        cwd: '/',
        env: {
          HOME: user.home,
          XDG_RUNTIME_DIR: '/nonexistent',
          NODE_EXTRA_CA_CERTS: ca,
          TICKETKEEP_DIR: undefined,
          TICKETKEEP_KEY: undefined,
          ...env,
        },
      },
      [process.execPath, program, `https://localhost:${server.port}${path}`],
    )
    return { ...outcome, reused: server.requests.find(({ url }) => url === path)!.reused }
  }

  /** Until the user has resumed, and has tickets left. */
  async function settle(user: TestUser) {
    await expect.poll(async () => (await visit(user)).reused, { timeout: 20_000 }).toBe(true)
    const left = async () => (await visit(user)) && ticketsOf(user).length
    await expect.poll(left, { timeout: 20_000 }).toBeGreaterThan(0)
  }

  /** What the shell says to a user who tries this; undefined: it went well. */
  function attempt(user: TestUser, script: string, within = login(user)) {
    const [command, ...args] = [...within, 'sh', '-c', script]
    const { status, stderr } = spawnSync(command!, args, { encoding: 'utf8', cwd: '/' })
    return status === 0 ? undefined : stderr
  }

  test('resume their own connections, each with private files', async () => {
    for (const user of users) {
      await settle(user)
      const folder = folderOf(user)
      expect(lstatSync(folder)).toMatchObject({ uid: user.uid, mode: 0o40700 })
      for (const path of pathsBelow(folder)) {
        const mode = lstatSync(path).isDirectory() ? 0o40700 : 0o100600
        expect(lstatSync(path)).toMatchObject({ uid: user.uid, mode })
      }
    }
    const kids = users.map((user) => new Set(readdirSync(folderOf(user)).map((name) => name.slice(0, 11))))
    expect(new Set(kids.flatMap((set) => [...set])).size).toBe(4) // three keys, and CACHEDIR.TAG
  })

  test("cannot list, read, change, add or remove another user's tickets", () => {
    for (const [i, victim] of users.entries()) {
      const thief = users[(i + 1) % 3]!
      const folder = folderOf(victim)
      const file = ticketsOf(victim)[0]!
      const own = ticketsOf(thief)[0]!
      const before = content(folder)
      for (const script of [
        `ls ${folder}`,
        `ls ${dirname(file)}`,
        `cat ${file}`,
        `echo x >>${file}`,
        `rm -f ${file}`,
        `mv ${file} /tmp/`,
        `cp ${own} ${folder}/`,
        `cp ${own} ${dirname(file)}/`,
        `ln -s /dev/null ${folder}/${basename(own)}`,
        `chmod 777 ${folder}`,
        `mv ${folder} ${folder}.gone`,
        `cat ${victim.home}/.cache/ticketkeep/kernel-keyring.key`,
        `rm -f ${victim.home}/.cache/ticketkeep/kernel-keyring.key`,
      ]) {
        expect([script, attempt(thief, script)]).toEqual([
          script,
          expect.stringMatching(/denied|not permitted/),
        ])
      }
      expect(content(folder)).toEqual(before)
    }
  })

  test("neither use nor change another user's folder when TICKETKEEP_DIR names it", async () => {
    const [first, second] = users as [TestUser, TestUser]
    const before = content(folderOf(first))
    expect(await visit(second, { TICKETKEEP_DIR: folderOf(first) })).toMatchObject({ ...GOOD, reused: false })
    // A folder that the other has prepared, and left open.
    const trap = join(second.home, 'trap')
    mkdirSync(trap, { mode: 0o777 })
    chmodSync(trap, 0o777)
    chownSync(trap, second.uid, second.uid)
    expect(await visit(first, { TICKETKEEP_DIR: trap })).toMatchObject({ ...GOOD, reused: false })
    expect(readdirSync(trap)).toEqual([])
    expect(content(folderOf(first))).toEqual(before)
    await settle(first)
  })

  test("neither read nor store a key in the first user's session keyring after a plain su", async () => {
    const [first, second] = users as [TestUser, TestUser]
    await settle(first)
    spawnSync('chpasswd', { input: `${second.name}:secret` })
    const before = content(folderOf(second))
    const script = (command: string) => `echo secret | su ${second.name} -c '${command}'`
    // The second user's processes hold the first one's keyring: the kernel lets them read what is in it.
    const name = `keyring:${first.name}@ticketkeep`
    const [setpriv, ...login1] = [...login(first), 'sh', '-c']
    const held = spawnSync(
      setpriv!,
      [...login1, `keyctl get_persistent @s; ${script(`keyctl print %user:${name}`)}`],
      {
        encoding: 'utf8',
      },
    )
    const sealed = /:hex:([0-9a-f]+)/.exec(held.stdout)?.[1] ?? ''
    expect(sealed).toMatch(/^[0-9a-f]{160,}$/)
    // It is of no use: the blob does not even begin as the key does.
    expect(Buffer.from(sealed, 'hex').toString('latin1')).not.toContain('ticketkeep key')
    // And their own programs leave that keyring alone.
    const node = `cd /; NODE_OPTIONS="--require ${pack.preload}" NODE_EXTRA_CA_CERTS=${ca} ${process.execPath} ${program}`
    for (let i = 0; i < 2; i++) {
      const path = `/su-${i}`
      const url = `https://localhost:${server.port}${path}`
      const ran = await runCommand({ sandbox, preload: false, cwd: '/' }, [
        setpriv!,
        ...login1,
        script(`${node} ${url}`),
      ])
      expect(ran).toMatchObject({ status: 0, stdout: '200 hello\n' })
      expect(server.requests.find((request) => request.url === path)?.reused).toBe(false)
    }
    expect(content(folderOf(second))).toEqual(before)
    await settle(first)
    await settle(second)
  })

  test('do not get files of root in their home when root has their HOME', async () => {
    const [first] = users as [TestUser]
    const key = { TICKETKEEP_KEY: Buffer.alloc(32, 7).toString('base64') }
    const before = content(folderOf(first))
    const empty = mkdtempSync(join(tmpdir(), 'ticketkeep-home-'))
    chownSync(empty, first.uid, first.uid)
    try {
      for (const home of [first.home, empty]) {
        for (let i = 0; i < 2; i++) {
          const outcome = await visit(first, { HOME: home, ...key }, [])
          expect(outcome).toMatchObject({ ...GOOD, stderr: '', reused: false })
        }
      }
      expect(readdirSync(empty)).toEqual([])
    } finally {
      rmSync(empty, { recursive: true })
    }
    const roots = spawnSync('find', [first.home, '-uid', '0'], { encoding: 'utf8' })
    expect(roots).toMatchObject({ status: 0, stdout: '' })
    expect(content(folderOf(first))).toEqual(before)
  })
})
