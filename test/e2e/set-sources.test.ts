// If the source of the key that the user has set fails, no other source is asked, not even a keychain with a good key. Programs
// notice nothing. `status`, `doctor`, `init` and NODE_DEBUG say which source it is, and why.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  askInProcess,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith } from '../support/missing.ts'
import { createAuthority } from '../support/pki.ts'
import { CLI } from '../support/places.ts'
import { createSandbox, runCommand, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

/** Stands for a key, or a mistaken one, which must never be printed. */
const SECRET = 'hunter2'

interface Row {
  readonly source: string
  readonly says: RegExp
  readonly env: (sandbox: Sandbox) => Record<string, string>
  /** The program ends while it still waits for the source. */
  readonly hangs?: boolean
}

const file = (arrange: (path: string) => void) => (sandbox: Sandbox) => {
  const path = join(sandbox.directory, 'key')
  arrange(path)
  return { TICKETKEEP_KEY_FILE: path }
}
const written = (content: string, mode: number) => (path: string) => {
  writeFileSync(path, content)
  chmodSync(path, mode)
}
const command = (line: string) => () => ({ TICKETKEEP_KEY_COMMAND: line })
const credential = (content: string, mode: number) => (sandbox: Sandbox) => {
  const directory = join(sandbox.directory, 'credentials')
  mkdirSync(directory)
  written(content, mode)(join(directory, 'ticketkeep.key'))
  return { CREDENTIALS_DIRECTORY: directory }
}
const named = (source: string) => () => ({ TICKETKEEP_KEY_SOURCE: source })

const ROWS: Record<string, Row> = {
  'variable: malformed': {
    source: 'variable',
    says: /TICKETKEEP_KEY is not a key: it has 7 characters/,
    env: () => ({ TICKETKEEP_KEY: SECRET }),
  },
  'variable: white space': {
    source: 'variable',
    says: /TICKETKEEP_KEY is not a key: it is empty/,
    env: () => ({ TICKETKEEP_KEY: ' \n' }),
  },
  'file: not there': { source: 'file', says: /key does not exist/, env: file(() => {}) },
  'file: a broken link': {
    source: 'file',
    says: /key does not exist/,
    env: file((path) => symlinkSync('nowhere', path)),
  },
  'file: mode 0644': {
    source: 'file',
    says: /key can be read by others \(mode 0644\)/,
    env: file(written(SECRET, 0o644)),
  },
  'file: mode 0620': {
    source: 'file',
    says: /key can be written by others \(mode 0620\)/,
    env: file(written(SECRET, 0o620)),
  },
  'file: a directory': { source: 'file', says: /key is not a regular file/, env: file((p) => mkdirSync(p)) },
  'file: a pipe': {
    source: 'file',
    says: /key is not a regular file/,
    env: file((path) => void spawnSync('mkfifo', ['-m', '600', path])),
  },
  'file: empty': { source: 'file', says: /key holds no key: it is empty/, env: file(written('', 0o600)) },
  'file: a password': {
    source: 'file',
    says: /key holds no key: it has 7 characters/,
    env: file(written(SECRET, 0o600)),
  },
  'file at the default path: mode 0644': {
    source: 'file',
    says: /\.config\/ticketkeep\/key can be read by others/,
    env: ({ home }) => {
      mkdirSync(join(home, '.config', 'ticketkeep'), { recursive: true })
      written(SECRET, 0o644)(join(home, '.config', 'ticketkeep', 'key'))
      return {}
    },
  },
  'command: fails': {
    source: 'command',
    says: /sh: failed with exit status 7/,
    env: command(`sh -c 'echo ${SECRET}; exit 7'`),
  },
  'command: prints nothing': {
    source: 'command',
    says: /first output line of true is not a key: it is empty/,
    env: command('true'),
  },
  'command: prints something else': {
    source: 'command',
    says: /first output line of echo is not a key: it has 7 characters/,
    env: command(`echo ${SECRET}`),
  },
  'command: prints an empty line first': {
    source: 'command',
    says: /first output line of sh is not a key: it is empty/,
    env: command(`sh -c 'echo; echo ${SECRET}'`),
  },
  'command: not there': {
    source: 'command',
    says: /no-such-program-here: cannot be run \(ENOENT\)/,
    env: command('no-such-program-here'),
  },
  'command: a quote that does not end': {
    source: 'command',
    says: /has a quote that does not end/,
    env: command(`echo '${SECRET}`),
  },
  'command: ~': { source: 'command', says: /"~" at its start is not expanded/, env: command('~/bin/key') },
  'command: a relative path': {
    source: 'command',
    says: /must be a name or an absolute path/,
    env: command('./key'),
  },
  'command: hangs': {
    source: 'command',
    says: /no answer within 10 s/,
    env: command('sleep 60'),
    hangs: true,
  },
  'systemd: a password': {
    source: 'systemd',
    says: /ticketkeep\.key holds no key: it has 7 characters/,
    env: credential(SECRET, 0o400),
  },
  'systemd: mode 0644 on a disk': {
    source: 'systemd',
    says: /ticketkeep\.key can be read by others/,
    env: credential(SECRET, 0o644),
  },
  'TICKETKEEP_KEY_SOURCE=variable, and none': {
    source: 'variable',
    says: /TICKETKEEP_KEY is not set/,
    env: named('variable'),
  },
  'TICKETKEEP_KEY_SOURCE=file, and none': {
    source: 'file',
    says: /TICKETKEEP_KEY_FILE is not set, and there is no/,
    env: named('file'),
  },
  'TICKETKEEP_KEY_SOURCE=command, and none': {
    source: 'command',
    says: /TICKETKEEP_KEY_COMMAND is not set/,
    env: named('command'),
  },
  'TICKETKEEP_KEY_SOURCE=systemd, and none': {
    source: 'systemd',
    says: /CREDENTIALS_DIRECTORY is not set/,
    env: named('systemd'),
  },
  'TICKETKEEP_KEY_SOURCE=memory': {
    source: 'memory',
    says: /tickets live and die with the process/,
    env: named('memory'),
  },
}

/** Invalid settings: the commands refuse to work, with exit status 2 and a sentence. */
const MEANINGLESS: Record<string, [env: Record<string, string>, says: RegExp]> = {
  'TICKETKEEP_KEY_SOURCE that does not exist': [
    { TICKETKEEP_KEY_SOURCE: SECRET },
    /TICKETKEEP_KEY_SOURCE must be one of auto, variable, /,
  ],
  'TICKETKEEP_KEY_FILE with ~': [
    { TICKETKEEP_KEY_FILE: `~/${SECRET}` },
    /TICKETKEEP_KEY_FILE must be an absolute path/,
  ],
  'TICKETKEEP_KEY_FILE that is relative': [
    { TICKETKEEP_KEY_FILE: SECRET },
    /TICKETKEEP_KEY_FILE must be an absolute path/,
  ],
  'TICKETKEEP_DIR with ~': [{ TICKETKEEP_DIR: `~/${SECRET}` }, /TICKETKEEP_DIR must be an absolute path/],
}

const TOO_LATE = 'the program ended before the key arrived'

const PROGRAM = `
  const lookup = (...args) => setTimeout(() => require('node:dns').lookup(...args), 50)
  require('node:https').get(process.argv[2], { lookup }, (response) =>
    response.on('data', (bytes) => process.stdout.write(bytes)))`

describeWith(missingSecretService(), 'a set source that fails is not replaced by the keychain', () => {
  let bus: SecretServiceBus
  let server: TlsServer
  let ca: string
  beforeAll(async () => {
    const authority = await createAuthority()
    ca = authority.cert
    server = await startTlsServer(await authority.issue())
    bus = await startSecretService('unlocked')
    const settings = { ...bus.settings, source: 'keychain' as const }
    expect((await askInProcess({ task: 'create', settings }))?.keys).toBeDefined()
  })
  afterAll(async () => {
    await bus?.close()
    await server?.close()
  })

  /** Runs a program and the commands there, and gives what they said. */
  async function look(sandbox: Sandbox, given: Record<string, string>, isPatient = true) {
    const env = {
      ...bus.env,
      TICKETKEEP_KEY: undefined,
      NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca),
      ...given,
    }
    const debug = { ...env, NODE_DEBUG: 'ticketkeep' }
    const args = [`https://localhost:${server.port}/`]
    let program = await runProgram({ sandbox, source: PROGRAM, args, env: debug })
    // On a busy machine the answer of a keychain may come too late for a program.
    for (let i = 0; i < 10 && program.stderr.includes(TOO_LATE) && isPatient; i++)
      program = await runProgram({ sandbox, source: PROGRAM, args, env: debug })
    const ask = (...words: string[]) =>
      runCommand({ sandbox, env, preload: false, timeoutMs: 60_000 }, [process.execPath, CLI, ...words])
    const answers = await Promise.all([
      ask('status'),
      ask('status', '--json'),
      ask('doctor'),
      ask('doctor', '--json'),
      ask('init'),
    ])
    for (const { stdout, stderr } of [program, ...answers]) expect(stdout + stderr).not.toContain(SECRET)
    return { program, answers, keys: bus.search().match(/^attribute\.service = ticketkeep$/gm)?.length }
  }

  /** The same with a sandbox of its own, in which nothing may be stored. */
  async function lookInside(given: (sandbox: Sandbox) => Record<string, string>) {
    const sandbox = createSandbox()
    try {
      const seen = await look(sandbox, given(sandbox), false)
      expect(sandbox.stored()).toEqual([])
      return seen
    } finally {
      sandbox.remove()
    }
  }

  test('no source is set: tickets are kept with the key of the keychain', async () => {
    const sandbox = createSandbox()
    try {
      const { program, answers } = await look(sandbox, {})
      expect(program).toMatchObject({ status: 0, stdout: 'hello\n' })
      expect(sandbox.stored()).toHaveLength(1)
      expect(answers[0]!.stdout).toMatch(/^tickets kept +yes$/m)
    } finally {
      sandbox.remove()
    }
  })

  test.each(Object.entries(ROWS))('%s', async (_, { source, says, env, hangs = false }) => {
    const { program, answers, keys } = await lookInside(env)
    const [status, statusJson, doctor, doctorJson, init] = answers
    expect(program).toMatchObject({ status: 0, stdout: 'hello\n' })
    const said = program.stderr.replaceAll('\\"', '"')
    if (hangs) expect(said).toContain(TOO_LATE)
    else {
      expect(said).toMatch(says)
      expect(said).toContain(`nothing is kept without a key: ${source}: `)
    }
    expect(status!.stdout).toMatch(/^tickets kept +no$/m)
    expect(status!.stdout).toMatch(says)
    expect(JSON.parse(statusJson!.stdout)).toMatchObject({
      keeping: false,
      key: { source, available: false, creatable: false, reason: expect.stringMatching(says) },
    })
    expect(doctor).toMatchObject({ status: 1, stdout: expect.stringMatching(/^tickets kept +no: /) })
    const { key, keeping } = JSON.parse(doctorJson!.stdout)
    const chosen = key.sources.find((one: { chosen: boolean }) => one.chosen)
    expect({ keeping, kept: key.kept, chosen }).toMatchObject({
      keeping: false,
      kept: false,
      chosen: { source, reason: expect.stringMatching(says) },
    })
    expect(init).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(says) })
    expect(keys).toBe(1)
  })

  test.each(Object.entries(MEANINGLESS))('%s', async (_, [env, says]) => {
    const { program, answers, keys } = await lookInside(() => env)
    expect(program).toMatchObject({ status: 0, stdout: 'hello\n' })
    expect(program.stderr).toMatch(says)
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 2, stderr: expect.stringMatching(says) })
      // With --json the sentence is printed as well.
      if (answer.stdout) expect(JSON.parse(answer.stdout).error.code).toBe('ERR_INVALID_SETTING')
    }
    expect(keys).toBe(1)
  })

  test.each(['', '0', 'no', 'off', 'false', 'False'])(
    '%j in every variable of ticketkeep: as if the variable were not set',
    async (word) => {
      const names = [
        'DISABLE',
        'DIR',
        'KEY_SOURCE',
        'KEY',
        'KEY_FILE',
        'KEY_COMMAND',
        'CIPHER',
        'REUSE',
        'CLIENT_CERT',
      ]
      const sandbox = createSandbox()
      try {
        const { program, answers } = await look(sandbox, {
          ...Object.fromEntries(names.map((name) => [`TICKETKEEP_${name}`, word])),
          XDG_CACHE_HOME: sandbox.tickets,
        })
        expect(program).toMatchObject({ status: 0, stdout: 'hello\n' })
        expect(sandbox.stored()).toHaveLength(1)
        expect(JSON.parse(answers[1]!.stdout)).toMatchObject({
          keeping: true,
          directory: { path: join(sandbox.tickets, 'ticketkeep', 'tls-tickets') },
          key: { source: 'keychain', available: true },
        })
        expect(JSON.parse(answers[3]!.stdout)).toMatchObject({ cipher: 'xsalsa20-poly1305' })
      } finally {
        sandbox.remove()
      }
    },
  )
})
