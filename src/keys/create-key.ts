import { randomBytes } from 'node:crypto'
import { wipe } from '../common/bytes.ts'
import { lockCreation } from './creation-lock.ts'
import { encodeKeyBlob, MAX_PREVIOUS, nextKeyBlob } from './key-blob.ts'
import { type Asking, type KeyAnswer, type Keychain, type MasterKeys, wipeKeys } from './key-source.ts'
import { NO_USER_FOLDER, userFolder } from './user-folder.ts'

type Source = Pick<Keychain, 'read' | 'write'>

const TOO_OFTEN = `the key was replaced ${MAX_PREVIOUS} times within a day, and one more would lose tickets: wait for a day, or remove the key with all of them (ticketkeep purge)`

const unavailable = (reason: string): KeyAnswer => ({ state: 'unavailable', reason })

/**
 * Makes the first key of a source, or the next key when it is due, under the user's creation lock: it reads the source
 * again, writes, reads back and compares. It writes only if the source has just reported for certain what it holds. If
 * the process is killed at any point, the source holds either the old key or the new one, and the new one includes its
 * predecessors for a day each.
 *
 * @param always also replace a key that is not due
 */
export async function createKey(source: Source, asking: Asking, always: boolean): Promise<KeyAnswer> {
  const folder = userFolder()
  if (folder === undefined) return unavailable(NO_USER_FOLDER)
  const release = await lockCreation(folder, asking)
  if (typeof release === 'string') return unavailable(release)
  try {
    const present = await source.read(asking)
    if (present.state === 'absent' && present.creatable)
      return await replace(source, undefined, asking, always)
    if (present.state === 'found' && (always || present.overdue))
      return await replace(source, present.keys, asking, always)
    return present
  } finally {
    release()
  }
}

async function replace(
  source: Source,
  present: MasterKeys | undefined,
  asking: Asking,
  always: boolean,
): Promise<KeyAnswer> {
  const blob = present && { createdAt: 0, previous: [], ...present }
  const next = nextKeyBlob(blob, asking.now, randomBytes, always)
  if (next === undefined) {
    wipeKeys(present)
    return unavailable(TOO_OFTEN)
  }
  const expected = Buffer.from(next.current)
  const bytes = encodeKeyBlob(next)
  wipeKeys(next)
  wipeKeys(present)
  try {
    const written = await source.write(bytes, asking)
    if (written.state !== 'written') return written
    const back = await source.read(asking)
    if (back.state === 'found') {
      if (expected.equals(back.keys.current)) return back
      wipeKeys(back.keys)
    }
    return unavailable(`${written.reason} returned something else than was stored`)
  } finally {
    wipe(bytes)
    wipe(expected)
  }
}
