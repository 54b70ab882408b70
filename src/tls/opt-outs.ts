import { constants } from 'node:crypto'
import type { Call } from './call.ts'

// The ways to ask for no sessions that are visible in a call of `tls.connect`. README.md lists those that are not.

const { SSL_OP_NO_TICKET } = constants

/** Why the program wants no session on this connection, as a phrase for people. Undefined if it does not say so. */
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
