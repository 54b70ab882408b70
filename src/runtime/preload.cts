/**
 * What `node --require` loads. Every process pays for it, and most make no TLS connection: so it is as little as can
 * be, and until the first TLS socket is made it loads no module, of ours or of Node's.
 */
import { isDisabled } from '../settings.ts'
import { noteFile } from '../tls/extra-roots.ts'
import { type ProcessStart, readProcessStart, readProcessStartLater } from '../tls/process-start.ts'
import { loadBundle, ownFs } from './bundles.ts'
import { onFirstTlsSocket } from './node-internals.ts'

/** The folder of this file; a bundle that is an ES module knows none. */
const dist = typeof __dirname === 'string' ? __dirname : ''

/** Of two copies of the package in one process the first one is enough: both would keep every ticket. */
const MARK = Symbol.for('ticketkeep.preload')

/** Before the program can replace it: tracing libraries do, so that their wrappers look like what they wrap. */
const textOf = Function.prototype.call.bind(Function.prototype.toString) as (f: object) => string

/** Likewise: tests do, and what ends at a time would not end. */
const { setTimeout, clearTimeout, setImmediate } = globalThis
const { nextTick } = process
const clock = { now: Date.now, setTimeout, clearTimeout, setImmediate, nextTick }

function watch(): void {
  const fs = ownFs()
  if (warnWhereBundled(fs)) return
  const start = readStart()
  const { NODE_EXTRA_CA_CERTS: extra } = start.env
  const extraRoots = extra && doesReadVariables(start) ? noteFile(extra, fs) : undefined
  onFirstTlsSocket((socket) => {
    try {
      const { hookTls } = loadBundle<typeof import('./hook.ts')>(dist, 'hook.cjs', require, fs)
      hookTls({ dist, require, start, fs, textOf, extraRoots, clock }, socket)
    } catch {}
  })
}

/** Somebody's bundle has this file and not those that it loads. */
function warnWhereBundled(fs: ReturnType<typeof ownFs>): boolean {
  if (module.isPreloading || fs.existsSync(`${dist}/hook.cjs`)) return false
  process.emitWarning(
    'ticketkeep/preload does nothing in a bundle: leave it out (external), or use connect, TicketAgent or ticketConnector of ticketkeep',
    { code: 'TICKETKEEP_BUNDLED' },
  )
  return true
}

const readStart = (): ProcessStart =>
  module.isPreloading ? readProcessStart(process.env) : readProcessStartLater()

/**
 * Whether Node has looked at the variables that it was started with: a process with the rights of another user or with
 * capabilities does not (`credentials::SafeGetenv` in Node's sources). If it loads us for NODE_OPTIONS, it has.
 */
const doesReadVariables = ({ execArgv, env, worker }: ProcessStart) =>
  module.isPreloading &&
  // Another thread may have had Node read the file, long ago.
  !worker &&
  env.NODE_OPTIONS !== undefined &&
  !execArgv.some((word) => /^(-r|--require|--import)/.test(word))

// Older Nodes come along where a shell that loads us changes the version.
if (typeof process.getBuiltinModule === 'function' && !(MARK in process) && !isDisabled()) {
  Reflect.defineProperty(process, MARK, { value: true })
  try {
    watch()
  } catch {}
}
