// NaCl's secretbox, XSalsa20-Poly1305, of tweetnacl's own parts: its key stream depends on no plain text, so that a
// process that waits for something can compute it ahead. And tweetnacl's own call works byte by byte where
// this goes by words. Source: nacl.cr.yp.to/secretbox.html.

/** Bytes that a box is longer than what is in it. */
export const TAG_BYTES = 16

/** The first bytes of a key stream are the key of the tag. */
const TAG_KEY_BYTES = 32

interface LowLevel {
  crypto_stream(stream: Uint8Array, at: number, length: number, nonce: Uint8Array, key: Uint8Array): 0
  crypto_onetimeauth: OneTimeAuth<0>
  crypto_onetimeauth_verify: OneTimeAuth<0 | -1>
}

/** Writes the tag of a message, or compares it. */
type OneTimeAuth<Answer> = (
  tag: Uint8Array,
  tagAt: number,
  message: Uint8Array,
  messageAt: number,
  length: number,
  key: Uint8Array,
) => Answer

// It takes milliseconds to load, which those who chose the other cipher need not pay.
const nacl = () => (require('tweetnacl') as unknown as { lowlevel: LowLevel }).lowlevel

/**
 * The key stream for one record, and no other: of two under one stream anyone can compute the difference.
 * @param length bytes of the record
 */
export function keyStream(length: number, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const stream = new Uint8Array(TAG_KEY_BYTES + length)
  nacl().crypto_stream(stream, 0, stream.length, nonce, key)
  return stream
}

/** @param stream made for exactly this length */
export function sealWith(stream: Uint8Array, plain: Uint8Array): Uint8Array {
  const box = new Uint8Array(TAG_BYTES + plain.length)
  box.set(plain, TAG_BYTES)
  xor(box, TAG_BYTES, stream)
  nacl().crypto_onetimeauth(box, 0, box, TAG_BYTES, plain.length, stream)
  return box
}

/** What is in a box; undefined where it was not sealed with this stream. */
export function openWith(stream: Uint8Array, box: Uint8Array): Uint8Array | undefined {
  const length = box.length - TAG_BYTES
  if (nacl().crypto_onetimeauth_verify(box, 0, box, TAG_BYTES, length, stream) !== 0) return undefined
  const plain = new Uint8Array(length)
  plain.set(new Uint8Array(box.buffer, box.byteOffset + TAG_BYTES, length))
  xor(plain, 0, stream)
  return plain
}

/** `target`, memory of its own, from `at` on: by words, and what is left by bytes. */
function xor(target: Uint8Array, at: number, stream: Uint8Array): void {
  const length = target.length - at
  const words = length >> 2
  const ours = new Int32Array(target.buffer, at, words)
  const theirs = new Int32Array(stream.buffer, TAG_KEY_BYTES, words)
  for (let i = 0; i < words; i++) ours[i]! ^= theirs[i]!
  for (let i = words << 2; i < length; i++) target[at + i]! ^= stream[TAG_KEY_BYTES + i]!
}
