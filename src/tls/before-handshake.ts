import type { TLSSocket } from 'node:tls'

/**
 * Calls back right before Node starts the handshake of a socket that is still to be connected. Its listener is added while
 * `tls.connect` runs, so that of all listeners only Node's own comes after it, whatever the program adds.
 */
export class BeforeHandshake {
  #callback: (() => void) | undefined
  readonly #remove: () => void

  /** @param makeRoom raises the number of listeners above which Node warns, and returns what takes that back */
  constructor(socket: TLSSocket, makeRoom: (socket: TLSSocket) => () => void) {
    const room = makeRoom(socket)
    const listener = () => {
      const callback = this.#callback
      // Once: a library may emit the event again.
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
      } catch {} // out of a listener of the program's
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
