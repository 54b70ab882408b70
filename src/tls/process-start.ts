// Records what Node and OpenSSL read when the process started. The preload loads this file in every process, so it
// imports no module.

/** Flags and variables of the process, as they were when it started. */
export interface ProcessStart {
  /** In a worker thread, the flags of the thread: some flags can be set per thread. */
  readonly execArgv: readonly string[]
  /** The variables of `VARIABLES` that were set. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** The result of `releaseInWords`. */
  readonly release: string
  /** Undefined in the main thread. */
  readonly worker: WorkerStart | undefined
  /** The command line after the program's own path, if the program may have changed `execArgv`. */
  readonly commandLine?: readonly string[]
}

/**
 * A worker's flags and variables can differ from those of its process (worker_threads documentation, `execArgv` and
 * `env`).
 */
export interface WorkerStart {
  /** The command line of the process after the program's own path. Undefined if the system does not provide it. */
  readonly commandLine: readonly string[] | undefined
  /** `NODE_OPTIONS` of the thread. */
  readonly nodeOptions: string | undefined
}

/**
 * The variables that Node's TLS (Node's documentation, "Environment variables") and OpenSSL (openssl-env(7)) read.
 * `NODE_TLS_REJECT_UNAUTHORIZED` is not listed: Node applies it to the options of each call.
 */
export const VARIABLES = [
  ...['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'OPENSSL_CONF', 'OPENSSL_CONF_INCLUDE', 'OPENSSL_CONFIG'],
  ...['OPENSSL_ENGINES', 'OPENSSL_MODULES', 'OPENSSL_TRACE', 'OPENSSL_ia32cap', 'OPENSSL_armcap'],
]

export function readProcessStart(env: NodeJS.ProcessEnv): ProcessStart {
  // In a worker, Node disables functions that change the whole process. `isMainThread` would need `worker_threads`.
  return (process.chdir as { disabled?: boolean }).disabled === true ? readInWorker() : readInMainThread(env)
}

function readInMainThread(env: NodeJS.ProcessEnv): ProcessStart {
  const noted: Record<string, string | undefined> = {}
  for (const name of VARIABLES) noted[name] = env[name]
  return { execArgv: process.execArgv.slice(), env: noted, release: releaseInWords(), worker: undefined }
}

function readInWorker(): ProcessStart {
  const isTold = process.platform === 'linux' && !isApplication() && isStartedAsNode()
  const worker = {
    commandLine: isTold ? procFile('cmdline').slice(1) : undefined,
    nodeOptions: process.env.NODE_OPTIONS,
  }
  return { ...readInMainThread(isTold ? firstEnvironment() : {}), worker }
}

/**
 * Like `readProcessStart`, when program code has already run and may have changed its environment and flags. Linux
 * still has the original values.
 * @param words `process.execArgv` and `process.argv`, recorded as early as possible
 * @throws if the flags are not the ones the process was started with
 */
export function readProcessStartLater({ execArgv, argv }: ProcessWords = process): ProcessStart {
  if (!isMainThread()) return { ...readInWorker(), execArgv }
  if (process.platform !== 'linux') return { ...readInMainThread(process.env), execArgv }
  const commandLine = procFile('cmdline').slice(1)
  if (!isCommandLine(commandLine, execArgv, argv)) throw new Error('the flags of this process are not known')
  const start = { ...readInMainThread(firstEnvironment()), execArgv }
  // The command line of a single executable application does not show the flags that were built into it, `execArgv` does.
  return isApplication() ? start : { ...start, commandLine }
}

export interface ProcessWords {
  readonly execArgv: readonly string[]
  readonly argv: readonly string[]
}

/** Does not check `process.chdir`, which the program may have replaced. Loading `worker_threads` takes 2 ms. */
function isMainThread(): boolean {
  if (process.platform !== 'linux') return process.getBuiltinModule('node:worker_threads').isMainThread
  // `<process>/task/<thread>`: the ID of the first thread equals the process ID (proc(5)).
  const [pid, , tid] = process.getBuiltinModule('node:fs').readlinkSync('/proc/thread-self').split('/')
  return pid === tid
}

/**
 * Whether a command line has exactly these flags, followed by the script and its arguments. It does not if Node itself
 * parsed the flags differently, or if the program removed some.
 */
function isCommandLine(words: string[], execArgv: readonly string[], argv: readonly string[]): boolean {
  const isSame = (some: readonly string[], others: readonly string[]) =>
    some.length === others.length && some.every((word, i) => word === others[i])
  const rest = words.slice(execArgv.length)
  if (!isSame(words.slice(0, execArgv.length), execArgv)) return false
  // The script of a single executable application is the program itself.
  if (isApplication()) return isSame(rest, argv.slice(2))
  const [script = '-', ...args] = rest
  if (script.startsWith('-') && script !== '-') return false
  // With `--eval`, or a script from standard input, there is no script path.
  return isSame(rest, argv.slice(1)) || (script !== '-' && isSame(args, argv.slice(2)))
}

/** A single executable application. Its script is the program itself, whose path appears twice in `process.argv`. */
const isApplication = () => process.getBuiltinModule('node:sea')?.isSea() === true

/**
 * Whether the command line starts with Node itself. If Node was started through the dynamic loader (ld.so(8)), the
 * loader comes first, then Node's path and its flags.
 */
const isStartedAsNode = () =>
  /\/node(js)?[\d.-]*$/.test(process.getBuiltinModule('node:fs').readlinkSync('/proc/self/exe'))

function firstEnvironment(): Record<string, string> {
  const began: Record<string, string> = {}
  // If a name appears twice, the first entry counts, as for getenv(3).
  for (const entry of procFile('environ'))
    began[entry.slice(0, entry.indexOf('='))] ??= entry.slice(entry.indexOf('=') + 1)
  return began
}

const procFile = (name: string): string[] =>
  process.getBuiltinModule('node:fs').readFileSync(`/proc/self/${name}`, 'utf8').split('\0').slice(0, -1)

/** Identifies this Node and its platform. Tests and tools may override these values later. */
export const releaseInWords = (): string =>
  [process.version, process.arch, process.platform, process.execPath].join(' ')

/** The reason why a connection is left alone if `looksAsStarted` is false. */
export const DISGUISED = 'process.version, arch, platform or execPath was replaced, or files are mocked'

/**
 * Whether the process and its files look as they did at the start. Tests replace values of `process`, and files (mock-fs), for
 * a while. Settings of the whole process, such as the administrator's policy, must not be read during that time.
 *
 * @param release the result of `releaseInWords` at the start
 */
export const looksAsStarted = (release: string, fs: Pick<typeof import('node:fs'), 'existsSync'>): boolean =>
  releaseInWords() === release && fs.existsSync(process.execPath)
