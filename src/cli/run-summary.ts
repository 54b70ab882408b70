import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { addLines, decodeLines, type Line, MAX_SUMMARY_BYTES, openSummary } from '../runtime/summary-file.ts'
import { Failure } from './command.ts'
import { renderError } from './render.ts'
import { whoIsNotSeen } from './summary/not-seen.ts'
import { reportPage } from './summary/report-page.ts'
import { byHost, type Off, type Summary, summarise } from './summary/tally.ts'
import { summaryInWords } from './summary/words.ts'
import { supervise } from './supervise.ts'

/** What the user asked to be told about the process tree. */
export interface Wanted {
  /** The destination of the summary: a file, or true for standard error. */
  readonly summary: string | boolean
  /** The file of the report page. */
  readonly report: string | undefined
  readonly json: boolean
}

/**
 * Checks the files and makes their paths absolute. Writes nothing yet, because the command may clean the folders.
 * @throws {Failure} if a file cannot be written
 */
export const checked = (wanted: Wanted): Wanted => ({
  ...wanted,
  summary: typeof wanted.summary === 'string' ? writable(wanted.summary) : wanted.summary,
  report: wanted.report === undefined ? undefined : writable(wanted.report),
})

/** Runs the command, then reports what its processes did. */
export function runWithSummary(
  command: readonly [name: string, ...args: string[]],
  env: Record<string, string | undefined>,
  off: Off | null,
  wanted: Wanted,
  ended: () => void | Promise<void> = () => {},
): void {
  const [name, ...args] = command
  const outer = env.TICKETKEEP_SUMMARY_FILE
  const startedAt = Date.now()
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
    const { lines, incomplete } = collectLines(file)
    const notSeen = whoIsNotSeen(name, env.PATH)
    if (notSeen !== undefined) lines.push({ notSeen })
    // A `run` inside a `run` passes its lines to the outer one.
    if (outer) addLines(outer, lines)
    const hosts = byHost(lines)
    const summary = summarise(lines, hosts, { off, incomplete })
    if (wanted.summary) put(wanted.summary, wanted.json ? `${JSON.stringify(summary)}\n` : sentences(summary))
    if (wanted.report !== undefined) put(wanted.report, reportPage({ command, startedAt, hosts, summary }))
    return ended()
  })
}

function sentences(summary: Summary): string {
  const { sentence, reasons, notes } = summaryInWords(summary)
  const [first, ...rest] = [sentence, ...reasons.map((reason) => `  ${reason}`), ...notes]
  return [reasons.length > 0 ? `${first}:` : first!, ...rest].map(renderError).join('')
}

/** @param file a path, or true for standard error */
function put(file: string | true, text: string): void {
  if (file === true) {
    process.stderr.write(text)
    return
  }
  try {
    writeFileSync(file, text, { mode: 0o600 })
  } catch (error) {
    process.stderr.write(renderError(`${file} was not written (${(error as NodeJS.ErrnoException).code})`))
  }
}

function writable(path: string): string {
  const file = resolve(path)
  try {
    if (!existsSync(file)) accessSync(dirname(file), constants.W_OK | constants.X_OK)
    else if (statSync(file).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    else accessSync(file, constants.W_OK)
    return file
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Failure(
      `${file} cannot be written (${code}), so the command was not run; name a file in a folder that exists and that you can write to`,
    )
  }
}

/**
 * Creates an empty file of mode 0600 with a random name, to which every process of the tree appends lines. Those only
 * open it for appending and never create it, so a process that outlives `run` leaves nothing behind.
 */
function createSummaryFile(): string {
  const path = join(tmpdir(), `ticketkeep-${process.pid}-${randomBytes(12).toString('hex')}.summary`)
  closeSync(openSync(path, 'wx', 0o600))
  return path
}

/** Reads what all processes wrote, and removes the file. Unreadable lines are ignored. */
function collectLines(path: string): { lines: Line[]; incomplete: boolean } {
  let text = ''
  let size = 0
  try {
    const fd = openSummary(path, constants.O_RDONLY)
    try {
      size = fstatSync(fd).size
      text = readFileSync(fd, 'utf8')
    } finally {
      closeSync(fd)
    }
    unlinkSync(path)
  } catch {}
  return { lines: decodeLines(text), incomplete: size > MAX_SUMMARY_BYTES }
}
