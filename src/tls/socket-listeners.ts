import type { TLSSocket } from 'node:tls'

type Listener = (...args: never[]) => void

/** Our listeners on one socket. They are removed when their work is done. */
export class SocketListeners {
  readonly #socket: TLSSocket
  #removeRoom: (() => void) | undefined
  readonly #listeners = new Map<string | symbol, Listener>()

  /** @param makeRoom raises the listener limit above which Node warns, and returns a function that undoes this */
  constructor(socket: TLSSocket, makeRoom: (socket: TLSSocket) => () => void) {
    this.#socket = socket
    this.#removeRoom = makeRoom(socket)
  }

  on(event: string | symbol, listener: Listener): void {
    this.#socket.on(event as never, listener as never)
    this.#listeners.set(event, listener)
  }

  /** Adds a listener before the program's own: if one of those throws, later listeners are not called. */
  onFirst(event: string | symbol, listener: Listener): void {
    this.#socket.prependListener(event as never, listener as never)
    this.#listeners.set(event, listener)
  }

  off(event: string | symbol): void {
    const listener = this.#listeners.get(event)
    this.#listeners.delete(event)
    if (listener) this.#socket.removeListener(event as never, listener as never)
    if (this.#listeners.size > 0) return
    this.#removeRoom?.()
    this.#removeRoom = undefined
  }

  removeAll(): void {
    for (const event of this.#listeners.keys()) this.off(event)
  }
}
