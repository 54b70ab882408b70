// The page of `ticketkeep run --report`: one file without scripts, which loads nothing else. Text from processes and
// the command line is always escaped, and the page's Content-Security-Policy blocks all scripts.
import { createHash } from 'node:crypto'
import { printable, thousands } from '../render.ts'
import { STYLE } from './report-style.ts'
import { handshakeMs, median, tcpMs } from './saved-time.ts'
import type { Explained, HostConnections, HostSummary, Summary } from './tally.ts'
import { spellHost, spellTime, summaryInWords, whyNotResumed } from './words.ts'

export interface ReportContent {
  readonly command: readonly string[]
  /** UNIX milliseconds. */
  readonly startedAt: number
  readonly hosts: readonly HostConnections[]
  readonly summary: Summary
}

/** The maximum number of rows, since a page with more is slow to open. The figures count all connections. */
const MAX_ROWS = 5_000

/** With more rows than this, only the first host is expanded. */
const MANY_ROWS = 300

/** Markup that is already escaped. */
class Html {
  constructor(readonly text: string) {}
}

/** A template tag that escapes every value except `Html`. */
function html(parts: TemplateStringsArray, ...values: (string | number | Html | readonly Html[])[]): Html {
  return new Html(parts.map((part, i) => part + (i < values.length ? escaped(values[i]!) : '')).join(''))
}

function escaped(value: string | number | Html | readonly Html[]): string {
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map(escaped).join('')
  return printable(String(value)).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`)
}

const policy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'`

export function reportPage({ command, startedAt, hosts, summary }: ReportContent): string {
  const { sentence, reasons, notes } = summaryInWords(summary)
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TLS connections of ${command[0] ?? ''}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<header>
<h1>TLS connections of <code>${command[0] ?? ''}</code></h1>
<p class="when"><time datetime="${new Date(startedAt).toISOString()}">${new Date(startedAt).toUTCString()}</time></p>
</header>
<main>
<p class="sentence">${capital(sentence)}${reasons.length > 0 ? ':' : '.'}</p>
${reasons.length > 0 ? html`<ul class="reasons">${reasons.map((reason) => html`<li>${reason}</li>`)}</ul>\n` : ''}${notes.map((note) => html`<p class="note">${capital(note)}.</p>\n`)}${summary.connections > 0 ? figures(summary) : ''}
${summary.connections > 0 ? sections(hosts, summary) : ''}
</main>
<footer>
<p>Times are in milliseconds, as the programs saw them: a program that is busy sees an event late.
The first byte is looked for every 2 ms. A dash means that it was not seen.</p>
</footer>
</body>
</html>
`
  return page.text
}

function figures({ connections, resumed, savedMs, kept }: Summary): Html {
  const tile = (label: string, value: string) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`
  return html`<dl class="figures">
${tile('connections', thousands(connections))}
${tile('resumed', `${Math.floor((100 * resumed) / connections)} %`)}
${tile('handshakes saved', savedMs !== null && savedMs >= 1 ? `about ${spellTime(savedMs)}` : 'not known')}
${tile('tickets stored', thousands(kept))}
</dl>`
}

function sections(hosts: readonly HostConnections[], { hosts: summaries, connections }: Summary): Html {
  const scale = scaleOf(hosts)
  let rows = 0
  const parts = hosts.map(({ connections: all }, i) => {
    const shown = all.slice(0, Math.max(0, MAX_ROWS - rows))
    rows += shown.length
    return section(summaries[i]!, all, shown, scale, i === 0 || connections <= MANY_ROWS)
  })
  const cut =
    connections > rows ? html`<p class="note">The first ${thousands(rows)} connections are shown.</p>` : ''
  return html`${patterns(scale)}
${LEGEND}
${cut}
${parts}`
}

function section(
  host: HostSummary,
  all: readonly Explained[],
  shown: readonly Explained[],
  scale: Scale,
  isOpen: boolean,
): Html {
  return html`<details${new Html(isOpen ? ' open' : '')}>
<summary><h2>${spellHost(host)}</h2> <span>${hostInWords(host, all)}</span></summary>
<table role="table"${new Html(areOfOneProcess(all) ? ' class="one-process"' : '')}>
<thead role="rowgroup"><tr role="row">
<th role="columnheader" scope="col">start</th><th role="columnheader" scope="col" class="axis">${axis(scale)}</th>
<th role="columnheader" scope="col">DNS</th><th role="columnheader" scope="col">TCP</th>
<th role="columnheader" scope="col">TLS</th><th role="columnheader" scope="col">first byte</th>
<th role="columnheader" scope="col" class="words">handshake</th><th role="columnheader" scope="col" class="words program">program</th>
</tr></thead>
<tbody role="rowgroup">
${shown.map((one) => row(one, scale, host.notResumed.length > 1))}</tbody>
</table>
</details>
`
}

const areOfOneProcess = (all: readonly Explained[]) => all.every(({ line }) => line.pid === all[0]!.line.pid)

/** `12 connections, 11 resumed. Median handshake: 107 ms full, 54 ms resumed. Not resumed: nothing was stored yet.` */
function hostInWords(host: HostSummary, all: readonly Explained[]): string {
  const of = (handshake: 'full' | 'resumed') => {
    const ms = median(
      all.filter(({ line }) => line.handshake === handshake).map(({ line }) => handshakeMs(line)),
    )
    return ms === undefined ? [] : [`${spellTime(ms)} ${handshake}`]
  }
  const medians = [...of('full'), ...of('resumed')].join(', ')
  const why = whyNotResumed(host)
  return [
    `${thousands(host.resumed)} of ${thousands(host.connections)} resumed.`,
    medians && `Median handshake: ${medians}.`,
    why && `Not resumed: ${why}.`,
  ]
    .filter(Boolean)
    .join(' ')
}

/** The period of time that the full width of the bars shows. */
interface Scale {
  /** Milliseconds, by the clock of the connections. */
  readonly start: number
  /** Milliseconds. */
  readonly length: number
}

function scaleOf(hosts: readonly HostConnections[]): Scale {
  let start = Number.POSITIVE_INFINITY
  let end = 0
  for (const { connections } of hosts) {
    for (const { line } of connections) {
      start = Math.min(start, line.times.called)
      end = Math.max(end, endOf(line.times))
    }
  }
  return { start, length: Math.max(1, end - start) }
}

type Times = Explained['line']['times']

const endOf = ({
  called,
  lookedUp = called,
  attempted = called,
  connected = called,
  secure = called,
  firstByte = called,
}: Times) => Math.max(called, lookedUp, attempted, connected, secure, firstByte)

/** @param isExplained whether to show the reason, because it differs from the one stated above the rows */
function row({ line, reason }: Explained, scale: Scale, isExplained: boolean): Html {
  const { times, handshake, protocol } = line
  const { called, lookedUp, secure, firstByte } = times
  const cell = (label: string, ms: number | undefined) =>
    html`<td role="cell" data-label="${label}">${ms === undefined ? '–' : ms.toFixed(1)}</td>`
  const result = line.isProgramsOwn ? "resumed, the program's own session" : handshake
  return html`<tr role="row" class="${handshake}">
<td role="cell" data-label="start">${(called - scale.start).toFixed(0)}</td><td role="cell" class="bar">${bar(line, scale)}</td>
${cell('DNS', lookedUp && lookedUp - called)}${cell('TCP', tcpMs(line))}${cell('TLS', handshakeMs(line))}${cell('first byte', firstByte && firstByte - secure!)}
<td role="cell" class="words"><b>${result}</b> ${protocol}${reason && isExplained ? html`<small>${reason.words}</small>` : ''}</td><td role="cell" class="words program">${line.program} ${line.pid}</td>
</tr>
`
}

/** The minimum visible width, as a fraction of the full width. */
const LEAST_WIDTH = 0.004

/** Decorative: the cells next to it contain the same data. */
function bar({ times, handshake }: Explained['line'], { start, length }: Scale): Html {
  const { called, lookedUp = called, attempted = lookedUp, connected, secure, firstByte } = times
  const end = endOf(times)
  const width = Math.max(LEAST_WIDTH, (end - called) / length)
  const left = Math.min((called - start) / length, 1 - width)
  const at = (time: number) => left + (end === called ? 0 : (width * (time - called)) / (end - called))
  const part = (name: string, from: number, to: number | undefined) =>
    to === undefined || to <= from
      ? new Html('')
      : html`<rect class="${name}" x="${share(at(from))}" width="${share(at(to) - at(from))}" y="8" height="13"/>`
  const parts = [
    part('dns', called, lookedUp),
    part('tcp', attempted, connected),
    part(handshake, connected ?? called, secure),
    part('wait', secure ?? end, firstByte),
  ]
  return html`<svg aria-hidden="true"><rect class="grid" width="100%" height="100%"/><rect class="track" x="${share(left)}" width="${share(width)}" y="12" height="5"/>${parts}</svg>`
}

const share = (of: number) => `${Math.round(of * 1e4) / 100}%`

/** The distance between the marks of the axis: a round number of milliseconds. */
function stepOf({ length }: Scale): number {
  const least = length / 6
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= least)!
}

