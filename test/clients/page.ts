import type { Result } from './cell.ts'
import type { Route } from './client.ts'
import { CLIENTS } from './clients.ts'
import { explain, isResumed } from './explained.ts'
import { SERVERS } from './servers.ts'

const ROUTES: Record<Route, string> = {
  direct: 'directly',
  connect: '`CONNECT` proxy',
  secure: '`https://` proxy',
}

/** `docs/clients.md`. */
export function renderPage(results: readonly Result[]): string {
  const reasons = [...new Set(results.map(reasonOf).filter((reason) => reason !== undefined))]
  const rows = CLIENTS.flatMap(({ name, isNative }) => {
    const own = results.filter(({ client }) => client === name)
    return own.length === 0 ? [] : [{ isNative, line: rowOf(own, reasons) }]
  })
  const table = (native: boolean) =>
    [
      `| client | release | ${Object.values(ROUTES).join(' | ')} | Node | why not |`,
      '|---|---|---|---|---|---|---|',
      ...rows.filter((row) => Boolean(row.isNative) === native).map(({ line }) => line),
    ].join('\n')
  const standIns = SERVERS.filter(({ standIn }) => standIn).map(({ name }) => name)
  const faults = results.filter(({ fault }) => fault).length
  return `# Clients

<!-- Written by \`npm run test:clients\`. Edit test/clients. -->

Real clients, unchanged, against real servers of Debian 12 and npm. Each was run once without ticketkeep, and then twice with it in
\`NODE_OPTIONS\`, as separate processes with one store. Its output and its exit status were the same each time${faults ? `, but for ${faults} cells` : ''}.

The table names the servers whose connections the second process resumed: every one of them, over TLS 1.2 and TLS 1.3. The server's own
answer (ServerHello) shows what was resumed. The logs of nginx and HAProxy say the same.

These are ${results.length} cells. On Node 24 each client of HTTPS met all servers. On the other Nodes, and through proxies, it met nginx.
For MongoDB there is ${standIns.join()}, a small program of Node's, since Debian has no MongoDB.

    npm run test:clients -- [--client NAME,...] [--server NAME,...] [--node 20,22,24,26]

${table(false)}

## Why not

${reasons.map((reason, i) => `${i + 1}. ${reason}`).join('\n')}

## What is not Node

\`NODE_OPTIONS\` reaches Node alone. These run with it as they run without it: they connect, print the same and resume nothing.

${table(true)}

The functions of the library (\`connect\`, \`TicketAgent\`, \`ticketConnector\`, \`resumable\`) connect in Bun and in Deno, and resume
nothing there.
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

/** The servers whose connections were resumed, and of which of them only some. */
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

/** What those that were resumed have in common, where not all have it. */
function onlyOf(some: readonly Result[], all: readonly Result[], what: 'version' | 'node'): string[] {
  const values = distinct(some, what)
  if (values.length === distinct(all, what).length) return []
  return [`${what === 'node' ? 'Node ' : ''}${values.join(', ').replaceAll('TLSv', 'TLS ')}`]
}

const distinct = (results: readonly Result[], what: 'server' | 'version' | 'node'): string[] => [
  ...new Set(results.map((result) => result[what])),
]

const reasonOf = (result: Result) => (isResumed(result) ? undefined : explain(result))
