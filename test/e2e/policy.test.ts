// Users try to get round the administrator's policy. Each attempt runs as a user of this machine, in a mount namespace in
// which root has put a policy into /etc/ticketkeep.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeWith } from '../support/missing.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { missingPolicies, type PolicyFile, withPolicy, withPolicyFolder } from '../support/policies.ts'
import { createSandbox, type Outcome, runCommand, type Sandbox, TEST_KEY } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { usePackageForEveryone } from '../support/users.ts'

/** A user without a passwd entry, so that no user has to be made or removed. */
const UID = 54_321
const USER = ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups']

const NAMES = ['localhost', 'api.corp.test', 'deep.api.corp.test', 'corp.test', 'other.test']

/** Makes one request, with Node's own functions or with the library, and prints the events. */
const PROGRAM = `
  const { host, servername, port, path, ca, cert, key, library, ...own } = JSON.parse(process.argv[2])
  const local = { address: '127.0.0.1', family: 4 }
  const lookup = (_host, options, done) =>
    setImmediate(() => (options.all ? done(null, [local]) : done(null, local.address, 4)))
  const agent = library && new (require(library).TicketAgent)(own)
  require('node:https').get({ host, servername, port, path, ca, cert, key, lookup, agent }, (response) => response.resume())`

interface Visit {
  readonly host?: string
  readonly servername?: string
  readonly cert?: string
  readonly key?: string
  /** Through the library, with these options of its own. */
  readonly options?: object
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Words before the program, as the user. */
  readonly before?: readonly string[]
  readonly source?: string
}

