import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeOutcome, type HelperTask } from '../../src/keys/helper-process.ts'
import type { KeyOutcome } from '../../src/keys/key-source.ts'
import type { KeySettings } from '../../src/settings.ts'
import { type Missing, missingCommands, runs } from './missing.ts'
import { DIST, ROOT } from './places.ts'
import { asUser, type TestUser } from './users.ts'

const HELPER = join(DIST, 'key-helper.cjs')

/** Settings in which only the given ones are set. */
export const keySettings = (given: Partial<KeySettings> = {}): KeySettings => ({
  source: 'auto',
  variable: undefined,
  file: undefined,
  defaultFile: undefined,
  command: undefined,
  credentialsDirectory: undefined,
  sessionBus: undefined,
  runtimeDirectory: undefined,
  ...given,
})

/** A key and its text. */
export const KEY = Uint8Array.from({ length: 32 }, (_, i) => (i * 37 + 11) & 0xff)
export const KEY_TEXT = Buffer.from(KEY).toString('base64')

export const missingSecretService = (): Missing =>
  missingCommands('gnome-keyring-daemon', 'dbus-daemon', 'dbus-send', 'secret-tool')

/** A session bus for the test, and on it a real GNOME Keyring with its own login collection. */
export interface SecretServiceBus {
  /** `DBUS_SESSION_BUS_ADDRESS`, for programs that must find the bus. */
  readonly env: Readonly<Record<string, string>>
  readonly settings: Partial<KeySettings>
  /** The process id of the daemon, for SIGSTOP and SIGCONT. */
  readonly daemon: ChildProcess | undefined
  lock(): void
  /** The output of `secret-tool search --all service ticketkeep`. */
  search(): string
  close(): Promise<void>
}

/**
 * @param daemon `unlocked`: with a login collection whose password was given at the start. `virgin`: running without a
 *   collection, as on a headless machine. `none`: a bus without a Secret Service
 * @param owner the user of the bus. Default: the user who runs the tests
 */
