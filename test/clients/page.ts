import type { Result } from './cell.ts'
import type { Client, Route } from './client.ts'
import { CLIENTS } from './clients.ts'
import { explain, isResumed } from './explained.ts'

const ROUTES: Record<Route, string> = {
  direct: 'directly',
  connect: 'by a `CONNECT` proxy',
  secure: 'by an `https://` proxy',
}

/** `docs/clients.md`. */
export function renderPage(results: readonly Result[]): string {
  const ofClient = ({ name }: Client) => results.filter(({ client }) => client === name)
  const seen = CLIENTS.filter((client) => ofClient(client).length > 0)
  const rows = seen.filter(({ isNative }) => !isNative).map(ofClient)
  const natives = seen.filter(({ isNative }) => isNative).map(ofClient)
  const reasons = [...new Set(rows.flat().map(reasonOf))].filter((reason) => reason !== undefined)
  const faults = results.filter(({ fault }) => fault).length
  return `# Clients

<!-- Written by \`npm run test:clients\`. What it says is in test/clients. -->

These are real clients, unchanged, and real servers of Debian 12 and npm. Each client was run once without ticketkeep. Then it
was run twice with it, as two processes with one store. Its output and exit status were the same each time${faults ? `, but for ${faults} of the cells` : ''}.

The table names the servers whose connections the second process resumed. It resumed each one, over TLS 1.2 and TLS 1.3, if
nothing else is said. The server's own answer (ServerHello) shows it. The logs of nginx and HAProxy say the same.

These are ${results.length} cells. On Node 24 a client of HTTPS met all servers. On the other Nodes, and by a proxy, it met nginx.
Debian has no MongoDB. A small program of Node's stands in for it.

    npm run test:clients -- [--client NAME,...] [--server NAME,...] [--node 20,22,24,26]

| client | release | ${Object.values(ROUTES).join(' | ')} | Node | why not |
|---|---|---|---|---|---|---|
${rows.map((own) => rowOf(own, reasons)).join('\n')}

## Why not

${reasons.map((reason, i) => `${i + 1}. ${reason}`).join('\n')}

## What is not Node

\`NODE_OPTIONS\` reaches Node alone. These connect, print and exit as without it. ticketkeep resumes nothing for them.

${natives.map(([one]) => `* ${one!.client}, release ${one!.release}`).join('\n')}

The library can be loaded in Bun and in Deno. Its functions connect there as their own do, and resume nothing.
`
}

function rowOf(results: readonly Result[], reasons: readonly string[]): string {
  const [{ client, release }] = results as [Result]
  const cells = (Object.keys(ROUTES) as Route[]).map((route) =>
    serversOf(results.filter((result) => result.route === route)),
  )
  const nodes = distinct(results, 'node').sort().join(', ')
  const notes = reasons.flatMap((reason, i) =>
    results.some((one) => reasonOf(one) === reason) ? [i + 1] : [],
  )
  return `| ${[client, release ?? '', ...cells, nodes, notes.join(', ')].join(' | ')} |`
}

/** The servers whose connections were resumed, and which connections if not all. */
function serversOf(results: readonly Result[]): string {
  if (results.length === 0) return ''
  const names = distinct(results, 'server').flatMap((name) => {
    const all = results.filter(({ server }) => server === name)
    const resumed = all.filter(isResumed)
    if (resumed.length === 0) return []
    if (resumed.length === all.length) return [name]
    return [`${name} (${[...onlyOf(resumed, all, 'version'), ...onlyOf(resumed, all, 'node')].join(', ')})`]
  })
  return names.join(', ') || 'none'
}

/** What the resumed connections have in common that not all connections have. */
function onlyOf(some: readonly Result[], all: readonly Result[], what: 'version' | 'node'): string[] {
  const values = distinct(some, what).sort()
  if (values.length === distinct(all, what).length) return []
  return [`${what === 'node' ? 'Node ' : ''}${values.join(', ').replaceAll('TLSv', 'TLS ')}`]
}

const distinct = (results: readonly Result[], what: 'server' | 'version' | 'node'): string[] => [
  ...new Set(results.map((result) => result[what])),
]

const reasonOf = (result: Result) => (isResumed(result) ? undefined : explain(result))
