import type { Bar, Result, Row } from './results.ts'

/** A figure as it was made. */
export interface Made {
  readonly title: string
  readonly result: Result
}

/** The page of results, in Markdown. */
export function renderPage(figures: readonly Made[], machine: string): string {
  const head = `# What ticketkeep costs, and what it saves

Made by \`npm run bench\`. Each value is the median of paired runs that took turns, with its quartiles; times are
taken from outside the process, from before its start to after its exit (the first byte: by the program, from the
start of its process). Times and CPU are ratios, with ticketkeep over without; memory is MiB more. "without" and
"with" are the medians of the first measure.

${machine}
`
  return [head, ...figures.map(renderFigure)].join('\n')
}

function renderFigure({ title, result: { rows, notes = [] } }: Made): string {
  const parts = [`## ${title}\n`]
  if (rows.length > 0) parts.push(renderTable(rows))
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}\n`).join(''))
  return parts.join('\n')
}

/** A line for each thing that was done, a column for each measure of it. */
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
  share: (value) => `${Math.round(value * 100)} %`,
  MiB: (value) => `${value >= 0 ? '+' : ''}${value.toFixed(1)}`,
}

/** What was to be reached, and whether it was. */
function asked({ asked, kind, measure, value: { median } }: Row, name: boolean): string[] {
  if (!asked) return []
  const { atMost, atLeast } = asked
  const met = (atMost === undefined || median <= atMost) && (atLeast === undefined || median >= atLeast)
  const bound = atMost === undefined ? `≥ ${SHOW[kind](atLeast!)}` : `≤ ${SHOW[kind](atMost)}`
  return [`${name ? `${measure} ` : ''}${bound}: ${met ? 'yes' : '**no**'}`]
}

const WIDTH = 720
const ROW = 40
const BAR = 14
const LEFT = 90
const COLOURS = { without: '#9aa5b1', with: '#2f6f4f' }

/** A pair of bars for each round-trip time, TLS 1.2 above TLS 1.3. */
export function renderChart(figures: readonly Made[]): string {
  const bars = figures.flatMap(({ result }) => result.bars ?? [])
  const groups = [...new Set(bars.map(({ group }) => group))]
  const longest = Math.max(1, ...bars.map(({ without, with: ours }) => Math.max(without, ours)))
  const scale = (WIDTH - LEFT - 80) / longest
  const body: string[] = []
  let y = 56
  for (const group of groups) {
    body.push(text(16, y, group.replace('TLSv', 'TLS '), 'font-weight="bold"'))
    y += 12
    for (const bar of bars.filter((one) => one.group === group)) {
      body.push(...renderPair(bar, y, scale))
      y += ROW
    }
    y += 22
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="12">
<title>Wall time of one https.get by round-trip time, without and with ticketkeep</title>
<rect width="${WIDTH}" height="${y}" fill="#ffffff"/>
${text(16, 24, 'One https.get, a whole process: wall time in ms by round-trip time', 'font-size="14" font-weight="bold"')}
${legend(WIDTH - 250, 44)}
${body.join('\n')}
</svg>
`
}

function renderPair({ label, without, with: ours }: Bar, y: number, scale: number): string[] {
  const bar = (at: number, value: number, colour: string) => [
    `<rect x="${LEFT}" y="${at}" width="${(value * scale).toFixed(1)}" height="${BAR}" fill="${colour}"/>`,
    text(LEFT + value * scale + 6, at + 11, `${Math.round(value)}`),
  ]
  return [
    text(16, y + 19, label),
    ...bar(y, without, COLOURS.without),
    ...bar(y + BAR + 2, ours, COLOURS.with),
  ]
}

const legend = (x: number, y: number) =>
  [
    `<rect x="${x}" y="${y - 10}" width="12" height="12" fill="${COLOURS.without}"/>`,
    text(x + 18, y, 'without'),
    `<rect x="${x + 80}" y="${y - 10}" width="12" height="12" fill="${COLOURS.with}"/>`,
    text(x + 98, y, 'with ticketkeep, later run'),
  ].join('\n')

const text = (x: number, y: number, content: string, more = '') =>
  `<text x="${x.toFixed(1)}" y="${y}" fill="#1f2933"${more && ` ${more}`}>${content}</text>`
