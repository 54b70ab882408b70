// Situations of keychains, key files and key commands that were reported to other projects (test/situations.md). The commands
// of ticketkeep run in each of them, with the real keychains and programs.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { scratch } from '../support/directories.ts'
import {
  IN_SESSION_KEYRING,
  KEY_TEXT,
  missingKernelKeyring,
  missingSecretService,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith, missingCommands, missingRoot, runs } from '../support/missing.ts'
import { CLI } from '../support/places.ts'
import { endProcess, until } from '../support/screen.ts'
import { missingUsers, usePackageForEveryone, useUser } from '../support/users.ts'

type Environment = Record<string, string | undefined>

/** Where the commands look, in an environment of their own. */
interface Place {
  readonly env: Environment
  /** Words before the command. */
  readonly within?: readonly string[]
  readonly node?: string
  readonly cli?: string
}

function ticketkeep(place: Place, ...words: string[]) {
  const { env, within = [], node = process.execPath, cli = CLI } = place
  const [program, ...args] = [...within, node, cli, ...words]
  // Otherwise the files of root would be in /etc.
  const config = { XDG_CONFIG_HOME: env.HOME && join(env.HOME, '.config') }
  const all = Object.entries({ PATH: process.env.PATH, ...config, ...env }).filter(
    ([, value]) => value !== undefined,
  )
  return spawnSync(program!, args, { env: Object.fromEntries(all), encoding: 'utf8', cwd: '/' })
}

/** What `status` says of the key, and whether tickets are kept. */
function keyOf(place: Place): { keeping: boolean; source: string; reason: string } {
  const { stdout, stderr } = ticketkeep(place, 'status', '--json')
  if (!stdout.includes('{')) throw new Error(stderr)
  const { keeping, key } = JSON.parse(stdout.slice(stdout.indexOf('{')))
  return { keeping, source: key.source, reason: key.reason }
}

/** What `doctor` says of one source. */
function doctorOn(place: Place, source: string): string {
  const { stdout } = ticketkeep(place, 'doctor', '--json')
  const { key } = JSON.parse(stdout.slice(stdout.indexOf('{')))
  return key.sources.find((one: { source: string }) => one.source === source).reason
}

/** A keyring as GNOME Keyring makes it for the empty password, with its items in clear. */
const PLAIN_KEYRING =
  '[keyring]\ndisplay-name=plain\nctime=0\nmtime=0\nlock-on-idle=false\nlock-after=false\n'

