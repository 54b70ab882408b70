import { parseNodeOptions } from '../common/node-options.ts'
import { isSystemConfigurationEmpty } from './openssl-configuration.ts'
import type { ProcessStart } from './process-start.ts'

/** Release lines of Node whose TLS sources were reviewed for the page of admission (`admission.ts`). */
const RELEASES = [20, 22, 24, 26]

/**
 * Flags that do not affect TLS, or affect it only through values that the binding contains. With any other flag, known
 * or not, all connections of the process are left alone. `*` stands for any ending. The `--no-` form of each flag is
 * included.
 */
const FLAGS = [
  // Which code is loaded, and how it runs.
  ...[
    '-r',
    '--require',
    '--import',
    '--loader',
    '--experimental-loader',
    '-C',
    '--conditions',
    '--input-type',
  ],
  ...['-e', '--eval', '-p', '-pe', '--print', '-i', '--interactive', '-c', '--check', '--run', '--entry-url'],
  ...['--watch*', '--test*', '--experimental-test*', '--bench*', '--strip-types', '--experimental-*-types'],
  ...[
    '--experimental-vm-modules',
    '--experimental-require-module',
    '--require-module',
    '--experimental-wasm-modules',
  ],
  ...[
    '--experimental-*-module',
    '--experimental-addon-modules',
    '--experimental-default-type',
    '--experimental-specifier-resolution',
  ],
  ...['--experimental-import-meta-resolve', '--experimental-json-modules', '--experimental-repl-await'],
  ...[
    '--preserve-symlinks*',
    '--addons',
    '--permission',
    '--experimental-permission',
    '--allow-*',
    '--title',
  ],
  ...[
    '--experimental-sqlite',
    '--experimental-webstorage',
    '--localstorage-file',
    '--experimental-websocket',
  ],
  ...['--experimental-fetch', '--experimental-eventsource', '--experimental-shadow-realm', '--icu-data-dir'],
  ...[
    '--disable-proto',
    '--disallow-code-generation-from-strings',
    '--frozen-intrinsics',
    '--zero-fill-buffers',
  ],
  ...['--async-context-frame', '--harmony*', '--opt', '--jitless', '--single-threaded', '--predictable'],
  // What is printed and recorded.
  ...['--warnings', '--disable-warning', '--deprecation', '--pending-deprecation', '--throw-deprecation'],
  ...['--redirect-warnings', '--enable-source-maps', '--stack-trace-limit', '--trace-*', '--diagnostic-dir'],
  ...['--unhandled-rejections', '--abort-on-uncaught-exception', '--inspect*', '--cpu-prof*', '--heap-prof*'],
  ...[
    '--heapsnapshot-*',
    '--report-*',
    '--perf-*',
    '--prof',
    '--tls-keylog',
    '--interpreted-frames-native-stack',
  ],
  // Memory and threads.
  ...['--max-*-space-size*', '--min-semi-space-size', '--max-heap-size', '--stack-size', '--expose-gc'],
  ...['--gc-interval', '--v8-pool-size', '--optimize-for-size', '--huge-max-old-generation-size'],
  ...['--use-largepages', '--node-snapshot'],
  // The network below TLS and HTTP above it.
  ...['--dns-result-order', '--network-family-autoselection*', '--enable-network-family-autoselection'],
  ...['--use-env-proxy', '--max-http-header-size', '--insecure-http-parser'],
  // Part of the binding by value: they set `tls.DEFAULT_MIN_VERSION`, `DEFAULT_MAX_VERSION` and `DEFAULT_CIPHERS`.
  ...['--tls-min-v*', '--tls-max-v*', '--tls-cipher-list'],
  // Part of the binding by content, on the Nodes that list their default CAs (`trusted-roots.ts`).
  ...['--use-system-ca', '--use-bundled-ca'],
]

/** Flags that are allowed only with their default values: `node --test` passes all its flags to child processes. */
const DEFAULTS = ['--secure-heap=0', '--secure-heap-min=2']

