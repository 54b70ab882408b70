// The file of `ticketkeep run --summary`: lines of JSON, one or more of each process.
import { closeSync, constants, openSync, writeSync } from 'node:fs'

export interface Counts {
  readonly connections: number
  readonly resumed: number
  readonly kept: number
}

export const NO_COUNTS: Counts = { connections: 0, resumed: 0, kept: 0 }

/**
 * Adds what has come since this process last did. Never creates the file: it is gone once the command that asked for it has
 * ended, before this process did.
 */
export function addCounts(path: string, now: Counts, last = NO_COUNTS): void {
  const connections = now.connections - last.connections
  const resumed = now.resumed - last.resumed
  const kept = now.kept - last.kept
  if (connections + resumed + kept === 0) return
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND)
    writeSync(fd, encodeCounts({ connections, resumed, kept }))
    closeSync(fd)
  } catch {}
}

export const encodeCounts = ({ connections, resumed, kept }: Counts): string =>
  `${JSON.stringify({ connections, resumed, kept })}\n`

/** The sum of all well-formed lines. */
export function sumCounts(text: string): Counts {
  const sum = { ...NO_COUNTS }
  for (const line of text.matchAll(/^\{"connections":(\d{1,9}),"resumed":(\d{1,9}),"kept":(\d{1,9})\}$/gm)) {
    sum.connections += Number(line[1])
    sum.resumed += Number(line[2])
    sum.kept += Number(line[3])
  }
  return sum
}
