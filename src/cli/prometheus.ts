import { execFileSync } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { unixNow } from '../common/clock.ts'
import { KEY_SOURCE_NAMES, type KeySourceName } from '../key-sources.ts'
import { addCounts, type Counts, isCounts, NO_COUNTS } from '../seal/counts-text.ts'
import { askAs } from './as-user.ts'
import { openStore } from './open-store.ts'
import type { Report } from './render.ts'

/** The figures of one user. */
interface Figures {
  readonly tickets: number
  readonly keySource: KeySourceName
  /** Null if it is not known. */
  readonly keyAgeSeconds: number | null
  readonly counts: Counts
}

/**
 * `--json`: the figures of the current user: `{ "tickets": 11, "keySource": "keychain", "keyAgeSeconds": 86400,
 * "counts": { … } }`.
 */
export async function figures(json: boolean): Promise<Report> {
  if (json) return { json: await own(), text: [] }
  const { known, failed } =
    process.getuid?.() === 0 ? await ofAllUsers() : { known: [await own()], failed: 0 }
  return { json: undefined, text: [{ verbatim: metrics(known, failed) }] }
}

async function own(): Promise<Figures> {
  const { outcome, store, keyMadeAt } = await openStore()
  const now = unixNow()
  return {
    tickets: store?.list(now).length ?? 0,
    keySource: outcome.source,
    keyAgeSeconds: keyMadeAt === undefined ? null : Math.max(0, now - keyMadeAt),
    counts: store?.counts(now) ?? NO_COUNTS,
  }
}

async function ofAllUsers(): Promise<{ known: Figures[]; failed: number }> {
  const known: Figures[] = []
  let failed = 0
  for (const name of usersWithTickets()) {
    try {
      const answer = await askAs(name, ['status', '--prometheus'])
      if (!isFigures(answer)) throw new Error('no figures')
      known.push(answer)
    } catch {
      failed++
    }
  }
  return { known, failed }
}

/** Validates the output of another user's process, which is not trusted. */
function isFigures(value: unknown): value is Figures {
  const { tickets, keySource, keyAgeSeconds, counts } = Object(value) as Figures
  const isCount = (one: unknown) => Number.isSafeInteger(one) && (one as number) >= 0
  return (
    isCount(tickets) &&
    KEY_SOURCE_NAMES.includes(keySource) &&
    (keyAgeSeconds === null || isCount(keyAgeSeconds)) &&
    isCounts(counts)
  )
}

/** The users who have a folder of ours at the default place. Follows no links. */
function usersWithTickets(): string[] {
  const entries = execFileSync('getent', ['passwd'], { encoding: 'utf8' }).split('\n')
  const users = entries.map((line) => line.split(':')).filter(([name, , , , , home]) => name && home)
  return users.flatMap(([name, , , , , home]) => (hasFolder(home!, '.cache', 'ticketkeep') ? [name!] : []))
}

function hasFolder(base: string, ...names: string[]): boolean {
  try {
    const paths = names.map((_, i) => join(base, ...names.slice(0, i + 1)))
    return [base, ...paths].every((path) => lstatSync(path).isDirectory())
  } catch {
    return false
  }
}

/** Source: Prometheus, "Text-based exposition format". */
function metrics(users: readonly Figures[], failed: number): string {
  const sum = users.reduce((all, { counts }) => addCounts(all, counts), NO_COUNTS)
  const { resumed, resumedMs, full, fullMs, harvested, refused } = sum
  const withTickets = users.filter(({ tickets }) => tickets > 0)
  const sources = KEY_SOURCE_NAMES.map((name) => withTickets.filter(({ keySource }) => keySource === name))
  const oldest = Math.max(0, ...users.map(({ keyAgeSeconds }) => keyAgeSeconds ?? 0))
  return [
    ...one('tickets', 'gauge', 'Tickets that can be offered.', [
      ['', users.reduce((n, { tickets }) => n + tickets, 0)],
    ]),
    ...one('handshakes_total', 'counter', 'TLS handshakes of attended connections.', [
      ['{kind="resumed"}', resumed],
      ['{kind="full"}', full],
    ]),
    ...one('harvested_total', 'counter', 'Sessions that were kept.', [['', harvested]]),
    ...one(
      'refused_total',
      'counter',
      'Sessions that were not offered or not kept, by reason.',
      Object.entries(refused).map(([reason, n]) => [`{reason="${escaped(reason)}"}`, n]),
    ),
    ...one('handshake_seconds_total', 'counter', 'How long they took.', [
      ['{kind="resumed"}', resumedMs / 1000],
      ['{kind="full"}', fullMs / 1000],
    ]),
    ...one('saved_seconds', 'gauge', 'Time that resumption has saved: an estimate.', [['', saved(sum)]]),
    ...one(
      'users',
      'gauge',
      'Users with tickets, by the source of their key.',
      KEY_SOURCE_NAMES.map((name, i) => [`{key_source="${name}"}`, sources[i]!.length]),
    ),
    ...one('users_failed', 'gauge', 'Users whose figures could not be read.', [['', failed]]),
    ...one('key_age_seconds', 'gauge', 'Age of the oldest key in use.', [['', oldest]]),
  ].join('\n')
}

type Sample = readonly [labels: string, value: number]

function one(name: string, type: 'counter' | 'gauge', help: string, samples: readonly Sample[]): string[] {
  const full = `ticketkeep_${name}`
  const lines = samples.map(([labels, value]) => `${full}${labels} ${value}`)
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines]
}

const escaped = (text: string) => text.replace(/[\\"]/g, '\\$&')

/** The estimated time saved, in seconds: the number of resumptions times the average extra time of a full handshake. */
function saved({ resumed, resumedMs, full, fullMs }: Counts): number {
  if (resumed === 0 || full === 0) return 0
  return Math.max(0, resumed * (fullMs / full - resumedMs / resumed)) / 1000
}
