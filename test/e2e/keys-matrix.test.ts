// Every source of the key, in every state. A program under the preload notices none of them, tickets are kept where that is
// possible, and `ticketkeep doctor` says why or why not.
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, type TestContext, test } from 'vitest'
import type { KeySourceName } from '../../src/key-sources.ts'
import {
  IN_SESSION_KEYRING,
  KEY_TEXT,
  missingKernelKeyring,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith, type Missing, missingNode, missingRoot } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { createSandbox, runCommand, type Sandbox } from '../support/run-program.ts'
import { useServer } from '../support/servers.ts'
import {
  makeUserIfPossible,
  missingUsers,
  type TestUser,
  usePackageForEveryone,
  useUser,
} from '../support/users.ts'

const LINES = process.env.TICKETKEEP_TEST_LONG === '1' ? NODE_LINES : (['20', '26'] as const)

interface Place {
  readonly sandbox: Sandbox
  readonly after: TestContext['onTestFinished']
  readonly node: string
  /** A session bus of the user's own, with a keyring. */
  bus(kind: 'unlocked' | 'virgin' | 'none'): Promise<SecretServiceBus>
  /** A file of the user's own. */
  file(content: string, mode: number): string
  /** Runs a command as the user; returns what it prints. */
  run(words: readonly string[], env?: Record<string, string>): Promise<string>
}

interface Arranged {
  readonly env?: Record<string, string>
  /** Words before the program: `IN_SESSION_KEYRING`. */
  readonly within?: readonly string[]
  /** The same, before it becomes the user's. */
  readonly before?: readonly string[]
  /** Called when the programs have ended. */
  readonly afterwards?: () => void
}

interface Row {
  /** The source that ends the chain. */
  readonly source: KeySourceName
  /** Whether tickets are kept. Default: the source is not `memory`. */
  readonly kept?: boolean
  /** Of the source that the row is about (default: the one chosen), what the doctor says. */
  readonly about?: KeySourceName
  readonly says: RegExp
  /** And what it advises, if anything. */
  readonly advises?: RegExp
  readonly missing?: Missing
  arrange(place: Place): Promise<Arranged> | Arranged
}

const variable = (value: string) => () => ({ env: { TICKETKEEP_KEY: value } })
const command = (line: string) => () => ({ env: { TICKETKEEP_KEY_COMMAND: line } })
const file = (content: string, mode: number) => (place: Place) => ({
  env: { TICKETKEEP_KEY_FILE: place.file(content, mode) },
})
const defaultKeyFile = ({ sandbox, file }: Place, mode: number) => {
  const folder = join(sandbox.home, '.config', 'ticketkeep')
  mkdirSync(folder, { recursive: true })
  chmodSync(join(folder, '..'), 0o755)
  chmodSync(folder, 0o755)
  renameSync(file(KEY_TEXT, mode), join(folder, 'key'))
  return {}
}
const onBus =
  (kind: 'unlocked' | 'virgin' | 'none') =>
  async ({ bus }: Place) => ({ env: { ...(await bus(kind)).env } })
const onNoBus = (address: string) => () => ({ env: { DBUS_SESSION_BUS_ADDRESS: address } })
const count = (bus: SecretServiceBus) =>
  bus.search().match(/^attribute\.service = ticketkeep$/gm)?.length ?? 0

