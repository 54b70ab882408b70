/**
 * What `node --require` loads. Every process pays for it, and most make no TLS connection: so it is as little as can
 * be, and until the first TLS socket is made it loads no module, of ours or of Node's.
 */

import { isDisabled } from '../settings.ts'
import { watchDefaultCa } from '../tls/default-ca.ts'
import { type ProcessTrust, readProcessTrust } from '../tls/node-tls.ts'
import type { OwnFs } from './load-compiled.ts'

type Method = (this: object, ...args: unknown[]) => unknown

/**
 * Whatever makes a TLS connection makes a `TLSSocket` first, and what every event emitter begins with is
 * `EventEmitter.init`, which Node's own `domain` wraps as well. Nothing has to be loaded for that.
 */
function watch(processTrust: ProcessTrust): void {
  const fs = ownFs()
  const { EventEmitter } = process.getBuiltinModule('node:events') as unknown as {
    EventEmitter: { init: Method }
  }
  const caCalls = watchDefaultCa(EventEmitter)
  const { init } = EventEmitter
  let seen = false
  const wrapper: Method = function (options) {
    try {
      if (!seen && '_releaseControl' in this) {
        seen = true
        if (EventEmitter.init === wrapper) EventEmitter.init = init
        load(`${__dirname}/hook.cjs`, fs).hookTls(__dirname, require, processTrust, caCalls, fs)
      }
    } catch {}
    return init.call(this, options)
  }
  EventEmitter.init = wrapper
}

interface Loaded {
  readonly exports: typeof import('./hook.ts')
}

// A module under the policies of Node 20 does not tell its constructor.
const Module = module.constructor as (new (id: string) => Loaded) | undefined
const compile: ((this: Loaded, source: string, filename: string, format: string) => void) | undefined =
  Module?.prototype._compile

/**
 * As Node compiles every module, and has just compiled this one; `require` takes twice as long to find and load a
 * file.
 */
function load(filename: string, fs: OwnFs): Loaded['exports'] {
  if (!Module || !compile) return require(filename)
  const loaded = new Module(filename)
  compile.call(loaded, fs.readFileSync(filename, 'utf8'), filename, 'commonjs')
  return loaded.exports
}

/** What is called of `fs` before and in `wire.cjs`. */
const OF_FS = [
  ...['constants', 'readFileSync', 'statSync', 'lstatSync', 'fstatSync', 'existsSync', 'readdirSync'],
  ...['openSync', 'readSync', 'writeSync', 'closeSync', 'chmodSync', 'fchmodSync', 'utimesSync'],
  ...['linkSync', 'renameSync', 'unlinkSync', 'mkdirSync'],
]

/** That, as it is now: a program may put others in the place of those functions, in a test say. */
function ownFs(): OwnFs {
  const fs = process.getBuiltinModule('node:fs') as unknown as Record<string, unknown>
  const own: Record<string, unknown> = {}
  for (let i = 0; i < OF_FS.length; i++) own[OF_FS[i]!] = fs[OF_FS[i]!]
  return own as unknown as OwnFs
}

/** Of two copies of the package in one process the first one is enough: both would keep every ticket. */
const MARK = Symbol.for('ticketkeep.preload')

// Older Nodes come along where a shell that loads us changes the version. And: as the process was started; what the
// program changes of it later has no effect on Node, or not always.
if (typeof process.getBuiltinModule === 'function' && !(MARK in process) && !isDisabled()) {
  Reflect.defineProperty(process, MARK, { value: true })
  watch(readProcessTrust(!module.isPreloading))
}
