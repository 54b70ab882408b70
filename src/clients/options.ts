import { resolve } from 'node:path'
import { TicketkeepError } from '../errors.ts'
import { KEY_SOURCE_NAMES, type KeySourceName } from '../key-sources.ts'
import type { TicketEvent } from '../tls/events.ts'

/** Options for the key and the tickets. They override the environment. */
export interface TicketOptions {
  /** The only source that is asked for the master key. `auto` asks all in their order. Default: `TICKETKEEP_KEY_SOURCE`, or `auto`. */
  readonly keySource?: KeySourceName | 'auto'
  /** The directory of the tickets. Default: `TICKETKEEP_DIR`, or a folder in the user's cache directory. */
  readonly directory?: string
  /**
   * Called for each event of these connections. The same events, and those of the whole process, are published on
   * `node:diagnostics_channel` as `ticketkeep:<name>`. If the preload is on as well, they are published there only. If it throws,
   * that is an uncaught exception, and the connection goes on.
   *
   * @param event what happened
   */
  readonly onEvent?: (event: TicketEvent) => void
}

/**
 * Takes our options out of those of a call, as copies.
 * @throws {TicketkeepError} `ERR_INVALID_SETTING`
 */
export function splitOptions<T extends object>(
  options: T & TicketOptions,
): { given: Omit<T, keyof TicketOptions>; own: TicketOptions } {
  const { keySource, directory, onEvent, ...given } = options
  if (keySource !== undefined && keySource !== 'auto' && !KEY_SOURCE_NAMES.includes(keySource))
    throw invalid(`keySource is not one of auto, ${KEY_SOURCE_NAMES.join(', ')}`)
  if (directory !== undefined && (typeof directory !== 'string' || directory === ''))
    throw invalid('directory is not a path')
  if (onEvent !== undefined && typeof onEvent !== 'function') throw invalid('onEvent is not a function')
  return {
    given,
    own: {
      ...(keySource !== undefined && { keySource }),
      ...(directory !== undefined && { directory: resolve(directory) }),
      ...(onEvent && { onEvent }),
    },
  }
}

const invalid = (message: string) => new TicketkeepError('ERR_INVALID_SETTING', message)