const ANYWHERE: Record<string, Row> = {
  'no source at all': {
    source: 'memory',
    says: /live and die with the process/,
    arrange: () => ({}),
  },
  'key in a variable': {
    source: 'variable',
    says: /is set/,
    advises: /TICKETKEEP_KEY_FILE/,
    arrange: variable(KEY_TEXT),
  },
  'key in a variable: malformed': {
    source: 'variable',
    kept: false,
    says: /not a key: it has 5 characters/,
    advises: /openssl rand/,
    arrange: variable('wrong'),
  },
  'key file: mode 0600': { source: 'file', says: /key$/, arrange: file(KEY_TEXT, 0o600) },
  'key file: mode 0644': {
    source: 'file',
    kept: false,
    says: /can be read by others \(mode 0644\): chmod 600/,
    advises: /must be yours or root's/,
    arrange: file(KEY_TEXT, 0o644),
  },
  "key file: another user's": {
    source: 'file',
    kept: false,
    says: /belongs to user 65534/,
    advises: /must be yours or root's/,
    missing: missingRoot(),
    arrange: (place) => {
      const path = place.file(KEY_TEXT, 0o644)
      chownSync(path, 65534, 65534)
      return { env: { TICKETKEEP_KEY_FILE: path } }
    },
  },
  'key file: too short': {
    source: 'file',
    kept: false,
    says: /holds no key: it has 8 characters/,
    advises: /openssl rand/,
    arrange: file('c2hvcnQ=', 0o600),
  },
  'key file: not there': {
    source: 'file',
    kept: false,
    says: /does not exist/,
    advises: /Docker/,
    arrange: () => ({ env: { TICKETKEEP_KEY_FILE: '/nonexistent/key' } }),
  },
  'key file: at the default path': {
    source: 'file',
    says: /\.config\/ticketkeep\/key$/,
    arrange: (place) => defaultKeyFile(place, 0o600),
  },
  'key file: at the default path, mode 0644': {
    source: 'file',
    kept: false,
    says: /\.config\/ticketkeep\/key can be read by others/,
    advises: /must be yours or root's/,
    arrange: (place) => defaultKeyFile(place, 0o644),
  },
  'key file: not there, and a good command': {
    source: 'file',
    kept: false,
    says: /does not exist/,
    advises: /Docker/,
    arrange: () => ({
      env: { TICKETKEEP_KEY_FILE: '/nonexistent/key', TICKETKEEP_KEY_COMMAND: `echo ${KEY_TEXT}` },
    }),
  },
  'command: good': { source: 'command', says: /^echo gave it/, arrange: command(`echo ${KEY_TEXT}`) },
  'command: failing': {
    source: 'command',
    kept: false,
    says: /sh: failed with exit status 7/,
    advises: /by hand/,
    arrange: command(`sh -c 'echo ${KEY_TEXT}; echo no >&2; exit 7'`),
  },
  'command: garbage': {
    source: 'command',
    kept: false,
    says: /first output line of echo is not a key/,
    advises: /vault kv get/,
    arrange: command('echo nonsense'),
  },
  'command: slow': {
    source: 'command',
    kept: false,
    says: /no answer within 10 s/,
    advises: /within 10 seconds/,
    arrange: ({ sandbox }) => {
      const finished = join(sandbox.home, 'finished')
      return {
        env: { TICKETKEEP_KEY_COMMAND: `sh -c 'sleep 20; touch ${finished}'` },
        // Each program has ended before its command had, and none has left one behind.
        afterwards() {
          expect(existsSync(finished)).toBe(false)
          expect(spawnSync('pgrep', ['-f', finished]).status).not.toBe(0)
        },
      }
    },
  },
  'systemd credential': {
    source: 'systemd',
    says: /ticketkeep\.key$/,
    arrange: (place) => {
      place.file(KEY_TEXT, 0o400)
      return { env: { CREDENTIALS_DIRECTORY: join(place.sandbox.directory, 'credentials') } }
    },
  },
  'systemd credentials without ours': {
    source: 'memory',
    about: 'systemd',
    says: /CREDENTIALS_DIRECTORY holds no ticketkeep\.key/,
    advises: /LoadCredentialEncrypted=/,
    arrange: ({ sandbox }) => ({ env: { CREDENTIALS_DIRECTORY: sandbox.home } }),
  },
  'bus: none': {
    source: 'memory',
    about: 'keychain',
    says: /there is no session bus/,
    advises: /enable-linger/,
    arrange: () => ({}),
  },
  'bus: gone': {
    source: 'memory',
    about: 'keychain',
    says: /the session bus is gone/,
    advises: /enable-linger/,
    arrange: onNoBus('unix:path=/nonexistent/bus'),
  },
  'bus: a socket that speaks something else': {
    source: 'memory',
    about: 'keychain',
    says: /does not let this user in|not D-Bus/,
    advises: /enable-linger/,
    arrange: async ({ sandbox, after }) => {
      const path = join(sandbox.directory, 'socket')
      const server = createServer((socket) => socket.on('error', () => {}).end('220 mail ready\r\n'))
      await new Promise<void>((ready) => server.listen(path, ready))
      after(() => void server.close())
      const { uid, gid } = await import('node:fs').then((fs) => fs.statSync(sandbox.home))
      chownSync(path, uid, gid)
      chmodSync(path, 0o700)
      return { env: { DBUS_SESSION_BUS_ADDRESS: `unix:path=${path}` } }
    },
  },
}