describeWith(missingSecretService(), 'on a session bus with a persistent keyring', () => {
  let folder: string
  let home: string
  let place: Place
  let bus: ChildProcess
  let keyring: ChildProcess | undefined
  const run = (command: string, args: string[], input = '') =>
    spawnSync(command, args, { env: { ...process.env, ...place.env }, input, encoding: 'latin1' })

  /** @param policy XML that stands behind the rules of a session bus */
  async function startBus(policy = '') {
    const config = join(folder, 'bus.conf')
    writeFileSync(
      config,
      `<busconfig><type>session</type><listen>unix:path=${folder}/bus</listen><auth>EXTERNAL</auth>
       <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/>${policy}</policy>
       </busconfig>`,
    )
    bus = spawn('dbus-daemon', ['--nofork', `--config-file=${config}`, '--print-address=1'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(bus.stdout!, 'data')
  }

  /** @param password none: the keyring is not unlocked, as after a restart of its daemon */
  async function startKeyring(password?: string) {
    if (keyring) await endProcess(keyring)
    const unlock = password === undefined ? [] : ['--unlock']
    const args = ['--foreground', '--components=secrets', ...unlock]
    const env = { ...process.env, ...place.env, XDG_DATA_HOME: home }
    keyring = spawn('gnome-keyring-daemon', args, { env, stdio: ['pipe', 'ignore', 'ignore'] })
    keyring.stdin!.end(password ?? '')
    const owner = ['--dest=org.freedesktop.DBus', '/', 'org.freedesktop.DBus.GetNameOwner']
    const ask = ['--session', '--print-reply', ...owner, 'string:org.freedesktop.secrets']
    await until(() => run('dbus-send', ask).status === 0, 'gnome-keyring-daemon did not come up')
  }

  const countKeys = () => {
    const { stdout, stderr } = run('secret-tool', ['search', '--all', 'service', 'ticketkeep'])
    return (stdout + stderr).match(/^attribute\.service = ticketkeep$/gm)?.length ?? 0
  }

  beforeEach(() => {
    folder = scratch()
    home = join(folder, 'home')
    mkdirSync(home, { mode: 0o700 })
    place = {
      env: {
        HOME: home,
        XDG_RUNTIME_DIR: folder,
        DBUS_SESSION_BUS_ADDRESS: `unix:path=${folder}/bus`,
        TICKETKEEP_DIR: join(folder, 'tickets'),
        TICKETKEEP_KEY_SOURCE: 'keychain',
      },
    }
  })
  afterEach(async () => {
    if (keyring) await endProcess(keyring)
    keyring = undefined
    await endProcess(bus)
  })

  test('a restarted daemon is reported as locked and gives the same key once unlocked', async () => {
    await startBus()
    await startKeyring('password')
    expect(ticketkeep(place, 'init')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Made a key/),
    })
    await startKeyring()
    const locked = { keeping: false, source: 'keychain', reason: 'the Secret Service is locked' }
    expect(keyOf(place)).toEqual(locked)
    expect(ticketkeep(place, 'init').status).toBe(1)
    await startKeyring('password')
    expect(ticketkeep(place, 'init').stdout).toMatch(/^There is a key/)
    expect(countKeys()).toBe(1)
  })

  test('a keyring with an empty password is locked until another program opens it, and keeps the key over a restart', async () => {
    await startBus()
    mkdirSync(join(home, 'keyrings'))
    writeFileSync(join(home, 'keyrings', 'default'), 'plain')
    writeFileSync(join(home, 'keyrings', 'plain.keyring'), PLAIN_KEYRING)
    const unlock = ['/org/freedesktop/secrets', 'org.freedesktop.Secret.Service.Unlock']
    const service = ['--session', '--print-reply', '--dest=org.freedesktop.secrets']
    const collection = 'array:objpath:/org/freedesktop/secrets/collection/plain'
    for (const words of [/^Made a key/, /^There is a key/]) {
      await startKeyring()
      expect(keyOf(place)).toMatchObject({ keeping: false, reason: 'the Secret Service is locked' })
      run('dbus-send', [...service, ...unlock, collection])
      expect(ticketkeep(place, 'init').stdout).toMatch(words)
    }
    expect(countKeys()).toBe(1)
  })

  test('a daemon that dies during the request is reported, and no new key is made', async () => {
    await startBus()
    await startKeyring('password')
    keyring!.kill('SIGSTOP')
    const env = { ...process.env, ...place.env }
    const status = spawn(process.execPath, [CLI, 'init'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    status.stderr.on('data', (text) => (said += text))
    const ended = once(status, 'close')
    await new Promise((resolve) => setTimeout(resolve, 500))
    keyring!.kill('SIGKILL')
    expect((await ended)[0]).toBe(1)
    expect(said).toMatch(/answers with org\.freedesktop\.DBus\.Error\.NoReply|no Secret Service runs/)
  })

  test('two items with the same attributes are refused, and neither is overwritten', async () => {
    await startBus()
    await startKeyring('password')
    for (const more of ['a', 'b']) {
      const attributes = ['service', 'ticketkeep', 'username', userInfo().username, 'more', more]
      run('secret-tool', ['store', '--label=one', ...attributes], 'a secret of somebody')
    }
    expect(keyOf(place)).toMatchObject({ keeping: false, reason: 'the Secret Service holds 2 keys of ours' })
    expect(ticketkeep(place, 'rotate-key').status).toBe(1)
    expect(ticketkeep(place, 'init').status).toBe(1)
    expect(countKeys()).toBe(2)
    expect(ticketkeep(place, 'doctor').stdout).toMatch(/secret-tool clear service ticketkeep/)
  })

  test('a cron job without DBUS_SESSION_BUS_ADDRESS finds the bus of systemd', async () => {
    await startBus()
    await startKeyring('password')
    const cron = { env: { ...place.env, DBUS_SESSION_BUS_ADDRESS: undefined } }
    expect(ticketkeep(cron, 'init').stdout).toMatch(/^Made a key/)
    expect(keyOf(place)).toMatchObject({ keeping: true, reason: 'the Secret Service' })
  })

  test('a bus that forbids access to the service, as in a sandbox, is reported', async () => {
    await startBus('<deny send_destination="org.freedesktop.secrets"/>')
    await startKeyring('password')
    expect(keyOf(place)).toMatchObject({
      keeping: false,
      reason: 'the Secret Service answers with org.freedesktop.DBus.Error.AccessDenied',
    })
  })
})

describeWith([missingCommands('gpg', 'gpgconf'), missingRoot()], 'a key command that calls gpg', () => {
  let home: string
  let env: Environment
  const gpg = (passphrase: string, ...args: string[]) =>
    spawnSync('gpg', ['--batch', '--pinentry-mode=loopback', '--passphrase', passphrase, ...args], {
      env: { ...process.env, GNUPGHOME: home },
      input: KEY_TEXT,
      encoding: 'utf8',
    })
  beforeEach(() => {
    home = scratch()
    env = {
      HOME: home,
      GNUPGHOME: home,
      TICKETKEEP_DIR: join(home, 'tickets'),
      TICKETKEEP_KEY_COMMAND: `gpg --batch --quiet --decrypt ${home}/key.gpg`,
    }
  })
  afterEach(() => void spawnSync('gpgconf', ['--kill', 'all'], { env: { ...process.env, GNUPGHOME: home } }))

  test.each([
    ['reads a key without a passphrase and may leave the agent of gpg running', '', true, /^gpg gave it$/],
    [
      'is reported as failing if nobody can enter the passphrase',
      'secret',
      false,
      /^gpg: (failed with exit status 2|no answer within 10 s)$/,
    ],
  ])('%s', (_, passphrase, keeping, reason) => {
    expect(gpg(passphrase, '--quick-generate-key', 'test@example.com').status).toBe(0)
    const encrypted = gpg(passphrase, '--encrypt', '-r', 'test@example.com', '-o', join(home, 'key.gpg'))
    expect(encrypted.status).toBe(0)
    // The agent forgets the passphrase, as after a login.
    spawnSync('gpgconf', ['--kill', 'all'], { env: { ...process.env, GNUPGHOME: home } })
    expect(keyOf({ env })).toEqual({ keeping, source: 'command', reason: expect.stringMatching(reason) })
  })
})

const missingMounts = missingRoot() ?? (runs('unshare', '--mount', 'true') ? undefined : 'no mounts here')

describeWith([missingUsers(), missingMounts], 'another user', () => {
  const user = useUser('tk-test-situations')
  const pack = usePackageForEveryone()
  let place: Place
  const mounts: string[] = []
  const mount = (...words: string[]) => {
    const { status, stderr } = spawnSync('mount', words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    mounts.unshift(words.at(-1)!)
  }

  beforeEach(() => {
    const tickets = scratch()
    chownSync(tickets, user.uid, user.uid)
    place = {
      env: { HOME: user.home, TICKETKEEP_DIR: tickets },
      within: user.prefix,
      node: pack.node(process.execPath),
      cli: pack.cli,
    }
  })
  afterEach(() => {
    for (const path of mounts.splice(0)) spawnSync('umount', [path])
  })

  /** A folder that the user can enter. */
  function open() {
    const folder = scratch()
    chmodSync(folder, 0o755)
    return folder
  }
  function put(path: string, mode: number) {
    writeFileSync(path, `${KEY_TEXT}\n`)
    chownSync(path, 0, user.uid)
    chmodSync(path, mode)
  }
  const withFile = (path: string) => ({ ...place, env: { ...place.env, TICKETKEEP_KEY_FILE: path } })
  const withCredentials = (path: string) => ({ ...place, env: { ...place.env, CREDENTIALS_DIRECTORY: path } })

  test('reads a Kubernetes secret in a memory file system of mode 1777, behind two links, with the mode that fsGroup sets', () => {
    const secrets = open()
    mount('-t', 'tmpfs', '-o', 'mode=1777', 'tmpfs', secrets)
    mkdirSync(join(secrets, '..2026'), { mode: 0o755 })
    put(join(secrets, '..2026', 'key'), 0o440)
    symlinkSync('..2026', join(secrets, '..data'))
    symlinkSync('..data/key', join(secrets, 'key'))
    expect(keyOf(withFile(join(secrets, 'key')))).toMatchObject({
      keeping: true,
      source: 'file',
      reason: expect.stringMatching(/mode 0440: every user who can enter/),
    })
  })

  test('reads a single file of a Kubernetes secret that subPath mounts', () => {
    const [secrets, folder] = [open(), open()]
    mount('-t', 'tmpfs', '-o', 'mode=1777', 'tmpfs', secrets)
    put(join(secrets, 'key'), 0o444)
    writeFileSync(join(folder, 'key'), '')
    mount('--bind', join(secrets, 'key'), join(folder, 'key'))
    expect(keyOf(withFile(join(folder, 'key')))).toMatchObject({ keeping: true, source: 'file' })
  })

  test('reads a systemd credential on a read-only mount, with the mode that an access list shows', () => {
    const credentials = open()
    mount('-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', credentials)
    put(join(credentials, 'ticketkeep.key'), 0o440)
    chownSync(credentials, 0, user.uid)
    chmodSync(credentials, 0o550)
    mount('-o', 'remount,ro', credentials)
    expect(keyOf(withCredentials(credentials))).toMatchObject({ keeping: true, source: 'systemd' })
  })

  test('asks no other source if it cannot enter the folder of its systemd credentials', () => {
    const credentials = join(open(), 'service')
    mkdirSync(credentials)
    put(join(credentials, 'ticketkeep.key'), 0o400)
    chmodSync(credentials, 0o500)
    const key = keyOf(withCredentials(credentials))
    expect(key).toMatchObject({ keeping: false, source: 'systemd', reason: expect.stringMatching(/EACCES/) })
  })

  test('reads a key file without having a passwd entry, as in OpenShift', () => {
    const secrets = open()
    mount('-t', 'tmpfs', '-o', 'mode=1777', 'tmpfs', secrets)
    put(join(secrets, 'key'), 0o444)
    const tickets = scratch()
    chownSync(tickets, 1_234_567, 0)
    const random = {
      ...withFile(join(secrets, 'key')),
      within: ['setpriv', '--reuid=1234567', '--regid=0', '--clear-groups'],
    }
    const env = { ...random.env, HOME: '/', TICKETKEEP_DIR: tickets }
    expect(keyOf({ ...random, env })).toMatchObject({ keeping: true, source: 'file' })
    const keyless = keyOf({ ...random, env: { ...env, TICKETKEEP_KEY_FILE: undefined } })
    expect(keyless).toMatchObject({ keeping: false, source: 'memory' })
  })

  describeWith(missingSecretService(), 'with a Secret Service', () => {
    test('is told that its own bus refuses it as root of a user namespace', async () => {
      const bus = await startSecretService('unlocked', user)
      const env = { ...place.env, ...bus.env, TICKETKEEP_KEY_SOURCE: 'keychain' }
      try {
        expect(keyOf({ ...place, env })).toMatchObject({ keeping: true, source: 'keychain' })
        const within = [...user.prefix, 'unshare', '--user', '--map-root-user']
        expect(keyOf({ ...place, env, within })).toMatchObject({
          keeping: false,
          reason: expect.stringMatching(
            /does not let this user in|before it lets this user in|not this user's/,
          ),
        })
      } finally {
        await bus.close()
      }
    })
  })

  describeWith(missingKernelKeyring(), 'with a kernel keyring', () => {
    afterEach(() => user.purgeKeyring())

    test('gets no key when its quota of kernel keys is used up, and is told why', () => {
      const env = { ...place.env, TICKETKEEP_KEY_SOURCE: 'kernel' }
      const fill =
        'i=0; while keyctl add user "filler-$i" "$(head -c 64 /dev/zero | tr "\\0" x)" @s; do i=$((i+1)); done'
      const within = [
        ...user.prefix,
        ...IN_SESSION_KEYRING,
        'sh',
        '-c',
        `{ ${fill}; } >/dev/null 2>&1; "$@"`,
        'sh',
      ]
      const full = { ...place, env, within }
      const init = ticketkeep(full, 'init')
      expect(init).toMatchObject({ status: 1, stderr: expect.stringMatching(/quota|does not accept a key/) })
      const roomy = { ...place, env, within: [...user.prefix, ...IN_SESSION_KEYRING] }
      expect(ticketkeep(roomy, 'init').stdout).toMatch(/^Made a key|^There is a key/m)
      expect(doctorOn(roomy, 'kernel')).toBe('the kernel keyring')
    })
  })
})
