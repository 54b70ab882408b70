/**
 * The file that `node --require` loads. Every process pays for it, and most make no TLS connection. So it does as
 * little as possible, and until the first TLS socket it loads no module, neither ours nor Node's.
 */
import { isDisabled } from '../settings.ts'
import { noteFile } from '../tls/extra-roots.ts'
import { type ProcessStart, readProcessStart, readProcessStartLater } from '../tls/process-start.ts'
import { loadBundle, ownFs } from './bundles.ts'
import { onFirstTlsSocket } from './node-internals.ts'

/** The folder of this file. Unknown in a bundle that is an ES module. */
const dist = typeof __dirname === 'string' ? __dirname : ''

/**
 * Marks the process, so that of two copies of the package only the first is active. Otherwise both would keep every
 * ticket.
 */
const MARK = Symbol.for('ticketkeep.preload')

/**
 * Captured before the program can replace it, as tracing libraries do to make their wrappers look like the originals.
 */
const textOf = Function.prototype.call.bind(Function.prototype.toString) as (f: object) => string

/** Captured likewise: with the fake timers of a test, our timeouts would never fire. */
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

/** Warns if the program's bundle contains this file but not the files that it loads. */
function warnWhereBundled(fs: ReturnType<typeof ownFs>): boolean {
  if (module.isPreloading || fs.existsSync(`${dist}/hook.cjs`)) return false
  process.emitWarning(
    'ticketkeep/preload does nothing in a bundle: mark it as external, or use connect, TicketAgent or ticketConnector of ticketkeep',
    { code: 'TICKETKEEP_BUNDLED' },
  )
  return true
}

const readStart = (): ProcessStart =>
  module.isPreloading ? readProcessStart(process.env) : readProcessStartLater()

/**
 * Whether Node has used the variables that it was started with. It ignores them in a process with another user's rights
 * or with capabilities (`credentials::SafeGetenv` in Node's sources). If NODE_OPTIONS made Node load us, it has used
 * them.
 */
const doesReadVariables = ({ execArgv, env, worker }: ProcessStart) =>
  module.isPreloading &&
  // In a worker, Node may have read the file long ago for another thread.
  !worker &&
  env.NODE_OPTIONS !== undefined &&
  !execArgv.some((word) => /^(-r|--require|--import)/.test(word))

// NODE_OPTIONS of a shell also applies to an older Node that the user switches to.
if (typeof process.getBuiltinModule === 'function' && !(MARK in process) && !isDisabled()) {
  Reflect.defineProperty(process, MARK, { value: true })
  try {
    watch()
  } catch {}
}
