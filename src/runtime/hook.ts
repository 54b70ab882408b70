/**
 * What the preload loads at the first TLS socket of a process. It notes what each `tls.connect` was given while the call
 * runs, and loads the rest once the first packet of the first connection is on its way.
 */
import type { TLSSocket } from 'node:tls'
import { type Call, noteOptions, type Options, readTlsState, type TlsState } from '../tls/call.ts'
import { type NotedFile, readUnchanged } from '../tls/extra-roots.ts'
import { isNodesOwn } from '../tls/node-functions.ts'
import type { ProcessStart } from '../tls/process-start.ts'
import { SecureContexts } from '../tls/secure-contexts.ts'
import { loadBundle, type OwnFs } from './bundles.ts'
import { connectOptionsOf, makeRoom, onConnect, onContextChange } from './node-internals.ts'

/** The process as the preload found it. */
export interface Process {
  /** The folder of the bundles. */
  readonly dist: string
  readonly require: NodeJS.Require
  readonly start: ProcessStart
  readonly fs: OwnFs
  /** `Function.prototype.toString`. */
  readonly textOf: (f: object) => string
  /** The file of `NODE_EXTRA_CA_CERTS`. */
  readonly extraRoots: NotedFile | undefined
  readonly clock: Clock
}

/** Time as the preload found it: tests put clocks of their own in its place. */
export interface Clock {
  /** UNIX milliseconds. */
  readonly now: () => number
  readonly setTimeout: typeof setTimeout
  readonly clearTimeout: typeof clearTimeout
  readonly setImmediate: typeof setImmediate
}

/**
 * Called as the first TLS socket is made, from within `tls.connect`.
 * @returns what is to be called with that socket, at once: what is kept here for the life of the process must not hold it
 */
export function hookTls(own: Process): (first: object) => void {
  const tls = process.getBuiltinModule('node:tls') as typeof import('node:tls')
  const rootsWithExtra = own.start.env.NODE_EXTRA_CA_CERTS
    ? extraRootsOf(own, () => tls.rootCertificates)
    : undefined
  const readState = (withRoots: boolean) => readTlsState(tls, own.textOf, withRoots, rootsWithExtra)
  const contexts = new SecureContexts(onContextChange)
  if (!readState(false).replaced) contexts.watch(tls, readState)
  let attendant: ReturnType<typeof import('./wire.ts')['start']> | undefined
  const attend = (socket: TLSSocket, call: Call) => {
    try {
      attendant ??= loadBundle<typeof import('./wire.ts')>(own.dist, 'wire.cjs', own.require, own.fs).start({
        start: own.start,
        clock: own.clock,
        loadKeys: () =>
          loadBundle<typeof import('../keys/chain.ts')>(own.dist, 'keys.cjs', own.require, own.fs),
      })
      attendant.attend(socket, call)
    } catch {}
  }

  onConnect(tls, (socket) => {
    try {
      const options = connectOptionsOf(socket)
      if (!options) return
      const call = callOf(options, readState, contexts, own.textOf)
      if (attendant || !socket.connecting) attend(socket, call)
      else whenPacketIsOut(socket, call.options, () => attend(socket, call))
    } catch {}
  })
  return (first) => noteFirst(first as TLSSocket, contexts, readState)
}

/** Its call has its context already. */
function noteFirst(
  socket: TLSSocket,
  contexts: SecureContexts,
  readState: (withRoots: boolean) => TlsState,
): void {
  beforeItConnects(socket, () => {
    const options = connectOptionsOf(socket)
    if (options) contexts.noteCall(options, readState)
  })
}

/** Read once, when a connection first needs them: Node has read the file by then. */
function extraRootsOf(
  { extraRoots, fs }: Process,
  bundled: () => readonly string[],
): () => readonly string[] | undefined {
  let roots: readonly string[] | undefined
  let isRead = false
  return () => {
    const text = isRead || !extraRoots ? undefined : readUnchanged(extraRoots, fs)
    if (text !== undefined) roots = [...bundled(), text]
    isRead = true
    return roots
  }
}

/**
 * Calls back once, before `tls.connect` calls `socket.connect`, which runs a `lookup` of the program's. A getter: a function
 * in the place of `connect` would be in the stack of the errors that it throws.
 */
function beforeItConnects(socket: TLSSocket, callback: () => void): void {
  const remove = () => Reflect.deleteProperty(socket, 'connect')
  const get = () => {
    remove()
    try {
      callback()
    } catch {}
    return socket.connect
  }
  Reflect.defineProperty(socket, 'connect', { get, configurable: true })
  // A socket that is connected already is not connected again.
  process.nextTick(remove)
}

function callOf(
  given: Options,
  readState: (withRoots: boolean) => TlsState,
  contexts: SecureContexts,
  textOf: (f: object) => string,
): Call {
  const noted = contexts.callOf(given)
  const options = noted?.options ?? noteOptions(given)
  const { checkServerIdentity: check } = options
  const identityCheck = isNodesOwn('checkServerIdentity', check, textOf)
    ? (check as Call['identityCheck'])
    : undefined
  return {
    options,
    state: noted?.state ?? readState(!options.ca && !options.secureContext),
    context: options.secureContext ? contexts.originOf(options.secureContext) : undefined,
    identityCheck,
  }
}

/** Loading the rest costs the connection no time then. */
function whenPacketIsOut(socket: TLSSocket, options: Options, work: () => void): void {
  let isDone = false
  const once = () => {
    if (isDone) return
    isDone = true
    // Before the wire makes room for its own listeners: its bundle does not know of this one.
    try {
      socket.removeListener('connectionAttempt', onAttempt)
      room()
    } catch {} // out of a listener of the program's
    work()
  }
  const onAttempt = () => process.nextTick(once)
  const room = makeRoom(socket)
  socket.on('connectionAttempt', onAttempt)
  // The event has been missed where a function of the program's knew the address at once. It is another socket's where
  // that one is still to be connected.
  if (typeof options.lookup === 'function' || options.socket) process.nextTick(once)
}
