// A Buffer's own methods are JavaScript, which Node 20 has to compile when a process first calls them; those of a
// Uint8Array come with V8. So short processes do by the latter what they can.

/** Overwrites a secret, in the memory of a Buffer, too. */
export const wipe = (bytes: Uint8Array): void => void Uint8Array.prototype.fill.call(bytes, 0)

const { compare } = Buffer

/**
 * Whether both hold the same. Not `timingSafeEqual`, which tests replace: what is compared here is public, or known to
 * the process that could measure the time.
 */
export const equal = (a: Uint8Array, b: Uint8Array): boolean => compare(a, b) === 0

/** The same memory as a Buffer, for what only a Buffer can do. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const toBase64 = (bytes: Uint8Array): string => asBuffer(bytes).toString('base64')

/** A part of the same memory, and no Buffer even of one. */
export const part = (bytes: Uint8Array, from: number, to = bytes.length): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from)
