import type { Cell, Result, Row } from './results.ts'

/** A measured figure. */
export interface Made {
  readonly title: string
  readonly result: Result
}

/** The page of results, in Markdown. */
export function renderPage(figures: readonly Made[], machine: string): string {
  const head = `# What ticketkeep costs, and what it saves

Made by \`npm run bench\`. Ways to do the same thing take turns. A ratio is with ticketkeep over without: the median of
the ratios of all pairs, with their quartiles. Times and CPU are those of whole processes, from before the start to after
the exit, unless a measure says otherwise. Memory is the highest resident set, and its figure is MiB more. "without" and
"with" are medians of the first measure in a line. The key is in a variable, and nothing is precompiled, unless a line
says so. Programs trust the server's CA by \`NODE_EXTRA_CA_CERTS\`. "asked" is the bound that was set before.

${machine}
`
  const cells = figures.flatMap(({ result }) => result.cells ?? [])
  return [head, renderSummary(cells), ...figures.map(renderFigure)].join('\n')
}

/** The table of the README. */
function renderSummary(cells: readonly Cell[]): string {
  const lines = [...new Set(cells.map(({ line }) => line))]
  const columns = [...new Set(cells.map(({ column }) => column))]
  const ratio = (line: string, column: string) =>
    cells.find((cell) => cell.line === line && cell.column === column)?.ratio.toFixed(2) ?? ''
  const rows = lines.map(
    (line) => `| ${[line, ...columns.map((column) => ratio(line, column))].join(' | ')} |\n`,
  )
  const title = '## In short: one https.get of a later run, wall time, Node 24'
  return `${title}\n\n| ${['round trip', ...columns].join(' | ')} |\n|---|${'--:|'.repeat(columns.length)}\n${rows.join('')}`
}

function renderFigure({ title, result: { rows, notes = [] } }: Made): string {
  const parts = [`## ${title}\n`]
  if (rows.length > 0) parts.push(renderTable(rows))
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}\n`).join(''))
  return parts.join('\n')
}

/** One row for each thing that was done, one column for each measure. */
function renderTable(rows: readonly Row[]): string {
  const measures = [...new Set(rows.map(({ measure }) => measure))]
  const things = [...new Set(rows.map(({ what }) => what))]
  const lines = things.map((what) => {
    const of = rows.filter((row) => row.what === what)
    const first = of[0]!
    const results = measures.map((measure) =>
      of
        .filter((row) => row.measure === measure)
        .map(value)
        .join(),
    )
    const bounds = of.flatMap((row) => asked(row, measures.length > 1)).join('<br>')
    return `| ${[what, first.without, first.with, ...results, first.runs, bounds].join(' | ')} |\n`
  })
  const heads = ['', 'without', 'with', ...measures, 'runs', 'asked']
  return `| ${heads.join(' | ')} |\n|---|${'--:|'.repeat(heads.length - 2)}---|\n${lines.join('')}`
}

function value({ kind, value: { median, low, high } }: Row): string {
  const show = SHOW[kind]
  return low === high ? `**${show(median)}**` : `**${show(median)}** (${show(low)}–${show(high)})`
}

const SHOW: Record<Row['kind'], (value: number) => string> = {
  ratio: (value) => value.toFixed(3),
  share: (value) => `${Number((value * 100).toFixed(1))} %`,
  MiB: (value) => `${value >= 0 ? '+' : ''}${value.toFixed(1)}`,
  count: (value) => value.toFixed(0),
  ms: (value) => `${value.toFixed(value < 10 ? 2 : 0)} ms`,
}

/** The target, and whether it was reached. */
function asked({ asked, kind, measure, value: { median } }: Row, name: boolean): string[] {
  if (!asked) return []
  const { atMost, atLeast } = asked
  const met = (atMost === undefined || median <= atMost) && (atLeast === undefined || median >= atLeast)
  const bound = atMost === undefined ? `≥ ${SHOW[kind](atLeast!)}` : `≤ ${SHOW[kind](atMost)}`
  return [`${name ? `${measure} ` : ''}${bound}: ${met ? 'yes' : '**no**'}`]
}
