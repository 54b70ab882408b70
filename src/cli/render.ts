import prettyBytes from 'pretty-bytes'
import prettyMilliseconds from 'pretty-ms'

/** The output of a command, in both forms. Nothing else writes to stdout. */
export interface Report {
  /** The stable form. Its shape is documented at the command. */
  readonly json: unknown
  /** The form for people: blocks below each other. */
  readonly text: readonly Block[]
  /** 1 if the command worked and the answer is no (`doctor`). */
  readonly exitCode?: 0 | 1
}

/** A paragraph, labels with values, or a table. The first row of most tables is the header. */
export type Block =
  | string
  | { readonly pairs: readonly (readonly [label: string, value: string])[] }
  | { readonly table: readonly (readonly string[])[] }
  /** A bar chart: amounts, each with a label and a text. */
  | { readonly bars: readonly (readonly [label: string, amount: number, words: string])[] }
  /** Output for another program, printed unchanged. */
  | { readonly verbatim: string }

/** The maximum width of prose: columns. */
export const PROSE = 80

/** The minimum width of a table's last column. If less is available, it moves below the others. */
const LAST_COLUMN = 24

/** Its indentation there. */
const BELOW = 6

/** The length of the longest bar: characters. */
const BAR = 24

/**
 * Renders plain text: no colours, columns aligned with spaces, a line feed at the end.
 * @param width of the terminal, in columns; if omitted, paragraphs and tables are not wrapped
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

/** Shows progress on stderr, in one line that the next one replaces. Only on a terminal. */
export function showProgress(words: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${words}\x1b[K`)
}

/** The width of the stream's terminal in columns, or `COLUMNS`, which man(1) also reads. Undefined for a file. */
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

/** Rewraps paragraphs. Indented and empty lines are kept. The lines between them form one paragraph. */
function prose(text: string, width: number): string {
  if (width === Number.POSITIVE_INFINITY) return text
  const paragraphs = text.replace(/(?<=\S)\n(?=\S)/g, ' ').split('\n')
  return paragraphs.map((one) => (one.startsWith(' ') ? one : wrap(one, Math.min(width, PROSE)))).join('\n')
}

/** Wraps at spaces only, because a path that is split cannot be copied. */
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
  // The longest text of each row gets separate lines: below the rest, or above it.
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

/** Draws each bar in proportion to its amount. The largest takes the available width. */
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

/** Replaces control characters, whoever wrote the text: an escape sequence could rewrite the screen. */
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

/** Seconds in at most two units: `45s`, `3m 20s`, `2h 5m`, `6d 3h`. */
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
