import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { makeAttended } from './attend.ts'
import { splitOptions, type TicketOptions } from './options.ts'

/**
 * `tls.connect` that resumes sessions of earlier processes: the same options, the same socket, the same errors. A session is
 * offered only where a full handshake would be accepted now. Any other connection is made as by `tls.connect`: with a
 * `checkServerIdentity` or a `secureContext` of your own, for one (`onEvent` has the reason).
 *
 * @param options those of `tls.connect` (Node's documentation), a connected `socket` among them, and where tickets are kept
 * @param secureConnectListener called once, as with `tls.connect`
 * @returns the socket of `tls.connect`, which reports errors by events as usual
 * @throws {TicketkeepError} `ERR_INVALID_SETTING` if an option of {@link TicketOptions} has an invalid value, and whatever
 *   `tls.connect` throws
 * @example connect({ host: 'registry.example', port: 443, servername: 'registry.example' })
 */
export function connect(
  options: ConnectionOptions & TicketOptions,
  secureConnectListener?: () => void,
): TLSSocket {
  const { given, own } = splitOptions(options)
  const { connect } = process.getBuiltinModule('node:tls')
  return makeAttended(given, own, (all) => connect(all, secureConnectListener))
}
