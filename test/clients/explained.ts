import type { Result } from './cell.ts'

interface Explanation {
  /** Undefined: any. */
  readonly client?: RegExp
  readonly server?: RegExp
  readonly node?: readonly string[]
  readonly version?: string
  readonly route?: string
  /** What ticketkeep has said in this very run, where it has anything to say. */
  readonly says?: RegExp
  readonly why: string
}

/** Every kind of connection that does not resume, with the reason. */
const EXPLANATIONS: readonly Explanation[] = [
  {
    server: /^Caddy$/,
    version: 'TLSv1.2',
    says: /^not kept: the session has no extended master secret/,
    why: "Debian 12's Caddy over TLS 1.2: it is built with Go 1.19, which has no extended master secret (RFC 7627). Go has it since 1.21. Such sessions are not kept.",
  },
  {
    client: /^@grpc\/grpc-js|mysql2 with verifyIdentity$/,
    says: /^the secureContext was made before ticketkeep could see it$/,
    why: 'grpc-js and mysql2 make a `secureContext` before the first TLS connection of the process, for which ticketkeep waits. What is in it is not known.',
  },
  {
    client: /^mysql2$/,
    says: /^the program checks the identity itself/,
    why: 'By default mysql2 passes a `checkServerIdentity` of its own, which Node does not call on a resumed connection.',
  },
  {
    client: /^mariadb$/,
    says: /^the call names no server/,
    why: 'With `ssl: true` the mariadb connector tells Node no name to verify, and checks it itself later. With `ssl: { servername }` it resumes.',
  },
  {
    server: /^PostgreSQL$/,
    why: 'PostgreSQL 15 gives no tickets.',
  },
  {
    server: /^OpenLDAP$/,
    version: 'TLSv1.2',
    says: /^not kept: the session has no ticket/,
    why: "Debian 12's slapd gives no tickets.",
  },
  {
    server: /^OpenLDAP$/,
    version: 'TLSv1.3',
    why: "Debian 12's slapd gives no tickets.",
  },
  {
    client: /^mongodb$/,
    version: 'TLSv1.3',
    why: "The driver makes two connections. Over TLS 1.3 a server of Node's gives two tickets in a full handshake and none as it resumes, and each is used once: by the second connection of the first process, and by the first one of the second process.",
  },
  {
    client: /worker_threads|vitest \(threads\)/,
    says: /^worker thread$/,
    why: 'A worker thread is left alone.',
  },
]

export const isResumed = ({ connections, resumed }: Result): boolean =>
  connections > 0 && resumed === connections

/** Why a connection was not resumed; undefined where nothing explains it. */
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
