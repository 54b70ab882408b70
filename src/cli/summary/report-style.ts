/** The style sheet of the report. Its digest is in the page's Content-Security-Policy, which allows no other style. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --text: #1c1f23; --quiet: #5b6169; --line: #e3e4e1; --track: #d9dbd7;
  --dns: #8b7fc7; --tcp: #d99a2b; --full: #bd3f24; --full-line: #8f2c16; --resumed: #22784a; --wait: #a9c3dd;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1b1e23; --text: #e6e7e9; --quiet: #a0a6ae; --line: #2d3138; --track: #3a3f47;
    --dns: #a79be6; --tcp: #e0ab4a; --full: #e2694c; --full-line: #97371f; --resumed: #46b57b; --wait: #4d6a88;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.5rem 3rem; max-width: 84rem;
  background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { margin: 0; font-size: 1.5rem; line-height: 1.3; font-weight: 600; overflow-wrap: anywhere; }
h1 code { font: 600 0.92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.when, footer, .note { color: var(--quiet); }
.when { margin: 0.25rem 0 0; }
.sentence { margin: 1.25rem 0 0; font-size: 1.1rem; overflow-wrap: anywhere; }
.reasons { margin: 0.35rem 0 0; padding-left: 1.3rem; overflow-wrap: anywhere; }
.note { margin: 0.35rem 0 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.75rem; margin: 1.25rem 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 0.6rem 0.9rem; }
.figures dt { color: var(--quiet); font-size: 0.87rem; }
.figures dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; margin: 0 0 0.75rem; padding: 0; list-style: none; font-size: 0.9rem; }
.legend li { display: flex; align-items: center; gap: 0.45rem; }
.legend svg { width: 22px; height: 12px; }
.definitions { position: absolute; width: 0; height: 0; }
details { margin: 0 0 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
summary { padding: 0.7rem 0.9rem; cursor: pointer; overflow-wrap: anywhere; }
summary:focus-visible { outline: 2px solid var(--resumed); outline-offset: 2px; border-radius: 8px; }
summary h2 { display: inline; margin: 0 0.5rem 0 0.15rem; font-size: 1.02rem; font-weight: 600; }
summary span { color: var(--quiet); font-size: 0.92rem; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; font-size: 0.87rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22rem 0.5rem; border-top: 1px solid var(--line); text-align: right; vertical-align: top; }
th { color: var(--quiet); font-weight: 500; width: 4.3rem; white-space: nowrap; vertical-align: bottom; }
th.axis { width: auto; text-align: left; padding: 0 0.5rem; }
th.words, td.words { text-align: left; width: 11.5rem; overflow-wrap: anywhere; }
td.program { color: var(--quiet); }
.one-process .program { display: none; }
td small { display: block; color: var(--quiet); font-size: 0.93em; line-height: 1.35; }
td b { font-weight: 600; }
tr.full b, tr.failed b { color: var(--full); }
tr.resumed b { color: var(--resumed); }
tbody tr:hover { background: var(--page); }
td.bar { padding: 0 0.5rem; }
td.bar svg { display: block; width: 100%; height: 29px; }
th.axis svg { display: block; width: 100%; height: 18px; overflow: visible; }
th.axis text { fill: var(--quiet); font-size: 11px; }
.track { fill: var(--track); }
tr.failed .track { fill: var(--full); }
.dns { fill: var(--dns); }
.tcp { fill: var(--tcp); }
.full { fill: url(#hatch); }
.resumed { fill: var(--resumed); }
.wait { fill: var(--wait); }
.hatch-ground { fill: var(--full); }
.hatch-line { fill: var(--full-line); }
.grid { fill: url(#grid); }
.grid-line { fill: var(--line); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
footer { margin-top: 1.5rem; font-size: 0.87rem; }
@media (max-width: 66rem) {
  .program { display: none; }
  th.words, td.words { width: 10rem; }
}
@media (max-width: 46rem) {
  body { padding: 1.25rem 0.9rem 2rem; }
  .figures { grid-template-columns: repeat(2, 1fr); }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody { display: block; }
  tbody tr { display: grid; grid-template-columns: repeat(5, auto); justify-content: space-between; gap: 0 0.6rem; padding: 0.45rem 0.9rem; border-top: 1px solid var(--line); }
  td { display: block; border: 0; padding: 0; text-align: left; }
  td[data-label]::before { content: attr(data-label); display: block; color: var(--quiet); font-size: 0.9em; }
  td.bar { grid-column: 1 / -1; grid-row: 1; padding: 0; }
  td.words { grid-column: 1 / -1; width: auto; }
  td small { display: inline; margin-left: 0.4rem; }
}
@media print { body { max-width: none; } details { break-inside: auto; } tr { break-inside: avoid; } }
`
