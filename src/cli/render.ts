/** What a command has to say, in both forms; nothing else writes to stdout. */
export interface Report {
  /** The stable form. Its shape is in the doc comment of the command. */
  readonly json: unknown
  /** The form for people, one block under the other. */
  readonly text: readonly Block[]
  /** 1 where the command did its work and the answer is no (`doctor`). */
  readonly exitCode?: 0 | 1
}

/** A paragraph, labels with values, or a table whose first row is its head. */
export type Block =
  | string
  | { readonly pairs: readonly (readonly [label: string, value: string])[] }
  | { readonly table: readonly (readonly string[])[] }
  /** For another program to read: printed as it is. */
  | { readonly verbatim: string }

/** Plain text, no colours, columns aligned by spaces; ends with a line feed. */
export function renderText(blocks: readonly Block[]): string {
  return blocks.map((block) => `${renderBlock(block)}\n`).join('')
}

export function renderJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** The one line that a failed call prints to stderr. */
export function renderError(message: string): string {
  return `ticketkeep: ${printable(message).replaceAll('\n', ' ')}\n`
}

function renderBlock(block: Block): string {
  if (typeof block === 'string') return printable(block)
  if ('verbatim' in block) return block.verbatim
  return 'pairs' in block ? columns(block.pairs) : columns(block.table)
}

function columns(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((cell) => printable(cell).replaceAll('\n', ' ')))
  const widest = (column: number) => Math.max(...cells.map((row) => row[column]?.length ?? 0))
  const widths = Array.from({ length: Math.max(0, ...cells.map((row) => row.length)) }, (_, i) => widest(i))
  return cells
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** No control character reaches the terminal, whoever wrote the text: an escape sequence could rewrite the screen. */
function printable(text: string): string {
  return text.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}

/** `1 ticket`, `3 tickets`, `1,024 tickets`. */
export function count(n: number, noun: string): string {
  return `${thousands(n)} ${noun}${n === 1 ? '' : 's'}`
}

export function thousands(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** Seconds in the two largest units that matter: `45 s`, `3 min`, `2 h 5 min`, `6 d 3 h`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  const min = Math.floor(s / 60)
  if (min < 60) return `${min} min`
  const hours = Math.floor(min / 60)
  if (hours < 24) return min % 60 ? `${hours} h ${min % 60} min` : `${hours} h`
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`
}

/** `23.4 ms`. */
export function milliseconds(ms: number): string {
  return `${(Math.round(ms * 10) / 10 || 0).toFixed(1)} ms`
}

/** `512 B`, `12 KiB`, `3.4 MiB`. */
export function bytes(n: number): string {
  if (n < 1024) return `${n} B`
  return n < 1024 * 1024 ? `${Math.round(n / 1024)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`
}
