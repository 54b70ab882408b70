/**
 * What `node --require` loads. Every process pays for it, and most make no TLS connection: so it is as little as can
 * be, and until the first TLS socket is made it loads no module, of ours or of Node's.
 */
import { isDisabled } from '../settings.ts'
import { noteFile } from '../tls/extra-roots.ts'
import { type ProcessStart, readProcessStart } from '../tls/process-start.ts'
import { loadBundle, ownFs } from './bundles.ts'
import { onFirstTlsSocket } from './node-internals.ts'

/** Of two copies of the package in one process the first one is enough: both would keep every ticket. */
const MARK = Symbol.for('ticketkeep.preload')

/** Before the program can replace it: tracing libraries do, so that their wrappers look like what they wrap. */
const textOf = Function.prototype.call.bind(Function.prototype.toString) as (f: object) => string

/** Likewise: tests do, and what ends at a time would not end. */
const { setTimeout, clearTimeout, setImmediate } = globalThis
const clock = { now: Date.now, setTimeout, clearTimeout, setImmediate }

function watch(): void {
  const start = readStart()
  const fs = ownFs()
  const { NODE_EXTRA_CA_CERTS: extra } = start.env
  const extraRoots = extra && doesReadVariables(start) ? noteFile(extra, fs) : undefined
  onFirstTlsSocket((socket) => {
    try {
      const { hookTls } = loadBundle<typeof import('./hook.ts')>(__dirname, 'hook.cjs', require, fs)
      hookTls({ dist: __dirname, require, start, fs, textOf, extraRoots, clock }, socket)
    } catch {}
  })
}

/**
 * A program that imports the preload itself may have changed its environment and its flags before. Linux tells how it began.
 * @throws where the flags are not those that it began with
 */
function readStart(): ProcessStart {
  const { env, platform } = process
  if (module.isPreloading || platform !== 'linux') return readProcessStart(env)
  const began: Record<string, string> = {}
  for (const entry of procFile('environ'))
    began[entry.slice(0, entry.indexOf('='))] = entry.slice(entry.indexOf('=') + 1)
  // Flags stand before the script and its arguments. Where Node itself has taken something else for them, or the program has
  // removed some, that does not add up.
  if (procFile('cmdline').length !== process.execArgv.length + process.argv.length)
    throw new Error('the flags of this process are not known')
  return readProcessStart(began)
}

const procFile = (name: string): string[] =>
  process.getBuiltinModule('node:fs').readFileSync(`/proc/self/${name}`, 'utf8').split('\0').slice(0, -1)

/**
 * Whether Node has looked at the variables that it was started with: a process with the rights of another user or with
 * capabilities does not (`credentials::SafeGetenv` in Node's sources). If it loads us for NODE_OPTIONS, it has.
 */
const doesReadVariables = ({ execArgv, env }: ProcessStart) =>
  module.isPreloading &&
  env.NODE_OPTIONS !== undefined &&
  !execArgv.some((word) => /^(-r|--require|--import)/.test(word))

// Older Nodes come along where a shell that loads us changes the version.
if (typeof process.getBuiltinModule === 'function' && !(MARK in process) && !isDisabled()) {
  Reflect.defineProperty(process, MARK, { value: true })
  try {
    watch()
  } catch {}
}
