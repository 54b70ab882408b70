import { wipe } from '../common/bytes.ts'
import type { KeyAnswer, MasterKeys, RetiredKey } from './key-source.ts'
import { KEY_BYTES } from './key-text.ts'

/** Seconds after which a key made by ticketkeep is replaced. */
export const ROTATE_AFTER = 7 * 86_400

/** Seconds for which a replaced key can still open what it sealed. No ticket lives longer. */
export const KEEP_PREVIOUS = 86_400

/**
 * The most replaced keys that are kept, and so the most rotations per day. One more would lose tickets, and has to
 * wait. Keychains have little space (Windows: 2,560 bytes).
 */
export const MAX_PREVIOUS = 15

/** What we store in a keychain: the key, when it was made, and the keys that it replaced within the last day. */
export type KeyBlob = Required<MasterKeys>

const MAGIC = 'ticketkeep key'
const VERSION = 1
const HEAD = MAGIC.length + 1
const SLOT = 8 + KEY_BYTES

/**
 * Format: the magic, a version byte, then one to sixteen entries of 64-bit big-endian UNIX seconds and 32 bytes of key.
 */
export function encodeKeyBlob({ current, createdAt, previous }: KeyBlob): Uint8Array {
  const bytes = new Uint8Array(HEAD + SLOT * (1 + previous.length))
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i)
  bytes[MAGIC.length] = VERSION
  for (const [i, { key, retiredAt }] of [{ key: current, retiredAt: createdAt }, ...previous].entries()) {
    view.setBigUint64(HEAD + SLOT * i, BigInt(retiredAt))
    bytes.set(key, HEAD + SLOT * i + 8)
  }
  return bytes
}

/** @returns undefined for anything that this version did not write */
export function decodeKeyBlob(bytes: Uint8Array): KeyBlob | undefined {
  const slots = (bytes.length - HEAD) / SLOT
  if (!Number.isInteger(slots) || slots < 1 || slots > 1 + MAX_PREVIOUS) return undefined
  for (let i = 0; i < MAGIC.length; i++) if (bytes[i] !== MAGIC.charCodeAt(i)) return undefined
  if (bytes[MAGIC.length] !== VERSION) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [first, ...previous] = Array.from({ length: slots }, (_, i) => {
    const at = HEAD + SLOT * i
    const key = Uint8Array.from(bytes.subarray(at + 8, at + 8 + KEY_BYTES))
    return { key, retiredAt: Number(view.getBigUint64(at)) }
  })
  return { createdAt: first!.retiredAt, current: first!.key, previous }
}

/**
 * Whether the blob has to be rewritten: the key is a week old, or a predecessor is older than a day. A time more than a
 * day in the future was written under a wrong clock, and counts as overdue, since it would otherwise hold for ever.
 */
export function isOverdue({ createdAt, previous }: KeyBlob, now: number): boolean {
  return passed(createdAt, ROTATE_AFTER, now) || previous.some((one) => hadItsDay(one, now))
}

const passed = (since: number, limit: number, now: number) =>
  now - since >= limit || since - now > KEEP_PREVIOUS
const hadItsDay = ({ retiredAt }: RetiredKey, now: number) => passed(retiredAt, KEEP_PREVIOUS, now)

/**
 * The next blob. It contains a first key, or a new key with the current one as its newest predecessor if that is a week
 * old (or `always`). Otherwise it is the current key without expired predecessors.
 *
 * @returns undefined if there are so many predecessors from the last day that a new key would displace one
 */
export function nextKeyBlob(
  present: KeyBlob | undefined,
  now: number,
  random: (bytes: number) => Uint8Array,
  always = false,
): KeyBlob | undefined {
  if (present === undefined) return { current: random(KEY_BYTES), createdAt: now, previous: [] }
  const { current, createdAt } = present
  const previous = present.previous.filter((one) => !hadItsDay(one, now))
  if (!always && !passed(createdAt, ROTATE_AFTER, now)) return { current, createdAt, previous }
  if (previous.length === MAX_PREVIOUS) return undefined
  const retired = { key: current, retiredAt: now }
  return { current: random(KEY_BYTES), createdAt: now, previous: [retired, ...previous] }
}

/** The answer of a source for a stored blob. Wipes the bytes. */
export function answerOf(bytes: Uint8Array, now: number, where: string): KeyAnswer {
  const blob = decodeKeyBlob(bytes)
  wipe(bytes)
  if (blob === undefined) {
    const reason = `${where} holds something that this version of ticketkeep did not write`
    return { state: 'refused', reason, cause: 'not-ours' }
  }
  const overdue = isOverdue(blob, now)
  return { state: 'found', keys: withoutThePast(blob, now), overdue, reason: where }
}

function withoutThePast({ current, createdAt, previous }: KeyBlob, now: number): MasterKeys {
  for (const one of previous) if (hadItsDay(one, now)) wipe(one.key)
  return { current, createdAt, previous: previous.filter((one) => !hadItsDay(one, now)) }
}
