import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addCounts, type Counts, encodeCounts, sumCounts } from '../runtime/summary-file.ts'
import { count, renderError, thousands } from './render.ts'
import { supervise } from './supervise.ts'

/** Runs the command, then says in one line on stderr what its processes did. */
export function runWithSummary(
  name: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
  json: boolean,
  ended: () => void = () => {},
): void {
  const outer = env.TICKETKEEP_SUMMARY_FILE
  let file: string
  try {
    file = createSummaryFile()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    process.stderr.write(renderError(`no temporary file can be made (${code}), so there will be no summary`))
    supervise(name, args, env, ended)
    return
  }
  supervise(name, args, { ...env, TICKETKEEP_SUMMARY_FILE: file }, () => {
    const counts = collectSummary(file)
    // A `run` inside a `run` hands its sum to the outer one.
    if (outer) addCounts(outer, counts)
    process.stderr.write(json ? encodeCounts(counts) : summaryLine(counts))
    ended()
  })
}

/**
 * An empty file of mode 0600 with a random name, to which every process of the tree appends one line when it
 * ends. They open it for appending only, never create it: what outlives `run` leaves nothing behind.
 */
function createSummaryFile(): string {
  const path = join(tmpdir(), `ticketkeep-${process.pid}-${randomBytes(12).toString('hex')}.summary`)
  closeSync(openSync(path, 'wx', 0o600))
  return path
}

/** What all processes did, and the file is gone. What cannot be read counts for nothing. */
function collectSummary(path: string): Counts {
  let text = ''
  try {
    text = readFileSync(path, 'utf8')
    unlinkSync(path)
  } catch {}
  return sumCounts(text)
}

/** `ticketkeep: 15 TLS connections, 15 resumed, 3 tickets kept` */
function summaryLine({ connections, resumed, kept }: Counts): string {
  const parts = [
    count(connections, 'TLS connection'),
    `${thousands(resumed)} resumed`,
    `${count(kept, 'ticket')} kept`,
  ]
  return `ticketkeep: ${parts.join(', ')}\n`
}
