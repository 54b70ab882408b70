import { wipe } from '../common/bytes.ts'

/** The length of a master key in bytes. */
export const KEY_BYTES = 32

const TEXT_CHARACTERS = 44

/**
 * Reads a master key in the form that people and secret stores use: canonical base64 (RFC 4648, section 4) of 32 bytes,
 * which is 44 characters, with optional white space around it. Works on bytes, because a string cannot be wiped.
 *
 * @returns the key, in a new buffer, or a phrase for people that says why it is not one
 */
export function readKeyText(text: Uint8Array): Uint8Array | string {
  let from = 0
  let to = text.length
  while (from < to && isSpace(text[from]!)) from++
  while (to > from && isSpace(text[to - 1]!)) to--
  if (from === to) return 'it is empty'
  if (to - from !== TEXT_CHARACTERS) {
    return `it has ${to - from} character${to - from === 1 ? '' : 's'}, but base64 of 32 bytes has 44`
  }
  const key = new Uint8Array(KEY_BYTES)
  let bits = 0
  let held = 0
  let at = 0
  for (let i = from; i < to - 1; i++) {
    const value = sextet(text[i]!)
    if (value < 0) return refuse(key, 'it is not base64')
    held = (held << 6) | value
    bits += 6
    if (bits >= 8) {
      bits -= 8
      key[at++] = held >> bits
      held &= (1 << bits) - 1
    }
  }
  if (text[to - 1] !== 0x3d || held !== 0) return refuse(key, 'it is not canonical base64 of 32 bytes')
  return key
}

/**
 * Reads the content of a key file: the same text, or exactly 32 raw bytes. 32 printable characters are not accepted as
 * raw bytes: they are a password or a hexadecimal digest, and too weak.
 */
export function readKeyContent(content: Uint8Array): Uint8Array | string {
  if (content.length !== KEY_BYTES || content.every(isPrintable)) return readKeyText(content)
  return Uint8Array.from(content)
}

function refuse(key: Uint8Array, reason: string): string {
  wipe(key)
  return reason
}

const isSpace = (c: number) => c === 0x20 || (c >= 0x09 && c <= 0x0d)
const isPrintable = (c: number) => isSpace(c) || (c > 0x20 && c < 0x7f)

function sextet(c: number): number {
  if (c >= 0x41 && c <= 0x5a) return c - 0x41
  if (c >= 0x61 && c <= 0x7a) return c - 0x61 + 26
  if (c >= 0x30 && c <= 0x39) return c - 0x30 + 52
  return c === 0x2b ? 62 : c === 0x2f ? 63 : -1
}
