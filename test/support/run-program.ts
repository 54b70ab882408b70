import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { PRELOAD, ROOT } from './places.ts'

/** The value of TICKETKEEP_KEY in a sandbox, unless a test sets another. */
export const TEST_KEY = Buffer.alloc(32, 'ticketkeep test key ').toString('base64')

export interface Sandbox {
  readonly directory: string
  readonly home: string
  /** TICKETKEEP_DIR, which does not exist until something is stored. */
  readonly tickets: string
  /** The paths of the files in it. Empty if it does not exist. */
  stored(): string[]
  /** Writes a file into the sandbox and returns its path. */
  write(name: string, content: string | Uint8Array): string
  remove(): void
}

/** A temporary folder for one test, with a home, a store and programs. */
export function createSandbox(): Sandbox {
  const directory = mkdtempSync(join(tmpdir(), 'ticketkeep-test-'))
  chmodSync(directory, 0o755) // some tests run as other users
  const home = join(directory, 'home')
  const tickets = join(directory, 'tickets')
  mkdirSync(home)
  return {
    directory,
    home,
    tickets,
    stored: () => filesBelow(tickets).filter((path) => basename(path) !== 'CACHEDIR.TAG'),
    write(name, content) {
      const path = join(directory, name)
      writeFileSync(path, content)
      return path
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}

function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name))
}

export interface RunOptions {
  readonly sandbox: Sandbox
  /** The program, by its path or its source, whose type is `module`. */
  readonly file?: string
  readonly source?: string
  /** Default: CommonJS. */
  readonly module?: 'cjs' | 'mjs'
  readonly args?: readonly string[]
  /** The Node that runs it. Default: the one that runs the tests. */
  readonly node?: string
  /** Flags of Node's own, before the program. */
  readonly flags?: readonly string[]
  /** Whether the preload is loaded, or the path of another preload. Default true. */
  readonly preload?: boolean | string
  /** In addition to the clean environment. Undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Words before the command, such as `dbus-run-session --`. */
  readonly prefix?: readonly string[]
  /** Runs it as this user and group. Needs root. */
  readonly uid?: number
  /** Called with the process as soon as it runs. */
  readonly onStart?: (child: ChildProcess) => void
  /** After this time it is killed with SIGKILL. Default 30 s. */
  readonly timeoutMs?: number
}

export interface Outcome {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program as a user would, with or without the preload, in an environment with nothing of this machine but PATH.
 */
export function runProgram(options: RunOptions): Promise<Outcome> {
  const file =
    options.file ?? options.sandbox.write(`program.${options.module ?? 'cjs'}`, options.source ?? '')
  const node = options.node ?? process.execPath
  return runCommand(options, [node, ...(options.flags ?? []), file, ...(options.args ?? [])])
}

/** The same for any command. The preload is in NODE_OPTIONS, so every Node process below it loads it. */
export function runCommand(
  options: Omit<RunOptions, 'file' | 'source' | 'module' | 'args' | 'node' | 'flags'>,
  commandLine: readonly string[],
): Promise<Outcome> {
  const [command = '', ...args] = [...(options.prefix ?? []), ...commandLine]
  const child = spawn(command, args, {
    cwd: options.cwd ?? options.sandbox.directory,
    env: environment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (bytes) => stdout.push(bytes))
  child.stderr.on('data', (bytes) => stderr.push(bytes))
  options.onStart?.(child)
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 30_000)
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      done({
        status,
        signal,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      })
    })
  })
}

/** A clean environment without NODE_EXTRA_CA_CERTS and a session bus, and with only these settings of ticketkeep. */
export function environment(options: Pick<RunOptions, 'sandbox' | 'preload' | 'env'>): NodeJS.ProcessEnv {
  const { sandbox, preload = true, env = {} } = options
  const path = preload === true ? PRELOAD : preload
  return Object.fromEntries(
    Object.entries({
      PATH: process.env.PATH,
      HOME: sandbox.home,
      // The folder that `init` and `env` write to. For root that would be in /etc.
      XDG_CONFIG_HOME: join(env.HOME ?? sandbox.home, '.config'),
      NODE_OPTIONS: path === false ? undefined : `--require ${JSON.stringify(path)}`,
      TICKETKEEP_DIR: sandbox.tickets,
      TICKETKEEP_KEY: TEST_KEY,
      ...env,
    }).filter(([, value]) => value !== undefined),
  )
}

/** A program of test/e2e/programs. */
export const exampleProgram = (name: string) => join(ROOT, 'test/e2e/programs', name)
