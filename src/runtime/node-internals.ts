// Every private part of Node that ticketkeep uses. On a Node that lacks one of them, nothing is offered and nothing is
// kept, and the program runs as it would without ticketkeep (`test/runtime/node-internals.test.ts` removes each in
// turn). The preload loads this file in every process, so it imports no module.
import type { TLSSocket } from 'node:tls'

type Method = (this: object, ...args: unknown[]) => unknown

/**
 * `EventEmitter.init`: calls back with the first TLS socket of the process, while it is being made.
 *
 * No public way: patching `tls.connect` would load `tls`, which takes 4 to 12 ms in each process, and most processes
 * make no TLS connection. Without it: the callback is never called.
 */
export function onFirstTlsSocket(callback: (socket: object) => void): void {
  const { EventEmitter } = process.getBuiltinModule('node:events') as unknown as {
    EventEmitter: { init: Method }
  }
  const { init } = EventEmitter
  if (typeof init !== 'function') return
  let isSeen = false
  const wrapper: Method = function (options) {
    if (!isSeen && isTlsSocket(this)) {
      isSeen = true
      // `Reflect.set`, because EventEmitter may be frozen by now if the program freezes built-in objects.
      if (EventEmitter.init === wrapper) Reflect.set(EventEmitter, 'init', init)
      callback(this)
    }
    return init.call(this, options)
  }
  EventEmitter.init = wrapper
}

function isTlsSocket(emitter: object): boolean {
  try {
    return '_releaseControl' in emitter
  } catch {
    return false // a Proxy made by the program
  }
}

/**
 * `TLSSocket.prototype._releaseControl`: calls back for each client connection, within `tls.connect` and before the
 * handshake.
 *
 * No public way: programs may have taken a reference to `tls.connect` before (`import { connect }`), as `https`,
 * `http2` and `fetch` have. Without it: the callback is never called.
 */
export function onConnect(module: typeof import('node:tls'), callback: (socket: TLSSocket) => void): void {
  const prototype = module.TLSSocket.prototype as unknown as { _releaseControl: Method }
  const releaseControl = prototype._releaseControl
  if (typeof releaseControl !== 'function') return
  prototype._releaseControl = function (...args) {
    const isReleased = releaseControl.apply(this, args)
    if (isReleased) callback(this as TLSSocket)
    return isReleased
  }
}

let optionsKey: symbol | undefined

/**
 * `kConnectOptions`: Node's own copy of the options of `tls.connect`, with defaults filled in.
 *
 * No public way: no event or public property exposes the options. Without it: undefined, as for a server's socket.
 */
export function connectOptionsOf(socket: TLSSocket): { readonly [option: string]: unknown } | undefined {
  optionsKey ??= Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'connect-options',
  )
  return (
    optionsKey && (socket as unknown as Record<symbol, { readonly [option: string]: unknown }>)[optionsKey]
  )
}

/**
 * `getServername()` of the native handle: the server name that the ClientHello will contain.
 *
 * No public way: `socket.setServername()` has no getter before the handshake. Without it: undefined, and nothing is
 * offered.
 */
export function serverNameOf(socket: TLSSocket): unknown {
  const { _handle: handle } = socket as unknown as { _handle?: { getServername?: () => unknown } }
  const name = handle?.getServername?.()
  // Node decodes the bytes of the name as latin1.
  return typeof name === 'string' ? Buffer.from(name, 'latin1').toString() : name
}

/**
 * `_defaultAgent`: the agent that makes the connection of an `https` request that names none.
 *
 * No public way: the option `agent` has only the agent that the request names, not the default that Node uses. Without
 * it: the session settings of `https.globalAgent` are not respected.
 */
export const defaultAgentOf = (options: { readonly [option: string]: unknown }): unknown =>
  options._defaultAgent

/**
 * The native part of a `SecureContext`, its property `context`: calls back when anything is added to it, for example by
 * `addCACert()`.
 *
 * No public way: Node has no event for it. Without it: connections that use a context made by the program are left
 * alone.
 */
export function onContextChange(context: import('node:tls').SecureContext, changed: () => void): void {
  const native = context.context as object
  onChange.set(native, changed)
  watching ??= watchingMethods(Object.getPrototypeOf(native))
  Object.defineProperties(native, watching)
}

const onChange = new WeakMap<object, () => void>()
let watching: PropertyDescriptorMap | undefined

/** Properties for native contexts, one set for all of them. Each calls back, then calls the prototype's method. */
function watchingMethods(prototype: Record<string, Method>): PropertyDescriptorMap {
  const names = Object.getOwnPropertyNames(prototype).filter((name) => {
    const { value } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
    // Methods that only read start with `get`.
    return (
      typeof value === 'function' && name !== 'constructor' && name !== 'close' && !name.startsWith('get')
    )
  })
  const descriptors = names.map((name) => {
    const value = function (this: object, ...args: unknown[]) {
      onChange.get(this)?.()
      return prototype[name]!.apply(this, args)
    }
    return [name, { value, configurable: true, writable: true }]
  })
  return Object.fromEntries(descriptors)
}

/**
 * `_maxListeners`: makes room for one listener of ours. Node warns if an event has more than ten listeners, and our
 * listeners must not cause that warning.
 *
 * No public way: `setMaxListeners` cannot be undone, and would hide a default that the program raises later. Without
 * it: the limit stays as we set it.
 *
 * @returns a function that removes the room again
 */
export function makeRoom(emitter: import('node:events').EventEmitter): () => void {
  const fields = emitter as { _maxListeners?: number | undefined }
  const most = emitter.getMaxListeners()
  if (most <= 0) return () => {}
  // Several of our listeners may exist at once and be removed in any order.
  let room = rooms.get(emitter)
  if (room?.most === most) room.listeners++
  else rooms.set(emitter, (room = { own: fields._maxListeners, listeners: 1, most }))
  emitter.setMaxListeners(++room.most)
  const mine = room
  return () => {
    // If the limit differs, the program has set its own since. It is kept.
    if (rooms.get(emitter) !== mine || emitter.getMaxListeners() !== mine.most) return
    fields._maxListeners = --mine.listeners === 0 ? mine.own : --mine.most
    if (mine.listeners === 0) rooms.delete(emitter)
  }
}

/** The limit that the program set, the number of our listeners, and the limit that includes them. */
const rooms = new WeakMap<object, { own: number | undefined; listeners: number; most: number }>()
