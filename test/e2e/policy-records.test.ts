// The records that an administrator's policy asks for: the audit and the metrics.
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWith } from '../support/missing.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { missingPolicies, type PolicyFile, withPolicy } from '../support/policies.ts'
import { createSandbox, runCommand, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { makeUser, missingUsers, type TestUser, usePackageForEveryone } from '../support/users.ts'

const PROGRAM = `
  const [port, file] = process.argv.slice(2)
  const ca = require('node:fs').readFileSync(file)
  require('node:https').get({ host: 'localhost', port, ca }, (response) => response.resume())`

describeWith([missingPolicies(), missingUsers()], "the records of an administrator's policy", () => {
  let authority: Authority
  let server: TlsServer
  const pack = usePackageForEveryone()
  let sandbox: Sandbox
  let users: TestUser[]
  let ca: string
  let program: string

  beforeAll(async () => {
    authority = await createAuthority()
    server = await startTlsServer(await authority.issue())
    sandbox = createSandbox()
    ca = sandbox.write('ca.pem', authority.cert)
    program = sandbox.write('program.cjs', PROGRAM)
    users = [await makeUser('tk-rec-a'), await makeUser('tk-rec-b')]
    for (const { home, uid } of users) {
      const folder = join(home, '.config/ticketkeep')
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, 'key'), Buffer.alloc(32, uid), { mode: 0o600 })
      spawnSync('chown', ['-R', `${uid}`, join(home, '.config')])
    }
  })
  afterAll(async () => {
    for (const user of users ?? []) await user.remove()
    sandbox?.remove()
    await server?.close()
  })

  /** As in a login shell without variables of ticketkeep. */
  const run = (policy: readonly string[], user: TestUser | undefined, command: readonly string[]) =>
    runCommand(
      {
        sandbox,
        preload: pack.preload,
        prefix: [...policy, ...(user?.prefix ?? [])],
        cwd: '/',
        env: { HOME: user?.home ?? '/root', TICKETKEEP_DIR: undefined, TICKETKEEP_KEY: undefined },
      },
      command,
    )

  async function visit(policy: readonly string[], user: TestUser) {
    const outcome = await run(policy, user, [process.execPath, program, `${server.port}`, ca])
    expect(outcome).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
    return server.handshakes.at(-1)!.reused
  }

  const under = (rules: PolicyFile) => withPolicy(sandbox, rules)

  describe('the audit', () => {
    let file: string
    beforeEach(() => {
      file = sandbox.write('audit.jsonl', '')
      chmodSync(file, 0o622)
    })
    const lines = () =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))

    it('has a line for each decision with user, time, host, action and reason, and no ticket', async () => {
      const [user] = users as [TestUser]
      const policy = under({ audit: { file } })
      await visit(policy, user)
      expect(await visit(policy, user)).toBe(true)
      const decisions = lines().map(({ decision }) => decision)
      expect(decisions).toEqual(expect.arrayContaining(['skip', 'harvest', 'offer', 'resumed']))
      for (const line of lines()) {
        expect(line).toEqual({
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
          uid: user.uid,
          pid: expect.any(Number),
          decision: expect.any(String),
          host: 'localhost',
          port: server.port,
          reason: line.decision === 'skip' ? expect.any(String) : null,
        })
      }
      expect(statSync(file).uid).toBe(0)
      await visit(under({ audit: { file }, denyHosts: ['localhost'] }), user)
      expect(lines().at(-1)).toMatchObject({ reason: 'the policy of this machine leaves this host alone' })
    })

    it('includes programs that use the library', async () => {
      const [user] = users as [TestUser]
      const source = `
        const { TicketAgent } = require(${JSON.stringify(join(pack.folder, 'dist', 'index.cjs'))})
        const [port, file] = process.argv.slice(2)
        const ca = require('node:fs').readFileSync(file)
        const get = (directory, next) =>
          require('node:https').get({ host: 'localhost', port, ca, agent: new TicketAgent({ directory }) }, (response) =>
            response.resume().on('close', next))
        get(process.argv[4], () => get(process.argv[4] + '/other', () => {}))`
      const command = [
        process.execPath,
        sandbox.write('library.cjs', source),
        `${server.port}`,
        ca,
        join(user.home, 'x'),
      ]
      const env = ['env', '-u', 'NODE_OPTIONS']
      const outcome = await run(under({ audit: { file } }), user, [...env, ...command])
      expect(outcome).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
      // Each decision is there once: two handshakes in two folders, each with a miss and two sessions.
      const decisions = lines().map(({ decision }) => decision)
      expect(decisions.toSorted()).toEqual(['harvest', 'harvest', 'harvest', 'harvest', 'skip', 'skip'])
    })

    it('that can no longer be written ends offers and harvests, in a process that has begun', async () => {
      const [user] = users as [TestUser]
      const policy = under({ audit: { file } })
      // A full handshake brings two tickets, a resumption none.
      while (await visit(policy, user)) {}
      const source = `
        const fs = require('node:fs')
        const [port, ca, audit] = process.argv.slice(2)
        const get = () => new Promise((done) =>
          require('node:https').get({ host: 'localhost', port, ca: fs.readFileSync(ca), agent: false }, (response) => response.resume().on('close', done)))
        const main = async () => {
          await get()
          console.log('ready')
          while (fs.existsSync(audit)) await new Promise((done) => setTimeout(done, 5))
          await get()
          await get()
        }
        main()`
      const words = [sandbox.write('moved.cjs', source), `${server.port}`, ca, file]
      const before = server.handshakes.length
      const ended = run(policy, user, [process.execPath, ...words])
      while (server.handshakes.length === before || lines().length < 3)
        await new Promise((done) => setTimeout(done, 5))
      renameSync(file, `${file}.1`)
      expect(await ended).toEqual({ status: 0, signal: null, stdout: 'ready\n', stderr: '' })
      expect(server.handshakes.slice(before).map(({ reused }) => reused)).toEqual([true, false, false])
    })

    it('stops at the size limit of its file', async () => {
      writeFileSync(file, `${'x'.repeat(4095)}\n`)
      const policy = under({ audit: { file, maxBytes: 4096 } })
      await visit(policy, users[0]!)
      expect(statSync(file).size).toBe(4096)
      const { stdout, status } = await run(policy, undefined, [process.execPath, pack.cli, 'policy', 'check'])
      expect({ stdout, status }).toEqual({ stdout: expect.stringContaining('it is full'), status: 0 })
    })

    const BROKEN: Record<string, [(file: string) => void, RegExp]> = {
      'does not exist': [
        (file) => spawnSync('rm', [file]),
        /does not exist\.\n\nRoot creates it with: install -D -m 622 \/dev\/null /,
      ],
      'belongs to a user': [(file) => chownSync(file, users[0]!.uid, 0), /not a regular file owned by root/],
      'is writable by root alone': [(file) => chmodSync(file, 0o600), /chmod 622/],
      'is a link': [(file) => spawnSync('ln', ['-sf', program, file]), /cannot be opened \(ELOOP\)/],
    }
    it.each(Object.entries(BROKEN))(
      'is mandatory, so nothing is offered or stored if its file %s',
      async (_, [spoil, words]) => {
        const [user] = users as [TestUser]
        await visit(under({}), user)
        spoil(file)
        const policy = under({ audit: { file } })
        expect(await visit(policy, user)).toBe(false)
        const check = await run(policy, undefined, [process.execPath, pack.cli, 'policy', 'check'])
        expect(check).toMatchObject({ status: 1, stdout: expect.stringMatching(words) })
        const doctor = await run(policy, user, [process.execPath, pack.cli, 'doctor'])
        expect(doctor).toMatchObject({
          status: 1,
          stdout: expect.stringContaining('the policy requires an audit log'),
        })
        spawnSync('rm', ['-f', file])
      },
    )
  })

  describe('the metrics', () => {
    const prometheus = async (policy: readonly string[], user?: TestUser) => {
      const { stdout, stderr, status } = await run(policy, user, [
        process.execPath,
        pack.cli,
        'status',
        '--prometheus',
      ])
      expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
      const samples = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      return Object.fromEntries(
        samples.map((line) => [
          line.slice(0, line.lastIndexOf(' ')),
          Number(line.slice(line.lastIndexOf(' ') + 1)),
        ]),
      )
    }
    const counts = ({ home }: TestUser) => join(home, '.cache/ticketkeep/tls-tickets/counts')

    it('are summed for root, and each user sees only their own', async () => {
      const policy = under({ metrics: true })
      for (const user of users) {
        spawnSync('rm', ['-rf', join(user.home, '.cache')])
        for (let i = 0; i < 2; i++) await visit(policy, user)
        expect(statSync(counts(user))).toMatchObject({ uid: user.uid, mode: 0o100600 })
        expect(readFileSync(counts(user), 'utf8')).not.toMatch(/resumed|localhost/)
      }
      const own = await prometheus(policy, users[0])
      expect(own).toMatchObject({
        'ticketkeep_handshakes_total{kind="resumed"}': 1,
        'ticketkeep_handshakes_total{kind="full"}': 1,
        'ticketkeep_refused_total{reason="no ticket"}': 1,
        'ticketkeep_users{key_source="file"}': 1,
      })
      expect(own.ticketkeep_tickets).toBeGreaterThan(0)
      const twice = async () => [await prometheus(policy), await prometheus(policy)]
      for (const all of await twice()) {
        expect(all['ticketkeep_handshakes_total{kind="resumed"}']).toBeGreaterThanOrEqual(2)
        expect(all['ticketkeep_handshakes_total{kind="full"}']).toBeGreaterThanOrEqual(2)
        expect(all['ticketkeep_users{key_source="file"}']).toBeGreaterThanOrEqual(2)
        expect(all.ticketkeep_tickets).toBeGreaterThan(own.ticketkeep_tickets!)
      }
      // A user without tickets is none of them, whatever key there is.
      spawnSync('rm', ['-rf', join(users[0]!.home, '.cache/ticketkeep/tls-tickets')])
      const others = await prometheus(policy)
      expect(await prometheus(policy, users[0])).toMatchObject({ 'ticketkeep_users{key_source="file"}': 0 })
      expect(others.ticketkeep_tickets).toBeGreaterThan(0)
      // Reading has merged the lines into one.
      expect(readFileSync(counts(users[1]!), 'utf8').trim().split('\n')).toHaveLength(1)
    })

    it('are not stored unless the policy asks for them', async () => {
      const [user] = users as [TestUser]
      spawnSync('rm', ['-rf', join(user.home, '.cache')])
      await visit(under({}), user)
      expect(spawnSync('ls', [counts(user)]).status).not.toBe(0)
    })

    it('are removed by purge', async () => {
      const [user] = users as [TestUser]
      await visit(under({ metrics: true }), user)
      expect(statSync(counts(user)).size).toBeGreaterThan(0)
      await run(under({}), undefined, [
        process.execPath,
        pack.cli,
        'purge',
        '--user',
        user.name,
        '--keep-key',
      ])
      expect(spawnSync('find', [join(user.home, '.cache/ticketkeep'), '-type', 'f']).stdout.toString()).toBe(
        '',
      )
    })
  })
})