function axis(scale: Scale): Html {
  const marks: Html[] = []
  for (let at = 0; at < scale.length * 0.92; at += stepOf(scale)) {
    const label =
      scale.length >= 5_000 ? `${Number((at / 1000).toFixed(3))} s` : `${Number(at.toFixed(1))} ms`
    marks.push(html`<text x="${share(at / scale.length)}" dx="3" y="12">${label}</text>`)
  }
  return html`<span class="hidden">when</span><svg aria-hidden="true">${marks}<rect class="grid" width="100%" height="100%"/></svg>`
}

/** Full handshakes are hatched, so that they differ from resumed ones without colour. The grid continues the axis. */
const patterns = (scale: Scale) => html`<svg class="definitions" aria-hidden="true"><defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/><rect class="hatch-line" width="2" height="6"/></pattern>
<pattern id="grid" width="${stepOf(scale) / scale.length}" height="1"><rect class="grid-line" width="1" height="99"/></pattern>
</defs></svg>`

const LEGEND = html`<ul class="legend" aria-label="Colours of the bars">${[
  ['dns', 'DNS'],
  ['tcp', 'TCP'],
  ['full', 'full handshake'],
  ['resumed', 'resumed handshake'],
  ['wait', 'until the first byte'],
].map(
  ([name = '', words = '']) =>
    html`<li><svg aria-hidden="true"><rect class="${name}" width="100%" height="100%"/></svg>${words}</li>`,
)}</ul>`

const capital = (sentence: string) => sentence.charAt(0).toUpperCase() + sentence.slice(1)