/** Why no connection of this process is attended, as a phrase for people. Undefined if connections are attended. */
export function whyProcessIsLeftAlone(start: ProcessStart): string | undefined {
  const { versions, config } = process
  const [major = 0] = versions.node.split('.').map(Number)
  if (!RELEASES.includes(major)) return `Node ${major} is not a release that ticketkeep knows`
  if (versions.electron) return 'Electron has its own TLS'
  const { node_shared_openssl: isShared, openssl_system_ca_path: path } = config.variables as {
    node_shared_openssl?: boolean
    openssl_system_ca_path?: string
  }
  if (isShared) return 'this Node uses the OpenSSL of its distribution'
  if (path) return 'this Node trusts a CA file of its distribution'
  if (config.target_defaults?.defines?.includes('NODE_OPENSSL_CERT_STORE')) {
    return 'this Node trusts the CA certificates of OpenSSL'
  }
  return whyVariablesAreNotAdmitted(start) ?? whyFlagsAreNotAdmitted(start) ?? whyConfigurationIsNotAdmitted()
}

function whyVariablesAreNotAdmitted({ env }: ProcessStart): string | undefined {
  const name = Object.keys(env).find((one) => one.startsWith('OPENSSL_') && env[one] !== undefined)
  return name && `${name} is set`
}

function whyFlagsAreNotAdmitted(start: ProcessStart): string | undefined {
  const { execArgv, env, worker, commandLine = worker?.commandLine } = start
  if (worker && !worker.commandLine) return 'worker thread: the flags of its process are not available here'
  const ofProcess = commandLine ? flagsOf(commandLine) : []
  if (ofProcess === undefined && !worker) return 'the flags of the process are not known'
  if (ofProcess === undefined) return 'worker thread: the flags of its process are not known'
  const words = parseNodeOptions(env.NODE_OPTIONS ?? '')
  const wordsOfThread = parseNodeOptions(worker?.nodeOptions ?? '')
  if (words === undefined || wordsOfThread === undefined) return 'NODE_OPTIONS is malformed'
  const [flag] = firstUnknownFlag([...words, ...wordsOfThread, ...ofProcess, ...execArgv])?.split('=') ?? []
  return flag === undefined ? undefined : `the flag ${flag} may decide trust`
}

/** Flags that take the next word as their value, and flags that take no value. */
const EVAL = ['-e', '--eval']
const WITH_VALUE = [
  ...EVAL,
  ...['-r', '--require', '--import', '--loader', '--experimental-loader', '-C', '--conditions'],
]
const WITHOUT_VALUE = [
  ...['--enable-source-maps', '--experimental-vm-modules', '--experimental-import-meta-resolve'],
  ...['--expose-gc', '--preserve-symlinks', '--no-warnings', '--no-deprecation', '--trace-warnings'],
]

/**
 * The flags of a command line. Undefined if it is not certain where they end. Setting `process.title` overwrites the
 * command line: the next word is then empty or missing.
 */
function flagsOf(commandLine: readonly string[]): string[] | undefined {
  const flags: string[] = []
  for (let i = 0; i < commandLine.length; i++) {
    const word = commandLine[i]!
    if (!word.startsWith('-')) return word === '' ? undefined : flags
    if (WITH_VALUE.includes(word)) i++
    else if (!word.includes('=') && !WITHOUT_VALUE.includes(word)) return undefined
    flags.push(word)
  }
  // A command line without a script is valid only if the program is given by `--eval`.
  return flags.some((flag) => EVAL.includes(flag)) ? flags : undefined
}

/** A word that does not begin with a hyphen is the value of the flag before it. */
const firstUnknownFlag = (words: readonly string[]) =>
  words.find((word) => word.startsWith('-') && !DEFAULTS.includes(word) && !isKnownFlag(spelling(word)))

/** Node treats `_` in the name of a flag as `-`. */
function spelling(word: string): string {
  const [name = ''] = word.split('=')
  return name.startsWith('--') ? name.replaceAll('_', '-').replace(/^--no-/, '--') : name
}

function isKnownFlag(flag: string): boolean {
  return FLAGS.some((known) => {
    const [start = '', end] = known.split('*')
    return end === undefined ? flag === known : flag.startsWith(start) && flag.endsWith(end)
  })
}

function whyConfigurationIsNotAdmitted(): string | undefined {
  return isSystemConfigurationEmpty()
    ? undefined
    : 'the OpenSSL configuration of this machine has a section for Node'
}
