/**
 * Everything that can be wrong with a call, one stable code each. A release may add codes:
 *
 * - `ERR_INVALID_HOST`: not a DNS name and not an IP address
 * - `ERR_INVALID_PORT`: not an integer from 1 to 65535
 * - `ERR_INVALID_TICKET`: a ticket entry of the wrong shape, or over 64 KiB
 * - `ERR_INVALID_PATH`: not a path at which a cache can be kept
 * - `ERR_INVALID_SETTING`: an option or an environment variable has an invalid value. The message names it
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

/**
 * The only class of errors that this package throws itself. Errors that Node throws are passed on. The message contains no
 * secret.
 *
 * @example
 * try {
 *   await TicketCache.open(undefined, { keySource: 'keychain' })
 * } catch (error) {
 *   if (error instanceof TicketkeepError && error.code === 'ERR_KEY_UNAVAILABLE') console.error(error.message)
 * }
 */
export class TicketkeepError extends Error {
  /** Always `TicketkeepError`. */
  override readonly name = 'TicketkeepError'

  /**
   * Makes an error, for example in a test of your program.
   *
   * @param code what is wrong
   * @param message a text for people. It may change
   * @param options those of `Error` (ECMA-262)
   * @param options.cause the error that caused it
   */
  constructor(
    /** What is wrong, for programs. */
    readonly code: TicketkeepErrorCode,
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options)
  }
}
