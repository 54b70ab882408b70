import type { ConnectionOptions } from 'node:tls'
import { TicketkeepError } from '../errors.ts'
import { readSettings } from '../settings.ts'
import { callWith, loadAttendant } from './attend.ts'

/**
 * What {@link TicketEntry.binding} holds: a digest of everything by which a `tls.connect` with these options decides whom it trusts,
 * as things are now. A session may be offered only under the binding that it was made under.
 *
 * @param options those of `tls.connect`, before the call
 * @returns 43 characters of base64url
 * @throws {TicketkeepError} `ERR_NOT_ATTENDED` if trust cannot be bound. Then store nothing, and offer nothing. The message has
 *   the reason. `ERR_INVALID_SETTING` if a variable of ticketkeep has an invalid value
 * @example
 * const options = { host: 'registry.example', port: 443, servername: 'registry.example' }
 * const binding = bindingOf(options)
 * const stored = cache.take(options.host, options.port, (entry) => entry.binding === binding)
 */
export function bindingOf(options: ConnectionOptions): string {
  const { call, start } = describe(options)
  const { admit, whyProcessIsLeftAlone } = loadAttendant()
  const reason = whyProcessIsLeftAlone(start)
  if (reason !== undefined) throw notAttended(reason)
  const admission = admit(call, readSettings())
  if ('leftAlone' in admission) throw notAttended(admission.leftAlone)
  return admission.binding
}

function describe(options: ConnectionOptions) {
  try {
    return callWith({ ...options })
  } catch (cause) {
    throw notAttended((cause as Error)?.message, { cause })
  }
}

const notAttended = (reason: string, options?: ErrorOptions) =>
  new TicketkeepError('ERR_NOT_ATTENDED', `trust cannot be bound: ${reason}`, options)
