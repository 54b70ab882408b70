/**
 * Everything that can be wrong with a call, one stable code each:
 *
 * - `ERR_INVALID_HOST`: not a DNS name and not an IP address
 * - `ERR_INVALID_PORT`: not an integer from 1 to 65535
 * - `ERR_INVALID_TICKET`: a ticket entry of the wrong shape, or over 64 KiB
 * - `ERR_INVALID_PATH`: not a path at which a cache can be kept
 * - `ERR_INVALID_SETTING`: an option or an environment variable with a value that means nothing
 * - `ERR_KEY_UNAVAILABLE`: a key source that was asked for by name did not give the key
 * - `ERR_STORE_UNUSABLE`: the directory is not ours, or cannot be read or written
 * - `ERR_CLOSED`: the cache was used after `close()`
 * - `ERR_NOT_ATTENDED`: a connection with these options resumes nothing, for a reason that the message gives
 * - `ERR_INVALID_CERTIFICATE`: not one X.509 certificate
 */
export type TicketkeepErrorCode =
  | 'ERR_INVALID_HOST'
  | 'ERR_INVALID_PORT'
  | 'ERR_INVALID_TICKET'
  | 'ERR_INVALID_PATH'
  | 'ERR_INVALID_SETTING'
  | 'ERR_KEY_UNAVAILABLE'
  | 'ERR_STORE_UNUSABLE'
  | 'ERR_CLOSED'
  | 'ERR_NOT_ATTENDED'
  | 'ERR_INVALID_CERTIFICATE'

/** The one error that this package throws. Its message names no secret. */
export class TicketkeepError extends Error {
  override readonly name = 'TicketkeepError'

  constructor(
    readonly code: TicketkeepErrorCode,
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options)
  }
}
