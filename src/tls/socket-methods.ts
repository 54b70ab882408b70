import type { TLSSocket } from 'node:tls'

/** Methods that Node uses to decide whom it trusts, or that we use to learn what it decided. */
export const SOCKET_METHODS = [
  'getPeerCertificate',
  'isSessionReused',
  'getSession',
  'setServername',
] as const

/** The methods of `TLSSocket.prototype`, after a check that they are Node's own. */
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

/** Methods that we put on sockets to replace Node's. */
const ours = new WeakSet<object>()

/** Puts a method on a socket. `hasMethods` then accepts it as Node's. */
export function putMethod(socket: TLSSocket, name: string, value: (...args: never[]) => unknown): void {
  ours.add(value)
  Object.defineProperty(socket, name, { value, configurable: true, writable: true, enumerable: false })
}

/** Whether a socket still has the given methods. A program may replace one, and Node would call the replacement. */
export const hasMethods = (socket: TLSSocket, methods: SocketMethods): boolean =>
  SOCKET_METHODS.every((name) => hasMethod(socket, name, methods))

function hasMethod(
  socket: TLSSocket,
  name: (typeof SOCKET_METHODS)[number],
  methods: SocketMethods,
): boolean {
  const method = (socket as TLSSocket & SocketMethods)[name]
  if (method === methods[name]) return true
  // Our method on the socket hides a replacement that the program put on the prototype.
  const { [name]: inherited } = Object.getPrototypeOf(socket) as SocketMethods
  return ours.has(method) && inherited === methods[name]
}