const WITH_KEYRING: Record<string, Row> = {
  'keyring: unlocked, and a command that fails': {
    source: 'command',
    kept: false,
    says: /false: failed with exit status 1/,
    advises: /by hand/,
    async arrange({ bus }) {
      const one = await bus('unlocked')
      const env = { ...one.env, TICKETKEEP_KEY_COMMAND: '/bin/false' }
      return { env, afterwards: () => expect(count(one)).toBe(0) }
    },
  },
  'keyring: unlocked': { source: 'keychain', says: /the Secret Service/, arrange: onBus('unlocked') },
  'keyring: locked, nobody to ask': {
    source: 'memory',
    about: 'keychain',
    says: /is locked/,
    advises: /gnome-keyring-daemon --unlock/,
    async arrange({ bus }) {
      const one = await bus('unlocked')
      one.lock()
      return { env: { ...one.env }, afterwards: () => expect(count(one)).toBe(0) }
    },
  },
  'keyring: locked, with a key in it': {
    source: 'memory',
    about: 'keychain',
    says: /is locked/,
    advises: /gnome-keyring-daemon --unlock/,
    async arrange({ bus, run, node }) {
      const one = await bus('unlocked')
      expect(await run([node, pack.cli, 'rotate-key'], one.env)).toMatch(/made one/)
      one.lock()
      return { env: { ...one.env }, afterwards: () => expect(count(one)).toBe(1) }
    },
  },
  'keyring: no collection, nobody to ask': {
    source: 'memory',
    about: 'keychain',
    says: /no default collection/,
    advises: /gnome-keyring-daemon --unlock/,
    arrange: onBus('virgin'),
  },
  'keyring: daemon stopped': {
    source: 'memory',
    about: 'keychain',
    says: /no answer/,
    advises: /do not wait for it/,
    async arrange({ bus }) {
      const one = await bus('unlocked')
      one.daemon!.kill('SIGSTOP')
      const state = () => /^State:\s*(\w)/m.exec(readFileSync(`/proc/${one.daemon!.pid}/status`, 'utf8'))?.[1]
      await expect.poll(state).toBe('T')
      // Every program has ended while it was, and is, stopped.
      return { env: { ...one.env }, afterwards: () => expect(state()).toBe('T') }
    },
  },
  'keyring: none on this bus': {
    source: 'memory',
    about: 'keychain',
    says: /no Secret Service runs/,
    advises: /Install gnome-keyring/,
    arrange: onBus('none'),
  },
  "bus: another user's": {
    source: 'memory',
    about: 'keychain',
    says: /is user 0's, not this user's/,
    advises: /su -/,
    missing: missingUsers(),
    async arrange({ after }) {
      const roots = await startSecretService('unlocked')
      after(() => roots.close())
      spawnSync('chmod', ['-R', 'o+rwX', join(roots.env.DBUS_SESSION_BUS_ADDRESS!.slice(10), '..')])
      return { env: { ...roots.env }, afterwards: () => expect(count(roots)).toBe(0) }
    },
  },
}

const WITH_KERNEL: Record<string, Row> = {
  'kernel keyring: possessed': {
    source: 'kernel',
    says: /the kernel keyring/,
    arrange: () => ({ within: IN_SESSION_KEYRING }),
  },
  'kernel keyring: not possessed': {
    source: 'memory',
    about: 'kernel',
    says: /no session keyring of its own|session keyring is user 0's/,
    advises: /keyctl session/,
    arrange: () => ({}),
  },
  "kernel keyring: the first user's, after a plain su": {
    source: 'memory',
    about: 'kernel',
    says: /session keyring is user 0's, who could read our key/,
    advises: /su -/,
    arrange: () => ({ before: IN_SESSION_KEYRING }),
  },
  'kernel keyring: half-made entry': {
    source: 'memory',
    about: 'kernel',
    says: /it is incomplete/,
    advises: /keyctl purge user keyring:/,
    async arrange({ run, node }) {
      const entry = `new (require('@napi-rs/keyring').Entry)('ticketkeep', require('os').userInfo().username, { linux: { store: 'keyutils' } })`
      const env = { NODE_PATH: join(pack.folder, 'node_modules') }
      await run([node, '-e', `try { ${entry}.setSecret(Buffer.alloc(9, 1)) } catch {}`], env)
      return { within: IN_SESSION_KEYRING }
    },
  },
}

const PROGRAM = `
  const lookup = (...args) => setTimeout(() => require('node:dns').lookup(...args), 50)
  require('node:https').get(process.argv[2], { lookup }, (response) => {
    response.on('data', (bytes) => process.stdout.write(bytes))
    response.on('end', () => process.stderr.write('on the other side\\n'))
    process.exitCode = 3
  })`

const given = useServer()
const pack = usePackageForEveryone()
let runs = 0

