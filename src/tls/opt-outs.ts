import { constants } from 'node:crypto'
import type { Call } from './call.ts'

// The ways to say "no sessions" that can be seen in a call of `tls.connect`. README.md names those that cannot.

const { SSL_OP_NO_TICKET } = constants

/** Why the program wants no session on this connection, in words; undefined where it does not say so. */
export function whyNoSessionIsWanted({ options, context, agent, keepsSessions }: Call): string | undefined {
  if (options.maxCachedSessions === 0 || agent?.maxCachedSessions === 0)
    return 'the program wants no sessions (maxCachedSessions: 0)'
  if ([options.secureOptions, context?.options.secureOptions].some(forbidsTickets))
    return 'the program wants no tickets (SSL_OP_NO_TICKET)'
  if (options.session === null && (agent || keepsSessions() === false))
    return 'the program wants no session (session: null)'
  return undefined
}

const forbidsTickets = (secureOptions: unknown) =>
  typeof secureOptions === 'number' && Boolean(secureOptions & SSL_OP_NO_TICKET)
