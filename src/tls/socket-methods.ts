import type { TLSSocket } from 'node:tls'

/** Methods by which Node decides whom it trusts, or by which we ask what it has decided. */
export const SOCKET_METHODS = [
  'getPeerCertificate',
  'isSessionReused',
  'getSession',
  'setServername',
] as const

/** Those of `TLSSocket.prototype`, which were found to be Node's own. */
export interface SocketMethods {
  readonly getPeerCertificate: TLSSocket['getPeerCertificate']
  readonly isSessionReused: TLSSocket['isSessionReused']
  readonly getSession: TLSSocket['getSession']
  readonly setServername: (name: string) => void
}

export function socketMethods(prototype: TLSSocket): SocketMethods {
  const { getPeerCertificate, isSessionReused, getSession, setServername } = prototype as TLSSocket &
    SocketMethods
  return { getPeerCertificate, isSessionReused, getSession, setServername }
}

/** Methods that we have put on sockets, in the place of Node's. */
const ours = new WeakSet<object>()

/** Puts a method on a socket, which counts as Node's from then on. */
export function putMethod(socket: TLSSocket, name: string, value: (...args: never[]) => unknown): void {
  ours.add(value)
  Object.defineProperty(socket, name, { value, configurable: true, writable: true, enumerable: false })
}

/** Whether a socket has the methods of before: a program may put one of its own there, and Node would ask that. */
export const hasMethods = (socket: TLSSocket, methods: SocketMethods): boolean =>
  SOCKET_METHODS.every((name) => hasMethod(socket, name, methods))

function hasMethod(
  socket: TLSSocket,
  name: (typeof SOCKET_METHODS)[number],
  methods: SocketMethods,
): boolean {
  const method = (socket as TLSSocket & SocketMethods)[name]
  if (method === methods[name]) return true
  // What we have put on the socket hides what the program has put on its prototype since.
  const { [name]: inherited } = Object.getPrototypeOf(socket) as SocketMethods
  return ours.has(method) && inherited === methods[name]
}
