import prettyBytes from 'pretty-bytes'
import prettyMilliseconds from 'pretty-ms'

/** What a command has to say, in both forms; nothing else writes to stdout. */
export interface Report {
  /** The stable form. Its shape is in the doc comment of the command. */
  readonly json: unknown
  /** The form for people, one block under the other. */
  readonly text: readonly Block[]
  /** 1 where the command did its work and the answer is no (`doctor`). */
  readonly exitCode?: 0 | 1
}

/** A paragraph, labels with values, or a table, whose first row is its head in most cases. */
export type Block =
  | string
  | { readonly pairs: readonly (readonly [label: string, value: string])[] }
  | { readonly table: readonly (readonly string[])[] }
  /** Amounts side by side, each with the words for it. */
  | { readonly bars: readonly (readonly [label: string, amount: number, words: string])[] }
  /** For another program to read: printed as it is. */
  | { readonly verbatim: string }

/** Columns of prose, however wide the terminal is. */
export const PROSE = 80

/** Columns that make sense for the last one of a table. Where there are fewer it goes below the others. */
const LAST_COLUMN = 24

/** How far it is indented there. */
const BELOW = 6

/** Characters of the longest bar. */
const BAR = 24

/**
 * Plain text, no colours, columns aligned by spaces; ends with a line feed.
 * @param width of the terminal, in columns; without one, paragraphs and tables are as wide as they were written
 */
export function renderText(blocks: readonly Block[], width = Number.POSITIVE_INFINITY): string {
  return blocks.map((block) => `${renderBlock(block, width)}\n`).join('')
}

export function renderJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** The one line that a failed call prints to stderr. */
export function renderError(message: string): string {
  return `ticketkeep: ${printable(message).replaceAll('\n', ' ')}\n`
}

/** Shows on stderr how far a command is, in one line that the next one replaces. Only on a terminal. */
export function showProgress(words: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${words}\x1b[K`)
}

/** Columns of the terminal to which this stream goes, or of `COLUMNS`, as man(1) reads it; undefined for a file. */
export function widthOf(stream: { readonly columns?: number }, env = process.env): number | undefined {
  const { columns = Number(env.COLUMNS) } = stream
  return columns >= 20 ? columns : undefined
}

function renderBlock(block: Block, width: number): string {
  if (typeof block === 'string') return prose(printable(block), width)
  if ('verbatim' in block) return block.verbatim
  if ('bars' in block) return bars(block.bars, width)
  return columns('pairs' in block ? block.pairs : block.table, width)
}

/** Lines that are indented stay as they are, and so do empty ones. The others are one paragraph up to the next of those. */
function prose(text: string, width: number): string {
  if (width === Number.POSITIVE_INFINITY) return text
  const paragraphs = text.replace(/(?<=\S)\n(?=\S)/g, ' ').split('\n')
  return paragraphs.map((one) => (one.startsWith(' ') ? one : wrap(one, Math.min(width, PROSE)))).join('\n')
}

/** Breaks lines at spaces only: a path that is cut cannot be copied. */
function wrap(text: string, width: number, indent = ''): string {
  let line = ''
  const lines: string[] = []
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${indent}`)
}

function columns(rows: readonly (readonly string[])[], width: number): string {
  const cells = rows.map((row) => row.map((cell) => printable(cell).replaceAll('\n', ' ')))
  const widest = (column: number) => Math.max(...cells.map((row) => row[column]?.length ?? 0))
  const widths = Array.from({ length: Math.max(0, ...cells.map((row) => row.length)) }, (_, i) => widest(i))
  const before = widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 0)
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  if (before + (widths.at(-1) ?? 0) <= width) return cells.map(line).join('\n')
  if (width - before >= LAST_COLUMN) return withLast((row) => line([...row, '']).padEnd(before), before)
  // The longest text of each row gets lines of its own: below the rest, or above it.
  const others = cells.map((row) => row.slice(1))
  if (widths.length > 2 && widths[0]! > widths.at(-1)!) {
    const below = columns(others, width - 2).split('\n')
    return cells.map(([first], i) => `${first}\n  ${below[i]}`).join('\n')
  }
  return withLast((row) => `${line(row)}\n${' '.repeat(BELOW)}`, BELOW)

  function withLast(start: (row: readonly string[]) => string, indent: number): string {
    const room = Math.min(width - indent, PROSE)
    return cells
      .map((row) => {
        const last = row.length === widths.length ? row.at(-1)! : ''
        const rest = row.slice(0, widths.length - 1)
        return last === '' ? line(rest) : `${start(rest)}${wrap(last, room, ' '.repeat(indent))}`
      })
      .join('\n')
  }
}

/** Each as long as its amount, the largest as long as there is room. */
function bars(rows: readonly (readonly [string, number, string])[], width: number): string {
  const longest = (texts: readonly string[]) => Math.max(...texts.map((text) => text.length))
  const texts = longest(rows.map(([label]) => label)) + longest(rows.map(([, , words]) => words)) + 4
  const room = Math.max(4, Math.min(BAR, width - texts))
  const most = Math.max(...rows.map(([, amount]) => amount), Number.MIN_VALUE)
  const bar = (amount: number) => '#'.repeat(Math.round((Math.max(0, amount) / most) * room)).padEnd(room)
  return columns(
    rows.map(([label, amount, words]) => [label, bar(amount), words]),
    Number.POSITIVE_INFINITY,
  )
}

/** No control character reaches the terminal, whoever wrote the text: an escape sequence could rewrite the screen. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}

/** `1 ticket`, `3 tickets`, `1,024 tickets`. */
export function count(n: number, noun: string): string {
  return `${thousands(n)} ${noun}${n === 1 ? '' : 's'}`
}

export function thousands(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** Seconds in the two largest units that matter: `45s`, `3m 20s`, `2h 5m`, `6d 3h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  return whole === 0 ? '0s' : prettyMilliseconds(whole * 1000, { unitCount: 2, hideSeconds: whole >= 3600 })
}

/** `23.4 ms`. */
export function milliseconds(ms: number): string {
  return `${(Math.round(ms * 10) / 10 || 0).toFixed(1)} ms`
}

/** `512 B`, `12 KiB`, `3.4 MiB`. */
export const bytes = (n: number): string =>
  prettyBytes(n, { binary: true, locale: 'en', maximumFractionDigits: n < 1024 * 1024 ? 0 : 1 })
