/**
 * A reader of strict DER (X.690): definite lengths in their shortest form, nothing left over. It throws
 * `DerError` at anything else, for its callers to turn into "no session" or "no certificate".
 */
export class DerError extends Error {}

export interface DerElement {
  /** The identifier octet: class, constructed bit and a tag number below 31. */
  readonly tag: number
  /** The contents octets. */
  readonly value: Uint8Array
  /** Identifier, length and contents. */
  readonly whole: Uint8Array
}

export const INTEGER = 0x02
export const BIT_STRING = 0x03
export const OCTET_STRING = 0x04
export const OBJECT_IDENTIFIER = 0x06
export const UTC_TIME = 0x17
export const GENERALIZED_TIME = 0x18
export const SEQUENCE = 0x30
/** `[n]`, constructed: what an EXPLICIT tag looks like. */
export const explicit = (n: number): number => 0xa0 | n

/** Reads elements one after the other from `bytes`. */
export class DerReader {
  #at = 0

  constructor(private readonly bytes: Uint8Array) {}

  get done(): boolean {
    return this.#at === this.bytes.length
  }

  /** The identifier octet of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.bytes[this.#at]
  }

  read(tag?: number): DerElement {
    const { bytes } = this
    const start = this.#at
    const found = bytes[start]
    const first = bytes[start + 1]
    if (found === undefined || first === undefined) throw new DerError('truncated')
    if ((found & 0x1f) === 0x1f) throw new DerError('long tag')
    if (tag !== undefined && found !== tag) throw new DerError('unexpected tag')
    let length = first
    let at = start + 2
    if (first & 0x80) {
      const octets = first & 0x7f
      if (octets === 0 || octets > 3) throw new DerError('bad length')
      length = 0
      for (let i = 0; i < octets; i++) {
        const octet = bytes[at++]
        if (octet === undefined) throw new DerError('truncated')
        length = length * 256 + octet
      }
      if (length < 0x80 || length < 256 ** (octets - 1)) throw new DerError('length not minimal')
    }
    const end = at + length
    if (end > bytes.length) throw new DerError('truncated')
    this.#at = end
    return { tag: found, value: bytes.subarray(at, end), whole: bytes.subarray(start, end) }
  }

  /** The elements inside the next element, which has to bear `tag`. */
  enter(tag: number): DerReader {
    return new DerReader(this.read(tag).value)
  }

  /** A non-negative INTEGER that a double holds exactly. */
  integer(): number {
    const { value } = this.read(INTEGER)
    const [first, second] = value
    if (first === undefined || first & 0x80) throw new DerError('bad integer')
    if (first === 0 && second !== undefined && !(second & 0x80)) throw new DerError('integer not minimal')
    if (value.length > 7) throw new DerError('integer too large')
    return value.reduce((n, octet) => n * 256 + octet, 0)
  }

  end(): void {
    if (!this.done) throw new DerError('trailing bytes')
  }
}

/** What `read` makes of the one element that `bytes` has to be, or undefined if they are not strict DER. */
export function parseDer<T>(bytes: Uint8Array, read: (reader: DerReader) => T): T | undefined {
  try {
    const reader = new DerReader(bytes)
    const result = read(reader)
    reader.end()
    return result
  } catch (error) {
    if (error instanceof DerError) return undefined
    throw error
  }
}
