import { count, thousands } from '../render.ts'
import type { HostSummary, Off, Summary } from './tally.ts'

const WHY_OFF: Record<Off, string> = {
  disabled: 'ticketkeep is disabled by TICKETKEEP_DISABLE or AUBE_DISABLE_TLS_TICKET_CACHE',
  'permission-model': "the command asks for Node's permission model",
  'preload-missing': 'the preload is missing',
}

/** The most reasons that are listed, and the most hosts per reason. */
const MOST_REASONS = 8
const MOST_HOSTS = 3

/** What the processes did, in sentences without full stops. */
export interface SummaryInWords {
  readonly sentence: string
  /** Why connections were not resumed, if there is more than one reason. */
  readonly reasons: readonly string[]
  readonly notes: readonly string[]
}

export function summaryInWords(summary: Summary): SummaryInWords {
  const { connections, off, notSeen, incomplete, hosts } = summary
  const reasons = reasonsInWords(hosts)
  const sentence =
    connections === 0 ? 'no TLS connection of a Node program was seen' : sentenceOf(summary, reasons)
  return {
    sentence: off === null ? sentence : `${sentence}: ${WHY_OFF[off]}`,
    reasons: reasons.length > 1 ? reasons : [],
    notes: [
      ...advice(summary),
      ...notSeen.map((name) => `${name} is not a Node program, so its own connections are not seen`),
      ...(incomplete ? ['there were more connections than can be counted here'] : []),
    ],
  }
}

const LATE_KEY =
  'the key has to be asked for, and a server nearby has answered before it comes; a key in a file is there at once: "ticketkeep init --key-file"'
const DOCTOR = '"ticketkeep doctor" says what to do'

/** Where nothing was resumed, for a reason that does not go away by itself. */
function advice({ resumed, hosts }: Summary): string[] {
  const reasons = hosts.flatMap(({ notResumed }) => notResumed.map(({ reason }) => reason))
  if (resumed > 0) return []
  if (reasons.some((reason) => ['no-key', 'not-saved', 'setting'].includes(reason))) return [DOCTOR]
  return reasons.includes('key-late') ? [LATE_KEY] : []
}

/** `143 connections to 3 hosts: 141 resumed, about 6.9 s of handshakes saved; 2 not (a.example: the server gives no tickets)` */
function sentenceOf(
  { connections, resumed, resumedByProgram, kept, savedMs, hosts }: Summary,
  reasons: readonly string[],
): string {
  const [only] = hosts
  const where = hosts.length === 1 ? spellHost(only!) : count(hosts.length, 'host')
  let words = `${count(connections, 'connection')} to ${where}: ${thousands(resumed)} resumed`
  if (resumedByProgram > 0) words += ` (${thousands(resumedByProgram)} with the program's own sessions)`
  if (savedMs !== null && savedMs >= 1) words += `, about ${spellTime(savedMs)} of handshakes saved`
  if (kept > 0) words += `, ${count(kept, 'ticket')} stored`
  if (resumed < connections) words += `; ${thousands(connections - resumed)} not`
  return reasons.length === 1 ? `${words} (${reasons[0]})` : words
}

interface Group {
  readonly words: string
  readonly hosts: HostSummary[]
  connections: number
}

/**
 * The most frequent reasons first: `a.example, b.example: nothing was stored yet`, with `3 to ` in front if there are
 * more.
 */
function reasonsInWords(hosts: readonly HostSummary[]): string[] {
  const groups = new Map<string, Group>()
  for (const host of hosts) {
    for (const { words, connections } of host.notResumed) {
      const group = groups.get(words) ?? { words, hosts: [], connections: 0 }
      groups.set(words, group)
      group.hosts.push(host)
      group.connections += connections
    }
  }
  const sorted = [...groups.values()].sort((a, b) => b.connections - a.connections)
  const told = sorted.slice(0, MOST_REASONS).map((group) => {
    const others = group.hosts.length - MOST_HOSTS
    const names = group.hosts.slice(0, MOST_HOSTS).map(spellHost)
    const all = [...names, ...(others > 0 ? [count(others, 'other host')] : [])].join(', ')
    return `${sorted.length > 1 ? `${thousands(group.connections)} to ` : ''}${all}: ${group.words}`
  })
  const rest = sorted.slice(MOST_REASONS).reduce((sum, { connections }) => sum + connections, 0)
  return rest > 0 ? [...told, `${thousands(rest)} for other reasons`] : told
}

/** The reasons of one host: `3 nothing was stored yet, 1 the server turned the ticket down`. */
export const whyNotResumed = ({ notResumed }: HostSummary): string =>
  notResumed
    .map(({ words, connections }) => (notResumed.length > 1 ? `${words} (${thousands(connections)})` : words))
    .join('; ')

export function spellHost({ host, port }: { readonly host: string; readonly port: number }): string {
  if (host === '') return 'a host that is not known'
  const name = host.includes(':') ? `[${host}]` : host
  return port === 443 || port === 0 ? name : `${name}:${port}`
}

/** Rounded to two digits: `54 ms`, `6.9 s`. */
export function spellTime(ms: number): string {
  const [value, unit] = ms < 995 ? [ms, 'ms'] : [ms / 1000, 's']
  return `${thousands(Math.round(value) >= 100 ? Math.round(value) : Number(value.toPrecision(2)))} ${unit}`
}
