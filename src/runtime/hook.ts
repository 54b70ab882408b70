/**
 * What the preload loads at the first TLS socket of a process. It sees every `tls.connect`, however it was reached,
 * at the one method that they all call before the handshake starts, and loads the rest once the connection's first
 * packet is on the way: or, where a key has to be asked for, once that may be of use.
 */
import type { TLSSocket } from 'node:tls'
import { type CaCalls, type CaFunctions, caGenerations } from '../tls/default-ca.ts'
import {
  type ConnectOptions,
  connectOptionsOf,
  noteOptions,
  type ProcessTrust,
  readDefaults,
} from '../tls/node-tls.ts'
import { makeRoom } from './listeners.ts'
import { loadCompiled, type OwnFs } from './load-compiled.ts'

type Wire = typeof import('./wire.ts')
type Keys = typeof import('../keys/chain.ts')
type Handshaking = TLSSocket & { readonly secureConnecting: boolean }

/**
 * To ask for a key takes a program milliseconds of its own, and the answer is some ten away. Far enough for that is a
 * server that has not taken the connection within this time: milliseconds.
 */
const CONNECTED = 7

/** Or with which the handshake is not done within this time: something nearer may have taken the connection. */
const SECURED = 40

/**
 * Called as a socket is made, from within `tls.connect`: this very call will pass by here.
 *
 * @param folder where the preload and what it loads lie
 * @param processTrust of the process as it was started
 * @param caCalls counted since then
 * @param fs as it was then
 */
export function hookTls(
  folder: string,
  require: NodeJS.Require,
  processTrust: ProcessTrust,
  caCalls: CaCalls,
  fs: OwnFs,
): void {
  const tls = process.getBuiltinModule('node:tls') as typeof import('node:tls')
  const caGeneration = caGenerations(tls as CaFunctions, caCalls)
  const defaultsNow = () => readDefaults(tls, caGeneration())
  const load = <T>(name: string, ownFs?: OwnFs) =>
    loadCompiled<T>(folder, name, require, processTrust, fs, ownFs)
  const loadKeys = () => load<Keys>('keys')
  const { env } = process
  const mayBeAtHand = env.TICKETKEEP_KEY || env.TICKETKEEP_KEY_FILE || env.CREDENTIALS_DIRECTORY
  const isWatched = env.TICKETKEEP_SUMMARY_FILE || env.NODE_DEBUG
  let wire: ReturnType<Wire['start']> | undefined
  let connections = 0
  /** Attends the first connection, where that has been put off. */
  let first: (() => void) | undefined

  function arrived(socket: TLSSocket): void {
    const given = connectOptionsOf(socket)
    if (!given) return
    const options = noteOptions(given)
    const defaults = defaultsNow()
    let attended = false
    const attend = () => {
      if (attended) return
      attended = true
      try {
        wire ??= load<Wire>('wire', fs).start(processTrust, defaultsNow, loadKeys)
        wire.attend(socket, options, defaults)
      } catch {}
    }
    const ask = () => {
      first?.()
      first = undefined
      attend()
      wire?.askForKey()
    }
    makeRoom(socket, 2)
    if (++connections > 1) inTime(socket, options, ask)
    else if (mayBeAtHand || isWatched) {
      inTime(socket, options, () => {
        attend()
        if (wire?.lacksKey) whenFar(socket, ask)
      })
    } else {
      first = attend
      whenFar(socket, ask)
    }
  }

  /** Loading the rest costs the connection no time once its first packet is on the way. */
  function inTime(socket: TLSSocket, options: ConnectOptions, work: () => void): void {
    if (wire || !socket.connecting) {
      work()
      return
    }
    // After the event, which is missed where the address was known at once, and is another socket's where that is
    // still to be connected.
    socket.once('connectionAttempt', () => process.nextTick(work))
    if (typeof options.lookup === 'function' || options.socket) process.nextTick(work)
  }

  /** For the first connection; with the second one it is time anyway. */
  function whenFar(socket: TLSSocket, ask: () => void): void {
    // Not the program's own, which may have others in their place.
    const { setTimeout } = process.getBuiltinModule('node:timers')
    // In two steps, since a program that was busy meanwhile has yet to see what has come.
    const after = (ms: number, work: () => void) => {
      setTimeout(() => setTimeout(work, 1).unref(), ms - 1).unref()
    }
    after(CONNECTED, () => {
      if (socket.connecting) ask()
      else
        after(SECURED - CONNECTED, () => {
          if (!socket.destroyed && (socket as Handshaking).secureConnecting) ask()
          else first = undefined
        })
    })
  }

  const prototype = tls.TLSSocket.prototype as unknown as {
    _releaseControl: (this: TLSSocket, ...args: unknown[]) => unknown
  }
  const releaseControl = prototype._releaseControl
  prototype._releaseControl = function (...args) {
    const released = releaseControl.apply(this, args)
    try {
      if (released) arrived(this)
    } catch {}
    return released
  }
}
