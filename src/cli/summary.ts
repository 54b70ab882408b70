import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { count, thousands } from './render.ts'

/** What the processes of one `run` did, summed. */
export interface Counts {
  readonly connections: number
  readonly resumed: number
  readonly kept: number
}

const NONE: Counts = { connections: 0, resumed: 0, kept: 0 }

/**
 * An empty file of mode 0600 with a random name, to which every process of the tree appends one line when it
 * ends. They open it for appending only, never create it: what outlives `run` leaves nothing behind.
 */
export function createSummaryFile(): string {
  const path = join(tmpdir(), `ticketkeep-${process.pid}-${randomBytes(12).toString('hex')}.summary`)
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants
  closeSync(openSync(path, O_CREAT | O_EXCL | O_WRONLY | (O_NOFOLLOW ?? 0), 0o600))
  return path
}

/** The sum of all well-formed lines, and the file is gone. What cannot be read counts for nothing. */
export function collectSummary(path: string): Counts {
  let text = ''
  try {
    text = readFileSync(path, 'utf8')
    unlinkSync(path)
  } catch {}
  return sumLines(text)
}

export function sumLines(text: string): Counts {
  return text.split('\n').reduce((sum, line) => add(sum, parseLine(line)), NONE)
}

/** A `run` inside a `run` hands its sum to the outer one. */
export function handUp(outer: string, counts: Counts): void {
  try {
    const fd = openSync(outer, constants.O_WRONLY | constants.O_APPEND)
    writeSync(fd, `${JSON.stringify(counts)}\n`)
    closeSync(fd)
  } catch {}
}

/** `ticketkeep: 15 TLS connections, 15 resumed, 3 tickets kept`, or the same as one line of JSON. */
export function summaryLine({ connections, resumed, kept }: Counts, json: boolean): string {
  if (json) return `${JSON.stringify({ connections, resumed, kept })}\n`
  const parts = [
    count(connections, 'TLS connection'),
    `${thousands(resumed)} resumed`,
    `${count(kept, 'ticket')} kept`,
  ]
  return `ticketkeep: ${parts.join(', ')}\n`
}

function parseLine(line: string): Counts {
  const match = /^\{"connections":(\d{1,9}),"resumed":(\d{1,9}),"kept":(\d{1,9})\}$/.exec(line)
  if (!match) return NONE
  return { connections: Number(match[1]), resumed: Number(match[2]), kept: Number(match[3]) }
}

function add(a: Counts, b: Counts): Counts {
  return {
    connections: a.connections + b.connections,
    resumed: a.resumed + b.resumed,
    kept: a.kept + b.kept,
  }
}
