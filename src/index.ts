/**
 * Every export of the package `ticketkeep`. `npm run reference` makes this page from the doc comments. `library.md` has an
 * example program for each way to make connections. A code such as `ERR_CLOSED` is the `code` of a {@link TicketkeepError}.
 *
 * @packageDocumentation
 */

export type { TicketCacheOptions } from './cache/plan.ts'
export { TicketCache } from './cache/ticket-cache.ts'
export { bindingOf } from './clients/binding-of.ts'
export { connect } from './clients/connect.ts'
export type { TicketOptions } from './clients/options.ts'
export { resumable } from './clients/resumable.ts'
export { spkiFingerprint } from './clients/spki-fingerprint.ts'
export { TicketAgent, type TicketAgentOptions } from './clients/ticket-agent.ts'
export {
  type TicketConnector,
  type TicketConnectorOptions,
  ticketConnector,
} from './clients/ticket-connector.ts'
export { TicketkeepError, type TicketkeepErrorCode } from './errors.ts'
export { type HostPort, hostPort } from './host-port.ts'
export type { KeySourceName } from './key-sources.ts'
export { isDisabled } from './settings.ts'
export { MAX_AGE, type TicketEntry } from './ticket-entry.ts'
export type { TicketEvent } from './tls/events.ts'
