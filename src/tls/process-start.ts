// What Node and OpenSSL read as the process started. The preload uses this file in every process, so it imports no module.

/** Flags and variables of the process, as they were when it started. */
export interface ProcessStart {
  /** In a worker thread, those of the thread: some flags are a thread's own. */
  readonly execArgv: readonly string[]
  /** Those of `VARIABLES` that were set. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** What `releaseInWords` said. */
  readonly release: string
  /** Undefined in the main thread. */
  readonly worker: WorkerStart | undefined
  /** The words of the process after its own path, where the program may have changed `execArgv`. */
  readonly commandLine?: readonly string[]
}

/** A worker's flags and variables are not the process's (worker_threads documentation, `execArgv` and `env`). */
export interface WorkerStart {
  /** The words of the process after its own path; undefined where the system does not tell. */
  readonly commandLine: readonly string[] | undefined
  /** `NODE_OPTIONS` of the thread. */
  readonly nodeOptions: string | undefined
}

/**
 * The variables that Node's TLS (Node's documentation, "Environment variables") and OpenSSL (openssl-env(7)) read.
 * `NODE_TLS_REJECT_UNAUTHORIZED` is not here: Node puts it into the options of each call.
 */
export const VARIABLES = [
  ...['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'OPENSSL_CONF', 'OPENSSL_CONF_INCLUDE', 'OPENSSL_CONFIG'],
  ...['OPENSSL_ENGINES', 'OPENSSL_MODULES', 'OPENSSL_TRACE', 'OPENSSL_ia32cap', 'OPENSSL_armcap'],
]

export function readProcessStart(env: NodeJS.ProcessEnv): ProcessStart {
  // Node disables what changes the whole process in a worker.
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
 * The same where the program has run before: it may have changed its environment and its flags. Linux tells how it began.
 * @param words `process.execArgv` and `process.argv`, as early as they could be had
 * @throws where the flags are not those that it began with
 */
export function readProcessStartLater({ execArgv, argv }: ProcessWords = process): ProcessStart {
  if (!isMainThread()) return { ...readInWorker(), execArgv }
  if (process.platform !== 'linux') return { ...readInMainThread(process.env), execArgv }
  const commandLine = procFile('cmdline').slice(1)
  if (!isCommandLine(commandLine, execArgv, argv)) throw new Error('the flags of this process are not known')
  const start = { ...readInMainThread(firstEnvironment()), execArgv }
  // A single executable takes no flags of Node's.
  return isApplication() ? start : { ...start, commandLine }
}

export interface ProcessWords {
  readonly execArgv: readonly string[]
  readonly argv: readonly string[]
}

/** Not by `process.chdir`, which the program may have replaced. To load `worker_threads` takes 2 ms. */
function isMainThread(): boolean {
  if (process.platform !== 'linux') return process.getBuiltinModule('node:worker_threads').isMainThread
  // `<process>/task/<thread>`: the first thread of a process has the number of the process (proc(5)).
  const [pid, , tid] = process.getBuiltinModule('node:fs').readlinkSync('/proc/thread-self').split('/')
  return pid === tid
}

/**
 * Whether a command line has just these flags: they stand before the script and its arguments. Where Node itself has taken
 * something else for them, or the program has removed some, that does not add up.
 */
function isCommandLine(words: string[], execArgv: readonly string[], argv: readonly string[]): boolean {
  const isSame = (some: readonly string[], others: readonly string[]) =>
    some.length === others.length && some.every((word, i) => word === others[i])
  const rest = words.slice(execArgv.length)
  if (!isSame(words.slice(0, execArgv.length), execArgv)) return false
  // The script of a single executable is the program itself.
  if (isApplication()) return isSame(rest, argv.slice(2))
  const [script = '-', ...args] = rest
  if (script.startsWith('-') && script !== '-') return false
  // With `--eval`, or a script that comes by standard input, there is none.
  return isSame(rest, argv.slice(1)) || (script !== '-' && isSame(args, argv.slice(2)))
}

/** A single executable application: its script is the program itself, and is named twice in `process.argv`. */
const isApplication = () => process.getBuiltinModule('node:sea')?.isSea() === true

/**
 * Whether the words of the command line are those of Node. Where it was started through the dynamic loader (ld.so(8)), its own
 * path stands among them, and its flags behind that.
 */
const isStartedAsNode = () =>
  /\/node(js)?[\d.-]*$/.test(process.getBuiltinModule('node:fs').readlinkSync('/proc/self/exe'))

function firstEnvironment(): Record<string, string> {
  const began: Record<string, string> = {}
  // The first of a name counts, as for getenv(3).
  for (const entry of procFile('environ'))
    began[entry.slice(0, entry.indexOf('='))] ??= entry.slice(entry.indexOf('=') + 1)
  return began
}

const procFile = (name: string): string[] =>
  process.getBuiltinModule('node:fs').readFileSync(`/proc/self/${name}`, 'utf8').split('\0').slice(0, -1)

/** Which Node this is, and where it runs. Tests and tools put other values there. */
export const releaseInWords = (): string =>
  [process.version, process.arch, process.platform, process.execPath].join(' ')
