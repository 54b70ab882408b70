import type { ConnectionLine } from '../../runtime/summary-file.ts'

/** How long the handshake took: milliseconds. In a tunnel it starts with the call. */
export function handshakeMs({
  times: { called, connected = called, secure },
}: ConnectionLine): number | undefined {
  return secure === undefined ? undefined : secure - connected
}

/** How long TCP took to connect: milliseconds, one round trip and what the process was late. */
export function tcpMs({ times: { attempted, connected } }: ConnectionLine): number | undefined {
  return attempted === undefined || connected === undefined ? undefined : connected - attempted
}

/**
 * How much shorter our resumptions made the handshakes with one server: milliseconds, and undefined where that cannot be
 * known. With TLS 1.2 it is a round trip for each (RFC 5246, 7.3), and some processor time, which is not counted. With
 * TLS 1.3 it is processor time alone.
 */
export function savedMs(connections: readonly ConnectionLine[]): number | undefined {
  const older = connections.filter(({ protocol }) => protocol === 'TLSv1.2')
  const ours = older.filter((one) => one.handshake === 'resumed' && !one.isProgramsOwn)
  const roundTrip = shortest(older, tcpMs)
  if (ours.length === 0 || roundTrip === undefined) return undefined
  // A process that is busy sees an event late, never early: what is longer than this took no longer on the network.
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
