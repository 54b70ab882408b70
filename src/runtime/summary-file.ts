// The file of `ticketkeep run --summary`: one line of JSON for each process.
import { closeSync, constants, openSync, writeSync } from 'node:fs'

export interface Counts {
  readonly connections: number
  readonly resumed: number
  readonly kept: number
}

/** Never creates the file: it is gone once the command that asked for it has ended, before this process did. */
export function addCounts(path: string, counts: Counts): void {
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND)
    writeSync(fd, encodeCounts(counts))
    closeSync(fd)
  } catch {}
}

export const encodeCounts = ({ connections, resumed, kept }: Counts): string =>
  `${JSON.stringify({ connections, resumed, kept })}\n`

/** The sum of all well-formed lines. */
export function sumCounts(text: string): Counts {
  const sum = { connections: 0, resumed: 0, kept: 0 }
  for (const line of text.matchAll(/^\{"connections":(\d{1,9}),"resumed":(\d{1,9}),"kept":(\d{1,9})\}$/gm)) {
    sum.connections += Number(line[1])
    sum.resumed += Number(line[2])
    sum.kept += Number(line[3])
  }
  return sum
}
