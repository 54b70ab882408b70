import { randomBytes } from 'node:crypto'
import { wipe } from '../common/bytes.ts'
import { lockCreation } from './creation-lock.ts'
import { encodeKeyBlob, MAX_PREVIOUS, nextKeyBlob } from './key-blob.ts'
import {
  type Abandon,
  type Asking,
  answered,
  type KeyAnswer,
  type KeySource,
  type MasterKeys,
  wipeKeys,
} from './key-source.ts'
import { userFolder } from './user-folder.ts'

type Writable = KeySource & Required<Pick<KeySource, 'write'>>

export const isWritable = (source: KeySource): source is Writable => source.write !== undefined

const TOO_OFTEN = `the key was replaced ${MAX_PREVIOUS} times within a day, and one more would lose tickets: wait for a day, or remove the key with all of them (ticketkeep purge)`

/**
 * Makes the key of a source that has none, or the next one where it is due (`always`: whether or not), under
 * the user's creation lock: reads again what is there, writes, reads back and compares. Nothing is written
 * unless the source has just said for sure what it holds. A kill at any point leaves the key before or the
 * key after, and the key after carries those before it for a day each.
 */
export function renewKeys(
  source: Writable,
  asking: Asking,
  always: boolean,
  done: (answer: KeyAnswer) => void,
): Abandon {
  const folder = userFolder()
  if (folder === undefined) {
    done({ state: 'unavailable', reason: 'this user has no folder for the lock under which a key is made' })
    return answered
  }
  let abandon: Abandon = answered
  let release: (() => void) | undefined
  let over = false
  const finish = (answer: KeyAnswer) => {
    over = true
    release?.()
    done(answer)
  }
  const replace = (present: MasterKeys | undefined) => {
    const next = nextKeyBlob(
      present && { createdAt: 0, previous: [], ...present },
      asking.now,
      randomBytes,
      always,
    )
    if (next === undefined) {
      wipeKeys(present)
      return finish({ state: 'unavailable', reason: TOO_OFTEN })
    }
    const expected = Buffer.from(next.current)
    const bytes = encodeKeyBlob(next)
    wipeKeys(next)
    wipeKeys(present)
    abandon = source.write(bytes, asking, (written) => {
      wipe(bytes)
      if (written.state !== 'written') {
        wipe(expected)
        return finish(written)
      }
      abandon = source.read(asking, (back) => {
        const same = back.state === 'found' && expected.equals(back.keys.current)
        wipe(expected)
        if (same) return finish(back)
        if (back.state === 'found') wipeKeys(back.keys)
        finish({ state: 'unavailable', reason: `${written.reason} does not give back what it took` })
      })
    })
  }
  const giveUpLock = lockCreation(folder, asking.hold, (held) => {
    release = held
    if (held === undefined)
      return finish({ state: 'unavailable', reason: 'another process is making the key' })
    abandon = source.read(asking, (present) => {
      if (present.state === 'absent' && present.creatable) replace(undefined)
      else if (present.state === 'found' && (always || present.overdue)) replace(present.keys)
      else finish(present)
    })
  })
  return () => {
    if (over) return
    over = true
    abandon()
    giveUpLock()
  }
}
