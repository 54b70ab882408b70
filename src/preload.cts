/**
 * What `node --require` loads. It stays out of the way until the process makes its first TLS connection: no
 * module of ours is loaded before, and of Node's at most `node:net`. Then it sees every `tls.connect`, however
 * it was reached, at the one method that they all call before the handshake starts.
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

type Method = (this: unknown, ...args: unknown[]) => unknown
type Wire = typeof import('./wire.ts')

let hooked = false
let unwatch = () => {}

/** Since these releases Node publishes each socket that dials; before, only those made by `net.connect`. */
function publishesEveryDial(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 24 || (major === 24 && minor >= 4) || (major === 22 && minor >= 17)
}

function watch(): void {
  if (!publishesEveryDial()) {
    watchTlsConnect()
    return
  }
  const { subscribe, unsubscribe } = process.getBuiltinModule('node:diagnostics_channel')
  const onDial = (message: unknown) => {
    try {
      const { socket } = message as { socket: Partial<TLSSocket> }
      if (socket.encrypted === true) hookTls()
      else watchTlsConnect()
    } catch {}
  }
  subscribe('net.client.socket', onDial)
  unwatch = () => unsubscribe('net.client.socket', onDial)
}

let watching = false

/**
 * The first thing that every `tls.connect` does is to sort its arguments, by this property of `net`. So seen
 * are those too that dial nothing, since they go over a socket that is connected already: CONNECT proxies,
 * STARTTLS.
 */
function watchTlsConnect(): void {
  if (watching || hooked) return
  watching = true
  const net = process.getBuiltinModule('node:net') as { _normalizeArgs?: Method }
  const normalizeArgs = net._normalizeArgs
  if (!normalizeArgs) return
  const wrapper: Method = function (...args) {
    try {
      if (isTlsLoaded()) hookTls()
    } catch {}
    return normalizeArgs.apply(this, args)
  }
  net._normalizeArgs = wrapper
  const unwatchDials = unwatch
  unwatch = () => {
    unwatchDials()
    if (net._normalizeArgs === wrapper) net._normalizeArgs = normalizeArgs
  }
}

/** `http.Agent` sorts its arguments the same way. */
function isTlsLoaded(): boolean {
  const { moduleLoadList } = process as { moduleLoadList?: string[] }
  return moduleLoadList?.includes('NativeModule tls') ?? true
}

/** Called from within `tls.connect`: the module is loaded, and this very call will pass here. */
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
