import type { FailedPeer } from '../store/failure-log.ts'
import { type Block, duration } from './render.ts'

/** A server that failed when a session was offered to it, in the JSON form of `list` and `doctor`. */
export interface FailingServer {
  /** Null if nothing stored identifies it. */
  readonly host: string | null
  /** Null if a tunnel hides it. */
  readonly port: number | null
  readonly reason: string
  /** UNIX seconds. */
  readonly failedAtUnixSecs: number
  readonly untilUnixSecs: number
}

export const failingServers = (failed: readonly FailedPeer[]): FailingServer[] =>
  failed
    .map(({ peer, reason, failedAt, leftAloneUntil }) => ({
      host: peer?.host ?? null,
      port: peer?.port || null,
      reason,
      failedAtUnixSecs: failedAt,
      untilUnixSecs: leftAloneUntil,
    }))
    .sort((a, b) => (spellServer(a) < spellServer(b) ? -1 : 1))

/** A table of failing servers and what to do about them. Empty if there are none. */
export function describeFailing(servers: readonly FailingServer[], nowUnixSecs: number): Block[] {
  if (servers.length === 0) return []
  const rows = servers.map((one) => [
    spellServer(one),
    one.reason,
    duration(nowUnixSecs - one.failedAtUnixSecs),
    duration(one.untilUnixSecs - nowUnixSecs),
  ])
  return [
    '',
    'These servers failed when a session was offered to them. They get full handshakes for a while:',
    '',
    { table: [['server', 'failure', 'age', 'left alone for'], ...rows] },
    '',
    '"ticketkeep invalidate HOST" lets the next program try again.',
  ]
}

/** `example.com:443`, `[2001:db8::1]:443`, `example.com:?`. */
export function spellServer({ host, port }: { readonly host: string | null; readonly port: number | null }) {
  if (host === null) return '(not known yet)'
  return `${host.includes(':') ? `[${host}]` : host}:${port ?? '?'}`
}
