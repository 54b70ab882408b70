import { unixNow } from '../../common/clock.ts'
import { usage } from '../../store/bounds.ts'
import type { ListedTicket } from '../../store/ticket-store.ts'
import { MAX_AGE } from '../../ticket-entry.ts'
import type { Command } from '../command.ts'
import { describeFailing, failingServers, spellServer } from '../failing-servers.ts'
import { openStore, requireStore } from '../open-store.ts'
import { count, duration } from '../render.ts'

/**
 * `--json`: `{ "directory": "/…", "tickets": [{ "host": "example.com", "port": 443, "protocol": "TLSv1.3",
 * "storedAtUnixSecs": 1767225600, "expiresAtUnixSecs": 1767312000, "bound": true }] }`, by host, port and
 * time, and `"failingServers": [{ "host": "example.com", "port": 443, "reason": "ECONNRESET",
 * "failedAtUnixSecs": 1767225600, "untilUnixSecs": 1767229200 }]`. `port` and `protocol` are null if unknown. Never
 * contains the ticket itself.
 */
export const command: Command = {
  usage: 'list [--json]',
  help: `
Lists the tickets that can be offered: their server, when they were stored, and when they expire. A port
is shown as ? if the connection went through a tunnel that hides it. A ticket that is not bound to the
trust settings of a connection was stored by a program, and is given only to programs.

Then lists the servers that failed when a session was offered to them. They get full handshakes for an
hour after the first failure, for a day after the next, then for a week.`,
  operands: [0, 0],
  async run() {
    const opened = await openStore()
    const store = requireStore(opened)
    const now = unixNow()
    const tickets = (store?.list(now) ?? []).map(describe).sort(inOrder)
    const failed = failingServers(store?.failures.list(now) ?? [])
    const rows = tickets.map((t) => [
      spellServer(t),
      t.protocol ?? '?',
      duration(now - t.storedAtUnixSecs),
      duration(t.expiresAtUnixSecs - now),
      t.bound ? 'yes' : 'no',
    ])
    return {
      json: { directory: opened.directory, tickets, failingServers: failed },
      text: [
        rows.length
          ? { table: [['server', 'protocol', 'age', 'expires in', 'bound'], ...rows] }
          : nothing(`${opened.directory}`),
        ...describeFailing(failed, now),
      ],
    }
  },
}

function nothing(directory: string): string {
  const { files } = usage(directory)
  return files === 0
    ? `There are no tickets in ${directory}.`
    : `There are no tickets of this key in ${directory}, and ${count(files, 'file')} of others or too old.`
}

function describe({ peer, ticket }: ListedTicket) {
  const { storedAtUnixSecs, verifiedAtUnixSecs = storedAtUnixSecs } = ticket
  const oldest = Math.min(storedAtUnixSecs, verifiedAtUnixSecs) + MAX_AGE
  return {
    host: peer.host,
    port: peer.port === 0 ? null : peer.port,
    protocol: ticket.protocol ?? null,
    storedAtUnixSecs,
    expiresAtUnixSecs: Math.min(oldest, ticket.expiresAtUnixSecs ?? oldest),
    bound: ticket.binding !== undefined,
  }
}

type Listed = ReturnType<typeof describe>

function inOrder(a: Listed, b: Listed): number {
  if (a.host !== b.host) return a.host < b.host ? -1 : 1
  return (a.port ?? 0) - (b.port ?? 0) || a.storedAtUnixSecs - b.storedAtUnixSecs
}
