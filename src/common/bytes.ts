// Short-lived processes use the methods of Uint8Array where possible, because they are built into V8. The methods of
// Buffer are JavaScript, which Node 20 has to compile at the first call.

/** Overwrites a secret. Also works on a Buffer. */
export const wipe = (bytes: Uint8Array): void => void Uint8Array.prototype.fill.call(bytes, 0)

const { compare } = Buffer

/**
 * Whether the contents are equal. Not `timingSafeEqual`, which tests replace. Constant time is not needed: the values
 * are public, or known to the process that could measure the time.
 */
export const equal = (a: Uint8Array, b: Uint8Array): boolean => compare(a, b) === 0

/** A Buffer over the same memory, for methods that only Buffer has. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const toBase64 = (bytes: Uint8Array): string => asBuffer(bytes).toString('base64')

/** A Uint8Array over a part of the same memory, even if the input is a Buffer. */
export const part = (bytes: Uint8Array, from: number, to = bytes.length): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from)
