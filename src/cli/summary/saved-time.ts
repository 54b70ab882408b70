import type { ConnectionLine } from '../../runtime/summary-file.ts'

/** The duration of the handshake: milliseconds. In a tunnel it is measured from the call. */
export function handshakeMs({
  times: { called, connected = called, secure },
}: ConnectionLine): number | undefined {
  return secure === undefined ? undefined : secure - connected
}

/** The duration of the TCP connect: milliseconds. It is one round trip plus any delay of the process. */
export function tcpMs({ times: { attempted, connected } }: ConnectionLine): number | undefined {
  return attempted === undefined || connected === undefined ? undefined : connected - attempted
}

/**
 * The time that our resumptions saved in handshakes with one server: milliseconds. Undefined if it cannot be known.
 * With TLS 1.2 each saves a round trip (RFC 5246, 7.3) and some CPU time, which is not counted. With TLS 1.3 it saves
 * only CPU time.
 */
export function savedMs(connections: readonly ConnectionLine[]): number | undefined {
  const older = connections.filter(({ protocol }) => protocol === 'TLSv1.2')
  const ours = older.filter((one) => one.handshake === 'resumed' && !one.isProgramsOwn)
  const roundTrip = shortest(older, tcpMs)
  if (ours.length === 0 || roundTrip === undefined) return undefined
  // A busy process sees events late, never early. So the shortest time is the closest to that of the network.
  const resumed = shortest(ours, handshakeMs) ?? roundTrip
  const full = older.filter(({ handshake }) => handshake === 'full')
  const difference = (shortest(full, handshakeMs) ?? Number.POSITIVE_INFINITY) - resumed
  return Math.max(0, Math.min(roundTrip, resumed, difference)) * ours.length
}

function shortest(
  connections: readonly ConnectionLine[],
  time: (connection: ConnectionLine) => number | undefined,
): number | undefined {
  const all = connections.map(time).filter((ms) => ms !== undefined)
  return all.length === 0 ? undefined : all.reduce((a, b) => Math.min(a, b))
}

export function median(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined).sort((a, b) => a - b)
  return known[Math.floor((known.length - 1) / 2)]
}
