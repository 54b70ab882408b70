/**
 * What the preload loads at the first TLS socket of a process. It sees every `tls.connect`, however it was reached,
 * at the one method that they all call before the handshake starts, and loads the rest once the connection's first
 * packet is on the way.
 */
import type { TLSSocket } from 'node:tls'
import { makeRoom } from './listeners.ts'
import { loadCompiled } from './load-compiled.ts'
import { type CaCalls, type CaFunctions, caGenerations } from './tls/default-ca.ts'
import { connectOptionsOf, noteOptions, type ProcessTrust, readDefaults } from './tls/node-tls.ts'

type Wire = typeof import('./wire.ts')
type Keys = typeof import('./keys/chain.ts')

/**
 * Called as a socket is made, from within `tls.connect`: this very call will pass by here.
 *
 * @param folder where the preload and what it loads lie
 * @param processTrust of the process as it was started
 * @param caCalls counted since then
 */
export function hookTls(
  folder: string,
  require: NodeJS.Require,
  processTrust: ProcessTrust,
  caCalls: CaCalls,
): void {
  const tls = process.getBuiltinModule('node:tls') as typeof import('node:tls')
  const caGeneration = caGenerations(tls as CaFunctions, caCalls)
  const defaultsNow = () => readDefaults(tls, caGeneration())
  const load = <T>(name: string) => loadCompiled<T>(folder, name, require, processTrust)
  let wire: ReturnType<Wire['start']> | undefined

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
        wire ??= load<Wire>('wire').start(processTrust, defaultsNow, () => load<Keys>('keys'))
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
