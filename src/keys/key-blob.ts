import type { KeyAnswer, MasterKeys } from './key-source.ts'
import { KEY_BYTES } from './key-text.ts'

/** Seconds after which a key that ticketkeep made is replaced by a new one. */
export const ROTATE_AFTER = 7 * 86_400

/** Seconds for which the predecessor can still open what it sealed: no ticket lives longer. */
export const KEEP_PREVIOUS = 86_400

/** What a keychain holds of ours: the key, when it was made, and for a day the key before it. */
export interface KeyBlob {
  readonly current: Uint8Array
  /** UNIX seconds. */
  readonly createdAt: number
  readonly previous?: { readonly key: Uint8Array; readonly retiredAt: number } | undefined
}

const MAGIC = 'ticketkeep key'
const VERSION = 1
const HEAD = MAGIC.length + 1
const SLOT = 8 + KEY_BYTES

/** The magic, a version byte, then one or two of: 64-bit big-endian UNIX seconds, 32 bytes of key. */
export function encodeKeyBlob({ current, createdAt, previous }: KeyBlob): Uint8Array {
  const bytes = new Uint8Array(HEAD + SLOT * (previous ? 2 : 1))
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i)
  bytes[MAGIC.length] = VERSION
  view.setBigUint64(HEAD, BigInt(createdAt))
  bytes.set(current, HEAD + 8)
  if (previous) {
    view.setBigUint64(HEAD + SLOT, BigInt(previous.retiredAt))
    bytes.set(previous.key, HEAD + SLOT + 8)
  }
  return bytes
}

/** @returns undefined for anything that this version did not write */
export function decodeKeyBlob(bytes: Uint8Array): KeyBlob | undefined {
  if (bytes.length !== HEAD + SLOT && bytes.length !== HEAD + 2 * SLOT) return undefined
  for (let i = 0; i < MAGIC.length; i++) if (bytes[i] !== MAGIC.charCodeAt(i)) return undefined
  if (bytes[MAGIC.length] !== VERSION) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const time = (at: number) => Number(view.getBigUint64(at))
  const key = (at: number) => Uint8Array.from(bytes.subarray(at, at + KEY_BYTES))
  const previous =
    bytes.length === HEAD + SLOT ? undefined : { retiredAt: time(HEAD + SLOT), key: key(HEAD + SLOT + 8) }
  return { createdAt: time(HEAD), current: key(HEAD + 8), previous }
}

export function wipeKeyBlob(blob: KeyBlob | undefined): void {
  blob?.current.fill(0)
  blob?.previous?.key.fill(0)
}

/**
 * Whether the blob is to be written anew: the key is a week old, or its predecessor has had its day. A time
 * that lies more than a day ahead was written under a wrong clock, and would otherwise hold for ever.
 */
export function isOverdue({ createdAt, previous }: KeyBlob, now: number): boolean {
  const passed = (since: number, limit: number) => now - since >= limit || since - now > KEEP_PREVIOUS
  return (
    passed(createdAt, ROTATE_AFTER) || (previous !== undefined && passed(previous.retiredAt, KEEP_PREVIOUS))
  )
}

/**
 * The blob that follows: a first key; the next key, with the present one as its predecessor, where that is a
 * week old (or `always`); or the present one alone, its predecessor having had its day.
 */
export function nextKeyBlob(
  present: Pick<KeyBlob, 'current' | 'createdAt'> | undefined,
  now: number,
  random: (bytes: number) => Uint8Array,
  always = false,
): KeyBlob {
  if (present === undefined) return { current: random(KEY_BYTES), createdAt: now }
  const { current, createdAt } = present
  if (!always && !isOverdue({ current, createdAt }, now)) return { current, createdAt }
  return { current: random(KEY_BYTES), createdAt: now, previous: { key: current, retiredAt: now } }
}

/** What a source that holds blobs answers for one. Wipes the bytes. */
export function answerOf(bytes: Uint8Array, now: number, where: string): KeyAnswer {
  const blob = decodeKeyBlob(bytes)
  bytes.fill(0)
  if (blob === undefined) {
    const reason = `${where} holds something that this version of ticketkeep did not write`
    return { state: 'refused', reason, cause: 'not-ours' }
  }
  return { state: 'found', keys: keysOf(blob, now), overdue: isOverdue(blob, now), reason: where }
}

function keysOf({ current, createdAt, previous }: KeyBlob, now: number): MasterKeys {
  if (previous === undefined || now - previous.retiredAt >= KEEP_PREVIOUS) {
    previous?.key.fill(0)
    return { current, createdAt }
  }
  return { current, createdAt, previous: previous.key }
}
