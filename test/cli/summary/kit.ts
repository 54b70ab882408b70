import { byHost, type Summary, summarise } from '../../../src/cli/summary/tally.ts'
import type { ConnectionLine, Line } from '../../../src/runtime/summary-file.ts'

/** A TLS 1.2 connection that was resumed 54 ms after TCP was connected, with a round trip of 50 ms. */
export const line = (of: Partial<ConnectionLine> = {}): ConnectionLine => ({
  id: '42.1.1',
  pid: 42,
  program: 'client.cjs',
  host: 'registry.example',
  port: 443,
  handshake: 'resumed',
  isProgramsOwn: false,
  protocol: 'TLSv1.2',
  sessions: 0,
  reason: '',
  times: { called: 1000, lookedUp: 1010, attempted: 1010, connected: 1060, secure: 1114, firstByte: 1170 },
  ...of,
})

/** One with a full handshake, which takes a round trip more. */
export const full = (reason: string, of: Partial<ConnectionLine> = {}) =>
  line({ handshake: 'full', reason, times: { ...line().times, secure: 1164, firstByte: 1220 }, ...of })

/** The same connection so many milliseconds later. */
export function later(ms: number, one: ConnectionLine): ConnectionLine {
  const times = Object.entries(one.times).map(([name, time]) => [name, time + ms])
  return { ...one, times: Object.fromEntries(times) }
}

export function summaryOf(lines: readonly Line[], rest: Partial<Summary> = {}) {
  const hosts = byHost(lines)
  return { hosts, summary: summarise(lines, hosts, { off: null, incomplete: false, ...rest }) }
}