async function check(row: Row, binary: string, user: TestUser, after: TestContext['onTestFinished']) {
  const node = pack.node(binary)
  const sandbox = createSandbox()
  after(() => sandbox.remove())
  const own = (path: string) => {
    if (user.prefix.length > 0) chownSync(path, user.uid, user.uid)
    return path
  }
  const runtime = join(sandbox.directory, 'run')
  const credentials = join(sandbox.directory, 'credentials')
  for (const folder of [runtime, credentials]) mkdirSync(folder, { mode: 0o700 })
  for (const folder of [runtime, credentials, sandbox.home, sandbox.directory]) own(folder)
  const clean = {
    TICKETKEEP_KEY: undefined,
    XDG_RUNTIME_DIR: runtime,
    NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert),
  }
  const run = (
    words: readonly string[],
    { env = {}, within = [], before = [] }: Arranged = {},
    preload: string | false = false,
  ) =>
    runCommand(
      {
        sandbox,
        preload,
        env: { ...clean, ...env },
        prefix: [...before, ...user.prefix, ...within],
        timeoutMs: 15_000,
      },
      words,
    )
  const arranged = await row.arrange({
    sandbox,
    node,
    after,
    async bus(kind) {
      const bus = await startSecretService(kind, user.prefix.length > 0 ? user : undefined)
      after(async () => {
        bus.daemon?.kill('SIGCONT')
        await bus.close()
      })
      return bus
    },
    file(content, mode) {
      const path = join(credentials, mode === 0o400 ? 'ticketkeep.key' : 'key')
      writeFileSync(path, content)
      chmodSync(own(path), mode)
      return path
    },
    run: async (words, env) => (await run(words, env && { env })).stdout,
  })

  const name = `/${++runs}`
  const program = [
    node,
    own(sandbox.write('program.cjs', PROGRAM)),
    `https://localhost:${given.server.port}${name}`,
  ]
  const resumed = () => given.server.requests.some(({ url, reused }) => url === name && reused)
  const once = async (preload: string | false) => {
    const outcome = await run(program, arranged, preload)
    return { ...outcome, stderr: outcome.stderr.replace(/^Joined session keyring: \d+\n/, '') }
  }

  const doctor = async () => {
    const asked = await run([node, pack.cli, 'doctor', '--json'], arranged)
    const report = JSON.parse(asked.stdout.slice(asked.stdout.indexOf('{')))
    const about = row.about ?? row.source
    const one = report.key.sources.find(({ source }: { source: string }) => source === about)
    const said = { status: asked.status, chosen: report.key.chosen, kept: report.keeping, reason: one.reason }
    return { said, advice: one.advice.join(' ') }
  }

  const without = await once(false)
  expect(without).toEqual({ status: 3, signal: null, stdout: 'hello\n', stderr: 'on the other side\n' })
  const { kept = row.source !== 'memory' } = row
  const { said, advice } = await doctor()
  expect(said).toEqual({
    status: kept ? 0 : 1,
    chosen: row.source,
    kept,
    reason: expect.stringMatching(row.says),
  })
  expect(advice).toMatch(row.advises ?? /^$/)
  // A key that comes too late costs a ticket and nothing else, so on a busy machine it may take a few.
  for (let i = 0; i < (kept ? 30 : 2) && !resumed(); i++) expect(await once(pack.preload)).toEqual(without)
  expect(resumed()).toBe(kept)
  expect(existsSync(sandbox.tickets)).toBe(kept)
  arranged.afterwards?.()
}

for (const line of LINES) {
  const node = nodeBinary(line)
  describe.skipIf(missingNode(line)).concurrent(`Node ${line}`, () => {
    const user = useUser(`tk-test-node${line}`, makeUserIfPossible)

    const rows = (table: Record<string, Row>) => {
      for (const [name, row] of Object.entries(table)) {
        const tickets = (row.kept ?? row.source !== 'memory') ? 'kept' : 'not kept'
        const title = `${name.padEnd(52)} source ${row.source.padEnd(9)} tickets ${tickets}`
        const why = row.missing && ` (skipped: ${row.missing})`
        test.skipIf(row.missing !== undefined)(`${title}${why ?? ''}`, (context) =>
          check(row, node, user, context.onTestFinished),
        )
      }
    }
    describe('without a session bus', () => rows(ANYWHERE))
    describeWith(missingSecretService(), 'on a session bus', () => rows(WITH_KEYRING))
    // One after the other: they share the user's keyrings.
    describe.sequential('in the kernel', () => {
      afterEach(() => user.purgeKeyring())
      describeWith([missingKernelKeyring(), missingUsers()], 'with keyrings', () => rows(WITH_KERNEL))
    })
  })
}
