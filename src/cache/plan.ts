import { basename, resolve } from 'node:path'
import { unixNow } from '../common/clock.ts'
import { TicketkeepError } from '../errors.ts'
import { KEY_SOURCE_NAMES, type KeySourceName } from '../key-sources.ts'
import type { KeyOutcome } from '../keys/key-source.ts'
import { readSettings, type Settings } from '../settings.ts'
import { loadStorage } from './load-storage.ts'

/** Options for opening a {@link TicketCache}. They override the environment. */
export interface TicketCacheOptions {
  /**
   * The master key itself: 32 random bytes. Copied, and not wiped. Not together with `keySource`. A policy that does not allow
   * the source `variable` does not allow this either.
   */
  readonly key?: Uint8Array
  /** The only source that is asked for the master key. `auto` asks all in their order. Default: `TICKETKEEP_KEY_SOURCE`, or `auto`. */
  readonly keySource?: KeySourceName | 'auto'
  /**
   * Variables to read instead of `process.env`. The user's cache directory is still found by `process.env`, and the policy of
   * the machine still applies.
   */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Returns the time in whole UNIX seconds. Default: the system clock. */
  readonly now?: () => number
}

/** Where a cache keeps what, worked out from the arguments of `open`. */
export interface Plan {
  readonly settings: Settings
  readonly directory: string | undefined
  /** Where a plaintext file may wait to be sealed. */
  readonly plaintext: string | undefined
  readonly now: () => number
}

/** @throws {TicketkeepError} `ERR_INVALID_PATH`, `ERR_INVALID_SETTING` */
export function makePlan(path: string | undefined, options: TicketCacheOptions): Plan {
  if (typeof options !== 'object' || options === null) throw invalidSetting('the options are not an object')
  const { key, keySource, env = process.env, now = unixNow } = options
  if (typeof now !== 'function') throw invalidSetting('now is not a function')
  const isText = (value: unknown) => value === undefined || typeof value === 'string'
  if (typeof env !== 'object' || env === null || !Object.values(env).every(isText)) {
    throw invalidSetting('env is not an object of strings')
  }
  if (keySource !== undefined && keySource !== 'auto' && !KEY_SOURCE_NAMES.includes(keySource)) {
    throw invalidSetting(`keySource is not one of auto, ${KEY_SOURCE_NAMES.join(', ')}`)
  }
  if (key !== undefined && !(key instanceof Uint8Array && key.length === 32)) {
    throw invalidSetting('key is not a Uint8Array of 32 bytes')
  }
  if (key !== undefined && keySource !== undefined)
    throw invalidSetting('key and keySource exclude each other')
  const settings = readSettings(keySource === undefined ? env : { ...env, TICKETKEEP_KEY_SOURCE: keySource })
  if (path === undefined) {
    const directory = settings.disabled ? undefined : loadStorage().storeDirectory(settings.directory)
    return { settings, directory, plaintext: undefined, now }
  }
  if (typeof path !== 'string' || path === '' || path.includes('\0') || basename(path) === '.json') {
    throw new TicketkeepError('ERR_INVALID_PATH', 'the path is not one of a directory or of a .json file')
  }
  const full = resolve(path)
  return full.endsWith('.json')
    ? { settings, directory: full.slice(0, -'.json'.length), plaintext: full, now }
    : { settings, directory: full, plaintext: undefined, now }
}

/** The outcome where no source has to be asked. */
export function given({ settings }: Plan, { key }: TicketCacheOptions): KeyOutcome | undefined {
  const outcome = { creatable: false, overdue: false, considered: [] }
  if (settings.disabled) {
    return { ...outcome, source: 'memory', keys: undefined, reason: 'tickets are switched off' }
  }
  if (key === undefined) return undefined
  const { isAllowed, NOT_ALLOWED } = loadStorage()
  if (!isAllowed('variable', settings.key))
    return { ...outcome, source: 'memory', keys: undefined, reason: NOT_ALLOWED.reason }
  return {
    ...outcome,
    source: 'variable',
    keys: { current: Uint8Array.from(key) },
    reason: 'given by the caller',
  }
}
const invalidSetting = (message: string) => new TicketkeepError('ERR_INVALID_SETTING', message)
