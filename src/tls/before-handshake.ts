import type { TLSSocket } from 'node:tls'

/**
 * Calls back just before Node starts the handshake of a socket that is not connected yet. The listener is added while
 * `tls.connect` runs, so it stands directly before Node's own. No listener that the program adds can come between them.
 */
export class BeforeHandshake {
  #callback: (() => void) | undefined
  readonly #remove: () => void

  /** @param makeRoom raises the listener limit above which Node warns, and returns a function that undoes this */
  constructor(socket: TLSSocket, makeRoom: (socket: TLSSocket) => () => void) {
    const room = makeRoom(socket)
    const listener = () => {
      const callback = this.#callback
      // Run once: a library may emit the event again.
      this.cancel()
      callback?.()
    }
    let isThere = true
    this.#remove = () => {
      if (!isThere) return
      isThere = false
      try {
        socket.removeListener('connect', listener)
        room()
      } catch {} // thrown by a `removeListener` listener of the program
    }
    socket.prependListener('connect', listener)
  }

  call(callback: () => void): void {
    this.#callback = callback
  }

  cancel(): void {
    this.#callback = undefined
    this.#remove()
  }
}
