/**
 * Loaded by the preload at the first TLS socket of a process. It records the arguments of each `tls.connect` while the
 * call runs, and loads the rest when the first packet of the first connection has been sent.
 */
import type { TLSSocket } from 'node:tls'
import { summaryFileOf } from '../settings.ts'
import { BeforeHandshake } from '../tls/before-handshake.ts'
import {
  type Call,
  type CallOptions,
  noteOptions,
  type Options,
  readTlsState,
  sayTheSame,
  type TlsState,
} from '../tls/call.ts'
import { noteTimes } from '../tls/connection-times.ts'
import { observe } from '../tls/events.ts'
import { type NotedFile, readUnchanged } from '../tls/extra-roots.ts'
import { whenPacketIsOut } from '../tls/first-packet.ts'
import { isNodesOwn } from '../tls/node-functions.ts'
import { DISGUISED, looksAsStarted, type ProcessStart } from '../tls/process-start.ts'
import { SecureContexts } from '../tls/secure-contexts.ts'
import { loadBundle, type OwnFs } from './bundles.ts'
import type { Clock } from './clock.ts'
import {
  connectOptionsOf,
  defaultAgentOf,
  makeRoom,
  onConnect,
  onContextChange,
  serverNameOf,
} from './node-internals.ts'

/** The process as it was when the preload ran. */
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

/** Called while the first TLS socket is being made, within a call of `tls.connect` that will reach our hook. */
export function hookTls(own: Process, firstSocket: object): void {
  const tls = process.getBuiltinModule('node:tls') as typeof import('node:tls')
  const rootsWithExtra = own.start.env.NODE_EXTRA_CA_CERTS
    ? extraRootsOf(own, () => tls.rootCertificates)
    : undefined
  const readState = (withRoots: boolean) => readTlsState(tls, own.textOf, withRoots, rootsWithExtra)
  const contexts = new SecureContexts(onContextChange)
  let attendant: ReturnType<typeof import('./attendant.ts')['start']> | undefined
  const groupsFor = (given: Options) =>
    attendant?.groupsFor(given, () => callOf(undefined, given, readState, contexts, own.textOf, false))
  const first = new WeakSet([firstSocket])
  if (!readState(false).replaced) contexts.watch(tls, readState, groupsFor)
  noteFirstCall(firstSocket as TLSSocket, readState, contexts)
  const isTimed = summaryFileOf() !== undefined

  const attend = (socket: TLSSocket, call: Call, address?: string) => {
    try {
      if (!attendant && !looksAsStarted(own.start.release, own.fs)) {
        call.beforeHandshake?.cancel()
        observe('skip', { reason: DISGUISED })
        return
      }
      attendant ??= loadBundle<typeof import('./attendant.ts')>(
        own.dist,
        'attendant.cjs',
        own.require,
        own.fs,
      ).start({
        start: own.start,
        clock: own.clock,
        makeRoom,
        serverNameOf,
        loadKeys: () =>
          loadBundle<typeof import('../keys/chain.ts')>(own.dist, 'keys.cjs', own.require, own.fs),
      })
      attendant.attend(socket, call, address)
    } catch {}
  }

  onConnect(tls, (socket) => {
    try {
      const options = connectOptionsOf(socket)
      if (!options) return
      const state = (withRoots: boolean) =>
        first.has(socket) || contexts.hasSeen(options)
          ? readState(withRoots)
          : { ...readState(withRoots), replaced: 'createSecureContext' }
      const call = callOf(socket, options, state, contexts, own.textOf, isTimed)
      const work = (address?: string) => attend(socket, call, address)
      if (!socket.connecting) work()
      else if (!attendant) whenPacketIsOut(socket, call.options, makeRoom, work)
      // Whether null means "no session" depends on the program's listeners, which it adds after `tls.connect` returns.
      else if (call.options.session === null) process.nextTick(work)
      else work()
    } catch {}
  })
}

/** Read once, when a connection first needs the roots. Node has read the file by then. */
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
 * Records the first call, which made its context before we watched. Not inside `hookTls`, whose closures live on and
 * would keep the socket from being collected.
 */
function noteFirstCall(
  socket: TLSSocket,
  readState: (withRoots: boolean) => TlsState,
  contexts: SecureContexts,
): void {
  beforeItConnects(socket, () => {
    const options = connectOptionsOf(socket)
    if (!options) return
    // Listing the default CAs takes milliseconds, which would delay the first packet. It is done here only if the
    // program has a `lookup`, which might change them.
    const hasLookup = typeof options.lookup === 'function'
    contexts.noteCall(options, (withRoots) => readState(withRoots && hasLookup))
  })
}

/**
 * Calls back once, before `tls.connect` calls `socket.connect`, which runs the program's `lookup`. It uses a getter,
 * because a function in place of `connect` would appear in the stack traces of its errors.
 */
function beforeItConnects(socket: TLSSocket, callback: () => void): void {
  const remove = () => {
    if (Object.getOwnPropertyDescriptor(socket, 'connect')?.get === get)
      Reflect.deleteProperty(socket, 'connect')
  }
  const get = () => {
    remove()
    try {
      callback()
    } catch {}
    return Object.getPrototypeOf(socket).connect
  }
  const set = (value: unknown) =>
    Reflect.defineProperty(socket, 'connect', { value, writable: true, enumerable: true, configurable: true })
  Reflect.defineProperty(socket, 'connect', { get, set, configurable: true })
  // `connect` is not called on a socket that is already connected.
  process.nextTick(remove)
}

/** @param socket undefined if it is not made yet */
function callOf(
  socket: TLSSocket | undefined,
  given: Options,
  readState: (withRoots: boolean) => TlsState,
  contexts: SecureContexts,
  textOf: (f: object) => string,
  isTimed: boolean,
): Call {
  const noted = contexts.callOf(given)
  const options = noted?.options ?? noteOptions(given)
  // Checked while the call runs: the handshake of a tunnel starts when it returns.
  const isTunnel = socket?.connecting !== true
  const { checkServerIdentity: check } = options
  const identityCheck = isNodesOwn('checkServerIdentity', check, textOf)
    ? (check as Call['identityCheck'])
    : undefined
  return {
    options,
    state: noted ? withRoots(noted, readState) : readState(!options.ca && !options.secureContext),
    isGroupChosen: contexts.hasGroups(given),
    beforeHandshake: isTunnel ? undefined : new BeforeHandshake(socket!, makeRoom),
    context: options.secureContext ? contexts.originOf(options.secureContext) : undefined,
    identityCheck,
    isUnchanged: () => (!socket || connectOptionsOf(socket) === given) && sayTheSame(given, options),
    agent: noteAgent(given),
    keepsSessions: () => (isTunnel ? undefined : socket!.listenerCount('session') > 0),
    times: isTimed && socket ? noteTimes(socket, makeRoom) : undefined,
  }
}

/** Adds the default CAs, if they matter and were not listed yet. */
function withRoots({ options, state }: CallOptions, readState: (withRoots: boolean) => TlsState): TlsState {
  if (options.ca || options.secureContext || state.bundledRoots.length > 0) return state
  const { defaultRoots, bundledRoots } = readState(true)
  return { ...state, defaultRoots, bundledRoots }
}

/** The `https` agent of a call. With `agent: false`, Node makes a new agent, which is not visible here. */
function noteAgent(given: Options): Call['agent'] {
  const agent = given.agent ?? defaultAgentOf(given)
  if (agent === undefined || agent === null) return undefined
  const { maxCachedSessions } = agent as { readonly maxCachedSessions?: unknown }
  return { maxCachedSessions }
}