describeWith(missingPolicies(), "an administrator's policy", () => {
  let authority: Authority
  let server: TlsServer
  const pack = usePackageForEveryone()
  let sandbox: Sandbox
  let visits = 0

  beforeAll(async () => {
    authority = await createAuthority()
    server = await startTlsServer({
      ...(await authority.issue({ names: NAMES })),
      requestCert: true,
      rejectUnauthorized: false,
    })
  })
  afterAll(async () => {
    await server?.close()
  })
  beforeEach(() => {
    sandbox = createSandbox()
    chownSync(sandbox.home, UID, UID)
    mkdirSync(sandbox.tickets, { mode: 0o700 })
    chownSync(sandbox.tickets, UID, UID)
  })
  afterEach(() => sandbox.remove())

  /** Runs a program as the user, under a policy or (undefined) without one. */
  async function visit(policy: readonly string[] | undefined, how: Visit = {}) {
    const { host = 'localhost', options, env = {}, before = [], source = PROGRAM, ...more } = how
    const path = `/${++visits}`
    const library = options && join(pack.folder, 'dist', 'index.cjs')
    const request = { host, port: server.port, path, ca: authority.cert, library, ...options, ...more }
    const program = sandbox.write('program.cjs', source)
    const outcome = await run(policy, [...before, process.execPath, program, JSON.stringify(request)], {
      ...(options && { NODE_OPTIONS: undefined }),
      NODE_DEBUG: 'ticketkeep',
      ...env,
    })
    expect(outcome).toMatchObject({ status: 0, signal: null })
    return { reused: server.requests.find(({ url }) => url === path)!.reused, said: outcome.stderr }
  }

  const run = (
    policy: readonly string[] | undefined,
    command: readonly string[],
    env = {},
  ): Promise<Outcome> =>
    runCommand(
      { sandbox, preload: pack.preload, prefix: [...(policy ?? []), ...USER], cwd: '/', env },
      command,
    )

  const cli = (policy: readonly string[] | undefined, args: readonly string[], env = {}) =>
    run(policy, [process.execPath, pack.cli, ...args], { NODE_OPTIONS: undefined, ...env })

  async function status(policy: readonly string[] | undefined, env = {}) {
    return JSON.parse((await cli(policy, ['status', '--json'], env)).stdout)
  }

  const under = (rules: PolicyFile | string) => withPolicy(sandbox, rules)

  /** Connects without a policy until there are tickets. */
  async function warm(how: Visit = {}) {
    await visit(undefined, how)
    expect(sandbox.stored()).not.toEqual([])
  }

  describe('that disables ticketkeep', () => {
    const ATTEMPTS: Record<string, (place: { home: string }) => Visit> = {
      'by an ordinary program': () => ({}),
      'by environment variables': () => ({
        env: { TICKETKEEP_DISABLE: '0', TICKETKEEP_POLICY: '/nonexistent', TICKETKEEP_ENABLE: '1' },
      }),
      'by naming another policy': ({ home }) => ({
        env: {
          ...{
            HOME: home,
            XDG_CONFIG_HOME: home,
            XDG_CONFIG_DIRS: home,
            ProgramData: home,
            PROGRAMDATA: home,
          },
          ETC: home,
        },
      }),
      'by another folder for tickets': ({ home }) => ({ env: { TICKETKEEP_DIR: join(home, 'tickets') } }),
      'by another source of the key': ({ home }) => ({
        env: {
          TICKETKEEP_KEY: undefined,
          TICKETKEEP_KEY_FILE: join(home, 'key'),
          TICKETKEEP_KEY_SOURCE: 'file',
        },
      }),
      'by replacing the functions of fs': () => ({
        source: `
          const fs = require('node:fs')
          const { openSync } = fs
          fs.openSync = (path, ...rest) => {
            if (String(path).includes('policy.json')) throw Object.assign(new Error(), { code: 'ENOENT' })
            return openSync(path, ...rest)
          }
          ${PROGRAM}`,
      }),
      'by changing the environment and the working directory': ({ home }) => ({
        source: `process.chdir(${JSON.stringify(home)})
          process.env.HOME = ${JSON.stringify(home)}
          delete process.env.TICKETKEEP_DISABLE
          ${PROGRAM}`,
      }),
      'by the library': () => ({ options: {} }),
      'by options of the library': ({ home }) => ({
        options: { keySource: 'variable', directory: join(home, 'tickets') },
      }),
      'in a worker': () => ({
        source: `new (require('node:worker_threads').Worker)(${JSON.stringify(PROGRAM)}, {
          eval: true, argv: process.argv.slice(2) })`,
      }),
      'in a node:vm context': () => ({
        source: `require('node:vm').runInNewContext(${JSON.stringify(PROGRAM)}, { require, process, setImmediate, JSON })`,
      }),
      'by loading the preload twice, and last': () => ({
        env: { NODE_OPTIONS: `--require /dev/null --require ${pack.preload} --require ${pack.preload}` },
      }),
      'by a child process': ({ home }) => {
        const child = join(home, 'child.cjs')
        writeFileSync(child, PROGRAM)
        const words = `[${JSON.stringify(child)}, process.argv[2]]`
        return {
          source: `require('node:child_process').execFileSync(process.execPath, ${words}, { stdio: 'inherit' })`,
        }
      },
    }

    it.each(Object.entries(ATTEMPTS))('is not got round %s', async (_name, attempt) => {
      // What the attempts can use: a policy that allows everything, a key, and tickets from before the policy.
      const home = mkdtempSync(join(sandbox.home, 'other-'))
      mkdirSync(join(home, 'ticketkeep'))
      writeFileSync(join(home, 'ticketkeep', 'policy.json'), '{ "disable": false }')
      writeFileSync(join(home, 'key'), TEST_KEY, { mode: 0o600 })
      for (const path of [home, join(home, 'key'), join(home, 'ticketkeep')]) chownSync(path, UID, UID)
      const how = attempt({ home })
      // Without the policy the attempt resumes, so nothing else prevents it below.
      await visit(undefined, how)
      expect((await visit(undefined, how)).reused).toBe(true)
      const before = contentOf(sandbox.directory)
      const policy = under({ disable: true })
      const { reused, said } = await visit(policy, how)
      expect(reused).toBe(false)
      expect(said).not.toMatch(/offer|harvest/)
      expect(contentOf(sandbox.directory)).toEqual(before)
    })

    it('makes the commands that make or use a key fail, and says why', async () => {
      const policy = under({ disable: true })
      const plain = sandbox.write('tls-tickets.json', '{"magic":"aube-tls-tickets/v1","entries":[]}')
      chownSync(plain, UID, UID)
      for (const args of [['init'], ['rotate-key'], ['import', plain], ['list'], ['invalidate', 'a.test']]) {
        const { status, stderr } = await cli(policy, args)
        expect([args[0], status, stderr]).toEqual([args[0], 1, expect.stringContaining('policy')])
      }
      expect(readFileSync(plain, 'utf8')).toContain('aube')
      expect(await status(policy)).toMatchObject({ disabled: true, keeping: false })
      const doctor = await cli(policy, ['doctor'])
      expect(doctor).toMatchObject({ status: 1 })
      expect(doctor.stdout).toContain('disabled for everybody by the policy /etc/ticketkeep/policy.json')
    })
  })

  /** The folder of a policy, as a hostile or careless user leaves it. */
  function folderWith(change: (folder: string, file: string) => void, rules = '{}'): string[] {
    const folder = mkdtempSync(join(sandbox.directory, 'policy-'))
    const file = join(folder, 'policy.json')
    chmodSync(folder, 0o755)
    writeFileSync(file, rules)
    change(folder, file)
    return withPolicyFolder(folder)
  }

  describe('that is wrong', () => {
    const elsewhere = (file: string) => {
      rmSync(file)
      return file
    }
    const CASES: Record<string, [() => string[], RegExp]> = {
      'owned by a user': [
        () => folderWith((_, file) => chownSync(file, UID, UID)),
        /belongs to user 54321, not to root/,
      ],
      'writable by others': [
        () => folderWith((_, file) => chmodSync(file, 0o646)),
        /can be written by others/,
      ],
      "in a user's folder": [
        () => folderWith((folder) => chownSync(folder, UID, UID)),
        /belongs to user 54321/,
      ],
      'in a folder that others can write to': [
        () => folderWith((folder) => chmodSync(folder, 0o775)),
        /can be written by/,
      ],
      'a symbolic link': [
        () => folderWith((_, file) => symlinkSync('/etc/hostname', elsewhere(file))),
        /symbolic link/,
      ],
      'a broken link': [() => folderWith((_, file) => symlinkSync('/x', elsewhere(file))), /symbolic link/],
      'a pipe': [
        () => folderWith((_, file) => void spawnSync('mkfifo', [elsewhere(file)])),
        /not a regular file/,
      ],
      'a folder': [() => folderWith((_, file) => mkdirSync(elsewhere(file))), /not a regular file/],
      unreadable: [() => folderWith((_, file) => chmodSync(file, 0o600)), /cannot be read \(EACCES\)/],
      'in a folder that cannot be entered': [
        () => folderWith((folder) => chmodSync(folder, 0o700)),
        /\(EACCES\)/,
      ],
      'too long': [() => under(`{}${' '.repeat(65_536)}`), /over 64 KiB/],
      'not JSON': [() => under('{ "disable": tru }'), /not JSON/],
    }

    it('disables ticketkeep for everybody', async () => {
      await warm()
      const before = contentOf(sandbox.tickets)
      for (const [name, [make, words]] of Object.entries(CASES)) {
        const { reused, said } = await visit(make())
        expect
          .soft({ name, reused, said })
          .toEqual({ name, reused: false, said: expect.stringMatching(words) })
      }
      expect(contentOf(sandbox.tickets)).toBe(before)
      expect((await visit(undefined)).reused).toBe(true)
    })

    it('is explained by status, doctor and policy check', async () => {
      const policy = under('{ "disabled": true }')
      const words = '"disabled" is not a field of a policy'
      expect(await status(policy)).toMatchObject({
        disabled: true,
        policy: { state: 'wrong', problem: expect.stringContaining(words) },
      })
      for (const [args, exit] of [
        [['status'], 0],
        [['doctor'], 1],
        [['policy', 'check'], 1],
      ] as const) {
        const outcome = await cli(policy, args)
        expect(outcome).toMatchObject({ status: exit, stdout: expect.stringContaining(words) })
      }
    })
  })

  describe('about hosts', () => {
    const CASES: [PolicyFile, Visit, boolean][] = [
      [{ denyHosts: ['other.test'] }, { host: 'localhost' }, true],
      [{ denyHosts: ['LOCALHOST.'] }, { host: 'localhost' }, false],
      [{ denyHosts: ['*.corp.test'] }, { host: 'deep.api.corp.test' }, false],
      [{ denyHosts: ['*.corp.test'] }, { host: 'corp.test' }, true],
      // `host` says where the connection goes, and `servername` whose certificate the server must show.
      [{ denyHosts: ['api.corp.test'] }, { host: 'other.test', servername: 'api.corp.test' }, false],
      [{ denyHosts: ['other.test'] }, { host: 'other.test', servername: 'api.corp.test' }, false],
      [{ denyHosts: ['api.corp.test'] }, { host: 'API.corp.TEST' }, false],
      [{ denyHosts: ['api.corp.test'] }, { host: 'api.corp.test', options: {} }, false],
      [{ allowHosts: ['*.corp.test'] }, { host: 'api.corp.test' }, true],
      [{ allowHosts: ['*.corp.test'] }, { host: 'other.test' }, false],
      [{ allowHosts: ['*.corp.test'] }, { host: 'other.test', servername: 'api.corp.test' }, false],
      [{ allowHosts: [] }, { host: 'localhost' }, false],
      [{ allowHosts: ['*.corp.test'], denyHosts: ['api.corp.test'] }, { host: 'api.corp.test' }, false],
    ]

    it.each(CASES)('%j and a connection of %j: %j', async (rules, how, isAttended) => {
      await warm(how)
      const before = contentOf(sandbox.tickets)
      const { reused, said } = await visit(under(rules), how)
      expect(reused).toBe(isAttended)
      if (isAttended) return
      expect(said).toContain('the policy of this machine leaves this host alone')
      expect(contentOf(sandbox.tickets)).toEqual(before)
    })

    it('is obeyed by TicketCache, import and list', async () => {
      const entry = `{ ticket: Buffer.from('t'), spkiFp: Buffer.alloc(32), storedAtUnixSecs: Math.floor(Date.now() / 1000) }`
      const source = `
        const { TicketCache, bindingOf } = require(${JSON.stringify(join(pack.folder, 'dist', 'index.cjs'))})
        const cache = TicketCache.openSync(undefined, { env: { ...process.env, TICKETKEEP_POLICY: '/nonexistent' } })
        const before = cache.get('denied.test', 443).length
        for (const host of ['denied.test', 'good.test']) cache.put(host, 443, ${entry})
        const unsaved = cache.get('denied.test', 443).length
        cache.save()
        let binding = 'bound'
        try { bindingOf({ host: 'denied.test' }) } catch ({ code }) { binding = code }
        console.log(JSON.stringify([before, unsaved, cache.get('denied.test', 443).length, cache.size, binding]))`
      const tell = async (policy: readonly string[] | undefined) =>
        JSON.parse((await run(policy, [process.execPath, '-e', source], { NODE_OPTIONS: undefined })).stdout)
      expect(await tell(undefined)).toEqual([0, 1, 1, 2, 'bound'])
      const policy = under({ denyHosts: ['denied.test'] })
      expect(await tell(policy)).toEqual([0, 0, 0, 2, 'ERR_NOT_ATTENDED'])
      const hosts = async (policy: readonly string[] | undefined) => {
        const { tickets } = JSON.parse((await cli(policy, ['list', '--json'])).stdout)
        return new Set(tickets.map(({ host }: { host: string }) => host))
      }
      expect(await hosts(policy)).toEqual(new Set(['good.test']))
      expect(await hosts(undefined)).toContain('denied.test')
      const time = Math.floor(Date.now() / 1000)
      const tickets = [{ ticket: [1], spki_fp: Array(32).fill(0), stored_at_unix_secs: time }]
      const entries = ['denied.test', 'fine.test'].map((host) => [{ host, port: 443 }, tickets])
      const file = join(sandbox.home, 'tickets.json')
      writeFileSync(file, JSON.stringify({ magic: 'aube-tls-tickets/v1', entries }))
      chownSync(file, UID, UID)
      const { stdout } = await cli(policy, ['import', file, '--json'])
      expect(JSON.parse(stdout)).toMatchObject({ imported: 1 })
    })
  })

  /** The first connection is made while `process.platform` is replaced, as tests do, and the next two after that. */
  const MOCKED = `
    const { platform } = process
    const set = (value) => Object.defineProperty(process, 'platform', { value, configurable: true, enumerable: true })
    const { ca, port, library } = JSON.parse(process.argv[2])
    const https = require('node:https')
    const newAgent = () => library ? new (require(library).TicketAgent)({ ca }) : new https.Agent({ ca })
    const get = (path) => new Promise((done) =>
      https.get({ host: 'localhost', port, path, agent: newAgent() }, (response) => response.resume().on('close', done)))
    const main = async () => {
      newAgent()
      set('win32')
      await get('/mocked')
      set(platform)
      await get('/later')
      await get(JSON.parse(process.argv[2]).path)
    }
    main()`

  it.each([
    ['the preload', undefined],
    ['the library', {}],
  ])('holds with %s after a connection made while process.platform was replaced', async (_name, options) => {
    const how = { source: MOCKED, ...(options && { options }) }
    const { said } = await visit(under({ disable: true }), how)
    expect(said).toContain('disabled for everybody')
    expect(sandbox.stored()).toEqual([])
    // Without a policy, the later connections are attended.
    await visit(undefined, how)
    expect(sandbox.stored()).not.toEqual([])
  })

  it('about the age of tickets applies to tickets that are already stored', async () => {
    await warm()
    await new Promise((done) => setTimeout(done, 1_100))
    expect((await visit(under({ maxAgeSeconds: 86_400 }))).reused).toBe(true)
    await new Promise((done) => setTimeout(done, 1_100))
    const policy = under({ maxAgeSeconds: 2 })
    const listed = async (words: readonly string[] | undefined) =>
      JSON.parse((await cli(words, ['list', '--json'])).stdout).tickets.length
    expect([await listed(undefined), await listed(policy)]).toEqual([1, 0])
    expect((await visit(policy)).reused).toBe(false)
  })

  describe('about the sources of the key', () => {
    it('is not got round by variables, the library or its option key', async () => {
      const policy = under({ keySources: ['keychain', 'kernel'] })
      const file = join(sandbox.home, 'key')
      writeFileSync(file, TEST_KEY, { mode: 0o600 })
      mkdirSync(join(sandbox.home, '.config/ticketkeep'), { recursive: true })
      writeFileSync(join(sandbox.home, '.config/ticketkeep/key'), TEST_KEY, { mode: 0o600 })
      spawnSync('chown', ['-R', `${UID}`, sandbox.home])
      const none = { TICKETKEEP_KEY: undefined }
      for (const how of [
        {},
        { env: { TICKETKEEP_KEY_SOURCE: 'variable' } },
        { env: { ...none, TICKETKEEP_KEY_FILE: file } },
        { env: { ...none, HOME: sandbox.home } },
        { env: { ...none, TICKETKEEP_KEY_COMMAND: `cat ${file}` } },
        { options: { keySource: 'variable' } },
      ] as Visit[]) {
        await visit(policy, how)
        expect([how, sandbox.stored()]).toEqual([how, []])
      }
      const source = `
        const { TicketCache } = require(${JSON.stringify(join(pack.folder, 'dist', 'index.cjs'))})
        console.log(TicketCache.openSync(undefined, { key: Buffer.alloc(32, 1) }).keySource)`
      const opened = await run(policy, [process.execPath, '-e', source], { NODE_OPTIONS: undefined })
      expect(opened.stdout.trim()).toBe('memory')
    })

    it('makes ticketkeep go on to a source that it allows', async () => {
      const file = join(sandbox.home, 'key')
      writeFileSync(file, TEST_KEY, { mode: 0o600 })
      chownSync(file, UID, UID)
      const env = { TICKETKEEP_KEY: Buffer.alloc(32, 9).toString('base64'), TICKETKEEP_KEY_FILE: file }
      expect(await status(under({ keySources: ['file'] }), env)).toMatchObject({
        key: { source: 'file', available: true },
      })
      const doctor = await cli(under({ keySources: ['file'] }), ['doctor', '--json'], env)
      const { sources } = JSON.parse(doctor.stdout).key as { sources: { source: string; state: string }[] }
      const asked = sources.filter(({ state }) => state !== 'not allowed').map(({ source }) => source)
      expect(asked).toEqual(['file', 'memory'])
    })

    it('keeps `run` from passing on the key of a command by a file if files are not allowed', async () => {
      const env = { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: `echo ${TEST_KEY}` }
      const tell = async (keySources: PolicyFile['keySources']) => {
        const policy = keySources && under({ keySources })
        const script = 'console.log(process.env.TICKETKEEP_KEY_SOURCE)'
        return (await cli(policy, ['run', '--', process.execPath, '-e', script], env)).stdout.trim()
      }
      expect(await tell(undefined)).toBe('file')
      expect(await tell(['command', 'file'])).toBe('file')
      expect(await tell(['command'])).toBe('undefined')
    })
  })

  it('about the cipher wins over TICKETKEEP_CIPHER', async () => {
    await visit(under({ cipher: 'aes-256-gcm' }), { env: { TICKETKEEP_CIPHER: 'xsalsa20-poly1305' } })
    const ciphers = sandbox.stored().map((path) => JSON.parse(readFileSync(path, 'utf8')).cipher)
    expect(ciphers).toEqual(['aes-256-gcm'])
  })

  it('about client certificates wins over TICKETKEEP_CLIENT_CERT', async () => {
    const client = await authority.issue({ names: ['client'] })
    const how = { ...client, env: { TICKETKEEP_CLIENT_CERT: '1' } }
    await visit(under({ clientCertificates: false }), how)
    expect(sandbox.stored()).toEqual([])
    await visit(under({ clientCertificates: true }), { ...client })
    expect(sandbox.stored()).toEqual([])
    await visit(under({ clientCertificates: true }), how)
    expect(sandbox.stored()).toHaveLength(1)
  })
})

/** Every path below, with its type, owner, mode, and content. */
function contentOf(folder: string): string {
  const list = `find . -path ./policy-\\* -prune -o -name program.cjs -prune -o -printf '%y %U %m %p %l\\n' -type f -exec md5sum {} +`
  return spawnSync('sh', ['-c', list], { cwd: folder, encoding: 'utf8' }).stdout.split('\n').sort().join('\n')
}