export async function startSecretService(
  daemon: 'unlocked' | 'virgin' | 'none' = 'unlocked',
  owner?: TestUser,
): Promise<SecretServiceBus> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-bus-'))
  const own = (path: string) => owner && chownSync(path, owner.uid, owner.uid)
  const words = (...command: string[]) => [...(owner?.prefix ?? []), ...command] as [string, ...string[]]
  const start = (options: SpawnOptions, ...command: string[]) => {
    const [program, ...args] = words(...command)
    return spawn(program, args, options)
  }
  own(folder)
  const socket = join(folder, 'bus')
  const config = join(folder, 'bus.conf')
  // without <servicedir>, so that a call starts no service of this machine
  writeFileSync(
    config,
    `<busconfig><type>session</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
     <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
     <allow own="*"/></policy></busconfig>`,
  )
  const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` }
  const bus = start(
    { stdio: ['ignore', 'pipe', 'ignore'] },
    'dbus-daemon',
    '--nofork',
    `--config-file=${config}`,
    '--print-address=1',
  )
  await once(bus.stdout!, 'data')
  const run = (...command: string[]) => {
    const [program, ...args] = words(...command)
    return spawnSync(program, args, { env: { ...process.env, ...env }, encoding: 'latin1' })
  }
  let keyring: ChildProcess | undefined
  if (daemon !== 'none') {
    const home = join(folder, 'home')
    mkdirSync(home)
    own(home)
    const places = { HOME: home, XDG_DATA_HOME: home, XDG_RUNTIME_DIR: folder }
    keyring = start(
      { env: { ...process.env, ...env, ...places }, stdio: ['pipe', 'ignore', 'ignore'] },
      'gnome-keyring-daemon',
      '--foreground',
      '--components=secrets',
      ...(daemon === 'unlocked' ? ['--unlock'] : []),
    )
    keyring.stdin!.end('password')
    await isThere(() => run('dbus-send', ...OWNER))
  }
  return {
    env,
    settings: { sessionBus: env.DBUS_SESSION_BUS_ADDRESS },
    daemon: keyring,
    lock() {
      const collection = '/org/freedesktop/secrets/collection/login'
      const call = ['/org/freedesktop/secrets', 'org.freedesktop.Secret.Service.Lock']
      const service = ['--session', '--print-reply', '--dest=org.freedesktop.secrets']
      const { status } = run('dbus-send', ...service, ...call, `array:objpath:${collection}`)
      if (status !== 0) throw new Error('the keyring could not be locked')
    },
    search() {
      const { stdout, stderr } = run('secret-tool', 'search', '--all', 'service', 'ticketkeep')
      return stdout + stderr
    },
    async close() {
      for (const child of [keyring, bus]) {
        if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const OWNER = [
  '--session',
  '--print-reply',
  '--dest=org.freedesktop.DBus',
  '/',
  'org.freedesktop.DBus.GetNameOwner',
  'string:org.freedesktop.secrets',
]

async function isThere(ask: () => { status: number | null }) {
  for (let i = 0; i < 200; i++) {
    if (ask().status === 0) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('gnome-keyring-daemon did not come up')
}

/** Whether the kernel keyring can be used. In a container it is blocked, or ticketkeep does not use it. */
export function missingKernelKeyring(): Missing {
  if (process.platform !== 'linux') return 'there is no kernel keyring'
  if (readlinkSync('/proc/self/ns/pid') !== 'pid:[4026531836]') return 'this is a container'
  const wanting = missingCommands('keyctl')
  if (wanting !== undefined) return wanting
  return runs(...IN_SESSION_KEYRING, 'true') ? undefined : 'keyctl is forbidden here'
}

/** Words before a command, which then runs with its own session keyring, as after a login with pam_keyinit. */
export const IN_SESSION_KEYRING = ['keyctl', 'session', '-'] as const
export { asUser }
/** Words before a command, which then runs in its own process namespace, as in a container. */
export const IN_CONTAINER = ['unshare', '--pid', '--fork', '--mount-proc'] as const

export interface Ask {
  readonly task?: HelperTask
  readonly settings?: Partial<KeySettings>
  /** UNIX seconds; default: now. */
  readonly now?: number
  /** Words before the command line, such as `IN_SESSION_KEYRING`. */
  readonly within?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** The node to run; default: the one that runs the tests. */
  readonly node?: string
  /** A copy of the helper, for users who cannot read the original. */
  readonly helper?: string
  /** Milliseconds after which the process is killed. */
  readonly killAfter?: number
}

/** Runs a key task in a new process. @returns undefined if it was killed before its answer */
export async function askInProcess(ask: Ask = {}): Promise<KeyOutcome | undefined> {
  const { task = 'fetch', settings, now = Math.floor(Date.now() / 1000), within = [], killAfter } = ask
  const words = [...within, ask.node ?? process.execPath, ask.helper ?? HELPER]
  const child = spawn(words[0]!, words.slice(1), {
    env: ask.env ?? process.env,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const output: Buffer[] = []
  child.stdout.on('data', (chunk) => output.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify({ task, settings: keySettings(settings), now }))
  const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfter)
  await once(child, 'close')
  clearTimeout(timer)
  const all = Buffer.concat(output)
  // `keyctl session` says on standard output which keyring it has joined
  const start = all.indexOf('{"source"')
  return start < 0 ? undefined : decodeOutcome(all.subarray(start))
}

/** A folder that every user can enter, with a copy of the helper and the files that it loads. */
export function helperForEveryone(): { folder: string; helper: string } {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-keys-'))
  chmodSync(folder, 0o755)
  const helper = join(folder, 'key-helper.cjs')
  cpSync(HELPER, helper)
  cpSync(join(ROOT, 'node_modules', '@napi-rs'), join(folder, 'node_modules', '@napi-rs'), {
    recursive: true,
  })
  return { folder, helper }
}
