import type { ConnectionLine, Line } from '../../runtime/summary-file.ts'
import { NO_TICKETS, NOTHING_STORED, type Reason, reasonOf, TICKETS_USED_UP } from './reasons.ts'
import { savedMs } from './saved-time.ts'

/** Why the command ran without ticketkeep. */
export type Off = 'disabled' | 'permission-model' | 'preload-missing'

/**
 * What all processes of the tree did. This is the output of `run --summary --json`, which `docs/command.md` describes.
 */
export interface Summary {
  readonly connections: number
  readonly resumed: number
  /** The resumed connections that used a session kept by the program itself. */
  readonly resumedByProgram: number
  /** The number of tickets stored. */
  readonly kept: number
  /** The approximate time saved in all handshakes: milliseconds. Null if it cannot be known. */
  readonly savedMs: number | null
  readonly hosts: readonly HostSummary[]
  readonly off: Off | null
  /** Commands that are not Node programs, whose connections cannot be seen. */
  readonly notSeen: readonly string[]
  /** Whether there were more connections than could be recorded. */
  readonly incomplete: boolean
}

/** The connections to one host and port. */
export interface HostSummary {
  /** Empty if the program named none. */
  readonly host: string
  /** 0 if it is not known, as in a tunnel. */
  readonly port: number
  readonly connections: number
  readonly resumed: number
  readonly resumedByProgram: number
  readonly savedMs: number | null
  readonly notResumed: readonly NotResumed[]
}

export interface NotResumed {
  readonly reason: string
  readonly words: string
  readonly connections: number
}

/** One connection, and why it was not resumed. */
export interface Explained {
  readonly line: ConnectionLine
  readonly reason: Reason | undefined
}

/** The connections to one host and port, in the order in which they were made. */
export interface HostConnections {
  readonly host: string
  readonly port: number
  readonly connections: readonly Explained[]
}

/** Groups the lines of all processes by host. The host with the most connections comes first. */
export function byHost(lines: readonly Line[]): HostConnections[] {
  const problems = new Map<number, string>()
  for (const line of lines) if ('problem' in line && line.problem) problems.set(line.pid, line.problem)
  const hosts = new Map<string, ConnectionLine[]>()
  for (const line of lines) {
    if (!('handshake' in line)) continue
    const key = `${line.host} ${line.port}`
    const same = hosts.get(key)
    if (same) same.push(line)
    else hosts.set(key, [line])
  }
  return [...hosts.values()]
    .map((same) => ({ host: same[0]!.host, port: same[0]!.port, connections: explained(same, problems) }))
    .sort((a, b) => b.connections.length - a.connections.length)
}

function explained(lines: ConnectionLine[], problems: ReadonlyMap<number, string>): Explained[] {
  const ours = lines.filter((line) => line.handshake === 'resumed' && !line.isProgramsOwn)
  const firstOfOurs = Math.min(...ours.map(({ times }) => times.called))
  const givesTickets = lines.some(({ sessions }) => sessions > 0)
  const why = (line: ConnectionLine) => {
    const reason = reasonOf(line.reason)
    if (reason.code !== NOTHING_STORED.code) return reason
    const problem = problems.get(line.pid)
    if (problem !== undefined) return reasonOf(problem)
    if (line.times.called >= firstOfOurs) return TICKETS_USED_UP
    // In TLS 1.3, tickets follow the handshake and normally precede data.
    const isServed = line.times.firstByte !== undefined || line.protocol === 'TLSv1.2'
    return isServed && !givesTickets ? NO_TICKETS : NOTHING_STORED
  }
  return lines
    .sort((a, b) => a.times.called - b.times.called)
    .map((line) => ({ line, reason: line.handshake === 'resumed' ? undefined : why(line) }))
}

export function summarise(
  lines: readonly Line[],
  hosts: readonly HostConnections[],
  rest: Pick<Summary, 'off' | 'incomplete'>,
): Summary {
  const all = hosts.map(summariseHost)
  const sum = (count: (host: HostSummary) => number) => all.reduce((total, host) => total + count(host), 0)
  const saved = all.some((host) => host.savedMs !== null) ? sum((host) => host.savedMs ?? 0) : null
  return {
    connections: sum(({ connections }) => connections),
    resumed: sum(({ resumed }) => resumed),
    resumedByProgram: sum(({ resumedByProgram }) => resumedByProgram),
    kept: lines.reduce((total, line) => total + ('kept' in line ? line.kept : 0), 0),
    savedMs: saved,
    hosts: all,
    off: rest.off,
    notSeen: [...new Set(lines.flatMap((line) => ('notSeen' in line ? line.notSeen : [])))],
    incomplete: rest.incomplete,
  }
}

function summariseHost({ host, port, connections }: HostConnections): HostSummary {
  const lines = connections.map(({ line }) => line)
  const resumed = lines.filter(({ handshake }) => handshake === 'resumed')
  const saved = savedMs(lines)
  const notResumed = new Map<string, NotResumed>()
  for (const { reason } of connections) {
    if (!reason) continue
    const { code, words } = reason
    const same = notResumed.get(`${code} ${words}`)
    notResumed.set(`${code} ${words}`, { reason: code, words, connections: (same?.connections ?? 0) + 1 })
  }
  return {
    host,
    port,
    connections: lines.length,
    resumed: resumed.length,
    resumedByProgram: resumed.filter(({ isProgramsOwn }) => isProgramsOwn).length,
    savedMs: saved === undefined ? null : Math.round(saved),
    notResumed: [...notResumed.values()].sort((a, b) => b.connections - a.connections),
  }
}
