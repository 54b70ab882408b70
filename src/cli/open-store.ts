import { createKeysSoon, fetchKeys, waitFor } from '../keys/chain.ts'
import { type KeyOutcome, takeSubkeys } from '../keys/key-source.ts'
import { readSettings, type Settings } from '../settings.ts'
import { isFolderName } from '../store/names.ts'
import { namesIn } from '../store/peer-folders.ts'
import { findDirectory, storeDirectory } from '../store/private-directory.ts'
import { TicketStore } from '../store/ticket-store.ts'
import { Failure } from './command.ts'
import { whyNotReadable } from './surroundings.ts'

/** What commands about stored tickets work with. */
export interface OpenStore {
  readonly settings: Settings
  /** An absolute path. Undefined if the user has no cache directory. */
  readonly directory: string | undefined
  /** Which source the key came from, or why there is none. The keys themselves are wiped. */
  readonly outcome: Omit<KeyOutcome, 'keys'>
  /** Undefined without a key or without a directory. */
  readonly store: TicketStore | undefined
  /** The public IDs of our keys. Empty without a key. */
  readonly kids: readonly string[]
  /** UNIX seconds: when our key replaced another one that is gone. Undefined if it did not, or if that is not known. */
  readonly keySince: number | undefined
  /** UNIX seconds: when our key was made or installed. Undefined if that is not known. */
  readonly keyMadeAt: number | undefined
}

/**
 * Fetches the key, waiting as long as its source may take, and opens the store with it.
 * @param missing what to do if the source has no key yet and can store one
 */
export async function openStore(missing: 'create the key' | 'leave it' = 'leave it'): Promise<OpenStore> {
  const settings = readSettings()
  const directory = storeDirectory(settings.directory)
  const ask = missing === 'create the key' && !settings.disabled ? createKeysSoon : fetchKeys
  const { keys, ...outcome } = await waitFor(ask, settings.key)
  if (!keys) {
    const without = { store: undefined, kids: [], keySince: undefined, keyMadeAt: undefined }
    return { settings, directory, outcome, ...without }
  }
  const keyMadeAt = keys.createdAt
  // A key with predecessors was rotated: the keys before it are not gone.
  const keySince = keys.previous?.length ? undefined : keys.createdAt
  const [subkeys, ...previous] = takeSubkeys(keys)
  const { cipher, reuse, hosts, maxAge } = settings
  const options = { subkeys, previous, cipher, reuse, hosts, maxAge }
  const store = directory ? new TicketStore({ directory, ...options }) : undefined
  const kids = [subkeys, ...previous].map(({ kid }) => kid)
  return { settings, directory, outcome, store, kids, keySince, keyMadeAt }
}

/** @throws {Failure} if tickets are disabled, by the user or by the policy of the machine */
export function requireEnabled<T extends Settings>(settings: T): T {
  if (settings.disabledBy === undefined) return settings
  throw new Failure(`nothing was done: ticketkeep is ${settings.disabledBy}`)
}

/** @throws {Failure} without a directory: one sentence that says what to do */
export function requireDirectory(directory: string | undefined): string {
  if (directory !== undefined) return directory
  throw new Failure(
    'this user has no cache directory (by XDG_CACHE_HOME or HOME, as an absolute path); name a directory in TICKETKEEP_DIR',
  )
}

/**
 * Returns a usable directory. If other users can enter a directory with tickets, their access is removed first, as
 * every program that stores tickets would do.
 * @throws {Failure} if the directory exists and its tickets cannot be read or removed, for example because it belongs
 *   to another user
 */
export function requireUsable(directory: string | undefined): string {
  const path = requireDirectory(directory)
  const isUsed = namesIn(path).some(isFolderName)
  const found = findDirectory(path, isUsed ? 'close' : 'leave')
  if (found.state === 'absent') return path
  const problem = found.state === 'unusable' ? found.problem : whyNotReadable(path)
  if (problem === undefined) return path
  throw new Failure(
    `the directory of the tickets cannot be used: ${problem}; fix that, or name another in TICKETKEEP_DIR`,
  )
}

/** Undefined if there is no key yet, and so no ticket. @throws {Failure} if tickets cannot be decrypted */
export function requireStore({ settings, directory, outcome, store }: OpenStore): TicketStore | undefined {
  requireUsable(directory)
  if (store || outcome.creatable) return store
  // A policy that disables takes the key away, too.
  requireEnabled(settings)
  throw new Failure(
    `without the key no ticket can be opened (${outcome.source}: ${outcome.reason}); "ticketkeep doctor" says what to do`,
  )
}
