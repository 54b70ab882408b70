import type { TLSSocket } from 'node:tls'

type Listener = (...args: never[]) => void

/** Our listeners on one socket, which leave it when their work is done. */
export class SocketListeners {
  readonly #socket: TLSSocket
  #removeRoom: (() => void) | undefined
  readonly #listeners = new Map<string | symbol, Listener>()

  /** @param makeRoom raises the number of listeners above which Node warns, and returns what takes that back */
  constructor(socket: TLSSocket, makeRoom: (socket: TLSSocket) => () => void) {
    this.#socket = socket
    this.#removeRoom = makeRoom(socket)
  }

  on(event: string | symbol, listener: Listener): void {
    this.#socket.on(event as never, listener as never)
    this.#listeners.set(event, listener)
  }

  /** Before the program's own: where one of those throws, the ones after it are not called. */
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
