import type { Result } from './cell.ts'

interface Explanation {
  /** Undefined: any. */
  readonly client?: RegExp
  readonly server?: RegExp
  readonly node?: readonly string[]
  readonly version?: string
  readonly route?: string
  /** What ticketkeep has said in this run, if it says anything. */
  readonly says?: RegExp
  readonly why: string
}

/** Every kind of connection that does not resume, with the reason. */
const EXPLANATIONS: readonly Explanation[] = [
  {
    server: /^Caddy$/,
    version: 'TLSv1.2',
    says: /^not kept: the session has no extended master secret/,
    why: 'Caddy of Debian 12 is built with Go 1.19, whose TLS 1.2 has no extended master secret (RFC 7627). Such sessions are not kept. Go has it since 1.21.',
  },
  {
    client: /^@grpc\/grpc-js$|^mysql2 with verifyIdentity$/,
    says: /^the secureContext was made before ticketkeep could see it$/,
    why: 'The client makes its `secureContext` before the first TLS connection of the process. ticketkeep waits for that connection, so it does not know what such a context trusts.',
  },
  {
    client: /^mysql2$/,
    says: /^the program checks the identity itself/,
    why: "By default mysql2 replaces Node's check of the server's name by one that accepts every name.",
  },
  {
    client: /^mariadb$/,
    says: /^the call names no server/,
    why: 'With `ssl: true` the connector tells Node no name to verify. It checks the name itself later. With `ssl: { servername }` it resumes.',
  },
  { server: /^PostgreSQL$/, why: 'PostgreSQL gives no tickets.' },
  {
    client: /^mongodb$/,
    version: 'TLSv1.3',
    why: 'The driver makes two connections, and over TLS 1.3 one of two was resumed. The stand-in gives two tickets in a full handshake, and none as it resumes. The first process has used one of the two itself.',
  },
  {
    server: /^OpenLDAP$/,
    version: 'TLSv1.2',
    says: /^not kept: the session has no ticket/,
    why: 'slapd of Debian 12 gives no tickets.',
  },
  { server: /^OpenLDAP$/, version: 'TLSv1.3', why: 'slapd of Debian 12 gives no tickets.' },
  {
    client: /^tsx$|^vitest |worker_threads$/,
    node: ['20'],
    says: /^the file of NODE_EXTRA_CA_CERTS may have changed/,
    why: 'On Node 20, in a worker thread and below `--require` (tsx and vitest), it is not certain that Node has read `NODE_EXTRA_CA_CERTS`. These tests set it.',
  },
  {
    client: /^(pnpm 12$|bun add$|Bun |Deno )/,
    why: 'This is no Node, and does not load what stands in `NODE_OPTIONS`.',
  },
]

export const isResumed = ({ connections, resumed }: Result): boolean =>
  connections > 0 && resumed === connections

/** Why a connection was not resumed. Undefined if nothing explains it. */
export const explain = (result: Result): string | undefined =>
  EXPLANATIONS.find(
    ({ client, server, node, version, route, says }) =>
      (client?.test(result.client) ?? true) &&
      (server?.test(result.server) ?? true) &&
      (node?.includes(result.node) ?? true) &&
      (version ?? result.version) === result.version &&
      (route ?? result.route) === result.route &&
      (says ? result.reasons.some((reason) => says.test(reason)) : result.reasons.length === 0),
  )?.why
