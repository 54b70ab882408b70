/**
 * What `node --require` loads. It stays out of the way until the process makes its first TLS connection: no
 * module of ours is loaded before, and none of Node's. Then it sees every `tls.connect`, however it was reached, at
 * the one method that they all call before the handshake starts.
 */
import type { TLSSocket } from 'node:tls'
import { makeRoom } from './listeners.ts'
import { loadCompiled } from './load-compiled.ts'
import { isDisabled } from './settings.ts'
import {
  connectOptionsOf,
  noteOptions,
  readDefaults,
  readProcessTrust,
  watchDefaultCa,
} from './tls/node-tls.ts'

type Method = (this: object, ...args: unknown[]) => unknown
type Wire = typeof import('./wire.ts')

let hooked = false
let unwatch = () => {}

/**
 * Whatever makes a TLS connection makes a `TLSSocket` first, and what every event emitter begins with is
 * `EventEmitter.init`, which Node's own `domain` wraps as well. Nothing has to be loaded for that.
 */
function watch(): void {
  const { EventEmitter } = process.getBuiltinModule('node:events') as unknown as {
    EventEmitter: { init: Method }
  }
  const { init } = EventEmitter
  const wrapper: Method = function (options) {
    try {
      if (!hooked && '_releaseControl' in this) hookTls()
    } catch {}
    return init.call(this, options)
  }
  EventEmitter.init = wrapper
  unwatch = () => {
    if (EventEmitter.init === wrapper) EventEmitter.init = init
  }
}

/** Called as a socket is made, from within `tls.connect`: this very call will pass here. */
function hookTls(): void {
  if (hooked) return
  hooked = true
  unwatch()
  const tls = process.getBuiltinModule('node:tls') as typeof import('node:tls')
  watchDefaultCa(tls as Parameters<typeof watchDefaultCa>[0])
  const prototype = tls.TLSSocket.prototype as unknown as { _releaseControl: Method }
  const releaseControl = prototype._releaseControl
  prototype._releaseControl = function (...args) {
    const released = releaseControl.apply(this, args)
    try {
      if (released) arrived(this as TLSSocket, tls)
    } catch {}
    return released
  }
}

// As the process was started: what the program changes of it later has no effect on Node, or not always.
const processTrust = isDisabled() ? undefined : readProcessTrust()

let wire: ReturnType<Wire['start']> | undefined

function arrived(socket: TLSSocket, tls: typeof import('node:tls')): void {
  const given = connectOptionsOf(socket)
  if (!given || !processTrust) return
  const load = <T,>(name: string) => loadCompiled<T>(__dirname, name, require, processTrust)
  const options = noteOptions(given)
  const defaults = readDefaults(tls)
  let attended = false
  const attend = () => {
    if (attended) return
    attended = true
    try {
      wire ??= load<Wire>('wire').start(
        processTrust,
        () => readDefaults(tls),
        () => load<typeof import('./keys/chain.ts')>('keys'),
      )
      wire(socket, options, defaults)
    } catch {}
  }
  makeRoom(socket, 2)
  if (wire || !socket.connecting) {
    attend()
    return
  }
  // Loading the rest costs the connection no time once its first packet is on the way: after the event, which
  // is missed where the address was known at once.
  socket.once('connectionAttempt', () => process.nextTick(attend))
  if (typeof options.lookup === 'function') process.nextTick(attend)
}

if (processTrust) watch()
