import type { ConnectionLine } from '../../runtime/summary-file.ts'

/** So many full handshakes tell how long one takes: fewer may be the first of their process, in which much is loaded. */
const ENOUGH = 3

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
 * known. By the full handshakes of this run, if there were enough. Else, with TLS 1.2, one round trip each (RFC 5246, 7.3).
 */
export function savedMs(connections: readonly ConnectionLine[]): number | undefined {
  let sum: number | undefined
  for (const protocol of new Set(connections.map((one) => one.protocol))) {
    const same = connections.filter((one) => one.protocol === protocol)
    const ours = same.filter((one) => one.handshake === 'resumed' && !one.isProgramsOwn)
    const each = ours.length > 0 ? savedByEach(protocol, same, ours) : undefined
    if (each !== undefined) sum = (sum ?? 0) + each * ours.length
  }
  return sum
}

function savedByEach(
  protocol: string,
  connections: readonly ConnectionLine[],
  ours: readonly ConnectionLine[],
): number | undefined {
  const full = numbers(connections.filter((one) => one.handshake === 'full').map(handshakeMs))
  if (full.length >= ENOUGH && ours.length >= ENOUGH)
    return Math.max(0, median(full)! - median(numbers(ours.map(handshakeMs)))!)
  return protocol === 'TLSv1.2' ? roundTripMs(connections) : undefined
}

/** At most: a process sees an event late, never early. Undefined where no connection was timed. */
function roundTripMs(connections: readonly ConnectionLine[]): number | undefined {
  const all = numbers(connections.map(tcpMs))
  if (all.length === 0) return undefined
  return Math.min(...all, ...numbers(connections.map(handshakeMs)))
}

export const numbers = (values: readonly (number | undefined)[]): number[] =>
  values.filter((value) => value !== undefined)

export function median(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)]
}
