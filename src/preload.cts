/**
 * What `node --require` loads. Every process pays for it, and most make no TLS connection: so it is as little as can
 * be, and until the first TLS socket is made it loads no module, of ours or of Node's.
 */
import { isDisabled } from './settings.ts'
import { type CaCalls, watchDefaultCa } from './tls/default-ca.ts'
import { type ProcessTrust, readProcessTrust } from './tls/node-tls.ts'

type Method = (this: object, ...args: unknown[]) => unknown

/**
 * Whatever makes a TLS connection makes a `TLSSocket` first, and what every event emitter begins with is
 * `EventEmitter.init`, which Node's own `domain` wraps as well. Nothing has to be loaded for that.
 */
function watch(processTrust: ProcessTrust): void {
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
        hook(processTrust, caCalls)
      }
    } catch {}
    return init.call(this, options)
  }
  EventEmitter.init = wrapper
}

/**
 * As Node compiles every module, and has just compiled this one; `require` takes twice as long to find and load a
 * file.
 */
function hook(processTrust: ProcessTrust, caCalls: CaCalls): void {
  const { readFileSync } = process.getBuiltinModule('node:fs')
  const filename = `${__dirname}/hook.cjs`
  const loaded = new Module(filename) as { exports: typeof import('./hook.ts') }
  compile.call(loaded, readFileSync(filename, 'utf8'), filename, 'commonjs')
  loaded.exports.hookTls(__dirname, require, processTrust, caCalls)
}

const Module = module.constructor as new (id: string) => object
const { _compile: compile } = Module.prototype as {
  _compile: (this: object, source: string, filename: string, format: string) => void
}

// As the process was started: what the program changes of it later has no effect on Node, or not always.
if (!isDisabled()) watch(readProcessTrust())
