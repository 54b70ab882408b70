// Everything private of Node's that ticketkeep touches. On a Node that no longer has one of these nothing is offered and
// nothing is kept, and the program runs as without ticketkeep (`test/runtime/node-internals.test.ts` takes each away).
// No module is imported here: the preload uses this file in every process.
import type { TLSSocket } from 'node:tls'

type Method = (this: object, ...args: unknown[]) => unknown

/**
 * `EventEmitter.init`: calls back with the first TLS socket of the process, while it is being made.
 *
 * No public way: patching `tls.connect` means loading `tls`, 4 to 12 ms in each process, and most processes make no TLS
 * connection. Without it: the call back never comes.
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
      // It may be frozen by now, where a program locks down what it runs on.
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
    return false // a proxy of the program's
  }
}

/**
 * `TLSSocket.prototype._releaseControl`: calls back for each client connection, from within `tls.connect` and before
 * the handshake.
 *
 * No public way: programs hold references to `tls.connect` that they took before (`import { connect }`), and `https`,
 * `http2` and `fetch` have theirs. Without it: the call back never comes.
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
 * `kConnectOptions`: Node's own copy of the options of `tls.connect`, with its defaults filled in.
 *
 * No public way: the options are not an argument of anything that can be seen. Without it: undefined, as for the socket
 * of a server.
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
 * The native half's `getServername()`: the name that the ClientHello will ask for.
 *
 * No public way: `socket.setServername()` has no counterpart before the handshake. Without it: undefined, and nothing is
 * offered.
 */
export function serverNameOf(socket: TLSSocket): unknown {
  const { _handle: handle } = socket as unknown as { _handle?: { getServername?: () => unknown } }
  return handle?.getServername?.()
}

/**
 * `_defaultAgent`: the agent that makes the connection of a request of `https`, where the request names none.
 *
 * No public way: what a request names is the option `agent`, and the agent that Node puts in its place is not told.
 * Without it: what `https.globalAgent` says of its sessions does not count.
 */
export const defaultAgentOf = (options: { readonly [option: string]: unknown }): unknown =>
  options._defaultAgent

/**
 * The native half of a `SecureContext`, its property `context`: calls back when anything is added to it, `addCACert()`
 * for one.
 *
 * No public way: Node has no event for it. Without it: nothing that uses a context of the program's is attended.
 */
export function onContextChange(context: import('node:tls').SecureContext, changed: () => void): void {
  const native = context.context as object
  onChange.set(native, changed)
  watching ??= watchingMethods(Object.getPrototypeOf(native))
  Object.defineProperties(native, watching)
}

const onChange = new WeakMap<object, () => void>()
let watching: PropertyDescriptorMap | undefined

/** Properties for a native half, one set for all of them: they call back, and then the prototype's method. */
function watchingMethods(prototype: Record<string, Method>): PropertyDescriptorMap {
  const names = Object.getOwnPropertyNames(prototype).filter((name) => {
    const { value } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
    // Those that only read begin with `get`.
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
 * `_maxListeners`: makes room for a listener of ours. Node warns where one event has more than ten listeners, and ours
 * must not be what brings that on.
 *
 * No public way: `setMaxListeners` cannot be undone, and a default that the program raises later would not count. Without
 * it: the limit stays as it was set here.
 *
 * @returns what takes the room away again
 */
export function makeRoom(emitter: import('node:events').EventEmitter): () => void {
  const fields = emitter as { _maxListeners?: number | undefined }
  const most = emitter.getMaxListeners()
  if (most <= 0) return () => {}
  // Several of ours may be there at once, and leave in any order.
  let room = rooms.get(emitter)
  if (room?.most === most) room.listeners++
  else rooms.set(emitter, (room = { own: fields._maxListeners, listeners: 1, most }))
  emitter.setMaxListeners(++room.most)
  const mine = room
  return () => {
    // Otherwise the program has set a limit of its own since.
    if (rooms.get(emitter) !== mine || emitter.getMaxListeners() !== mine.most) return
    fields._maxListeners = --mine.listeners === 0 ? mine.own : --mine.most
    if (mine.listeners === 0) rooms.delete(emitter)
  }
}

/** What a program set as its limit, how many listeners of ours it has room for, and the limit with them. */
const rooms = new WeakMap<object, { own: number | undefined; listeners: number; most: number }>()
