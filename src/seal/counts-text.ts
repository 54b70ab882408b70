import { decode, padded } from './padded-json.ts'

/** What processes did: the counts of the connections that were examined. */
export interface Counts {
  /** Connections resumed from our sessions, and the total time of their handshakes: milliseconds. */
  readonly resumed: number
  readonly resumedMs: number
  /** Full handshakes, and their total time: milliseconds. */
  readonly full: number
  readonly fullMs: number
  /** Sessions kept. */
  readonly harvested: number
  /** Reasons why nothing was offered or kept, and how often each occurred. */
  readonly refused: Readonly<Record<string, number>>
}

export const NO_COUNTS: Counts = { resumed: 0, resumedMs: 0, full: 0, fullMs: 0, harvested: 0, refused: {} }

/** The most distinct reasons. Further ones are counted as `other`. */
const MOST_REASONS = 32

const NUMBERS = ['resumed', 'resumedMs', 'full', 'fullMs', 'harvested'] as const

export function addCounts(a: Counts, b: Counts): Counts {
  const refused: Record<string, number> = {}
  for (const [reason, n] of [...Object.entries(a.refused), ...Object.entries(b.refused)]) {
    const name =
      Object.hasOwn(refused, reason) || Object.keys(refused).length < MOST_REASONS ? reason : 'other'
    refused[name] = (refused[name] ?? 0) + n
  }
  const sum = Object.fromEntries(NUMBERS.map((name) => [name, a[name] + b[name]]))
  return { ...(sum as unknown as Counts), refused }
}

/** Whether a value has the shape above. The output of another user's process is not trusted. */
export function isCounts(value: unknown): value is Counts {
  if (typeof value !== 'object' || value === null) return false
  const { refused, ...numbers } = value as Counts
  if (typeof refused !== 'object' || refused === null) return false
  const reasons = Object.entries(refused)
  return (
    NUMBERS.every((name) => isCount(numbers[name])) &&
    reasons.length <= MOST_REASONS + 1 &&
    reasons.every(([reason, n]) => REASON.test(reason) && isCount(n))
  )
}

export const REASON = /^[ -~]{1,96}$/

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0

export const encodeCounts = (counts: Counts): Buffer => Buffer.from(padded(counts), 'latin1')

/** Reads exactly what `encodeCounts` writes. */
export const decodeCounts = (bytes: Uint8Array): Counts | undefined =>
  decode(bytes, (json: unknown) => (isCounts(json) ? json : undefined), padded)
