/**
 * A reader of strict DER (X.690): definite lengths in their shortest form, no trailing bytes. It throws `DerError` for
 * anything else. Callers turn that into "no session" or "no certificate".
 */
export class DerError extends Error {}

export const INTEGER = 0x02
export const BIT_STRING = 0x03
export const OCTET_STRING = 0x04
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
export const SEQUENCE = 0x30
export const SET = 0x31
/** The identifier octet of an EXPLICIT tag `[n]`: context-specific and constructed. */
export const explicit = (n: number): number => 0xa0 | n

/** One element. Its bytes are sliced from the buffer only when they are needed. */
export class DerElement {
  constructor(
    private readonly bytes: Uint8Array,
    /** Offsets in `bytes`: where the element starts, where its contents start, and where it ends. */
    readonly start: number,
    readonly contents: number,
    readonly end: number,
  ) {}

  /** The identifier octet: class, constructed bit and a tag number below 31. */
  get tag(): number {
    return this.bytes[this.start]!
  }

  /** The number of contents octets. */
  get length(): number {
    return this.end - this.contents
  }

  /** The contents octet at an index. Undefined past the end. */
  octet(at: number): number | undefined {
    return at < this.length ? this.bytes[this.contents + at] : undefined
  }

  /** The contents octets. */
  get value(): Uint8Array {
    return this.bytes.subarray(this.contents, this.end)
  }

  /** Identifier, length and contents. */
  get whole(): Uint8Array {
    return this.bytes.subarray(this.start, this.end)
  }

  /** A reader for the elements inside. */
  inside(): DerReader {
    return new DerReader(this.bytes, this.contents, this.end)
  }
}

/** Reads consecutive elements from `bytes`. */
export class DerReader {
  constructor(
    private readonly bytes: Uint8Array,
    private at = 0,
    private readonly last = bytes.length,
  ) {}

  get done(): boolean {
    return this.at === this.last
  }

  /** The identifier octet of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.done ? undefined : this.bytes[this.at]
  }

  read(tag?: number): DerElement {
    const { bytes, last, at: start } = this
    if (last - start < 2) throw new DerError('truncated')
    const found = bytes[start]!
    if ((found & 0x1f) === 0x1f) throw new DerError('long tag')
    if (tag !== undefined && found !== tag) throw new DerError('unexpected tag')
    let length = bytes[start + 1]!
    let contents = start + 2
    if (length & 0x80) {
      const octets = length & 0x7f
      if (octets === 0 || octets > 3) throw new DerError('bad length')
      if (last - contents < octets) throw new DerError('truncated')
      length = 0
      for (let i = 0; i < octets; i++) length = length * 256 + bytes[contents++]!
      if (length < 0x80 || length < 256 ** (octets - 1)) throw new DerError('length not minimal')
    }
    if (last - contents < length) throw new DerError('truncated')
    this.at = contents + length
    return new DerElement(bytes, start, contents, this.at)
  }

  /** Enters the next element, which must have this tag. */
  enter(tag: number): DerReader {
    return this.read(tag).inside()
  }

  /** A non-negative INTEGER that a double holds exactly. */
  integer(): number {
    const element = this.read(INTEGER)
    const first = element.octet(0)
    const second = element.octet(1)
    if (first === undefined || first & 0x80) throw new DerError('bad integer')
    if (first === 0 && second !== undefined && !(second & 0x80)) throw new DerError('integer not minimal')
    if (element.length > 7) throw new DerError('integer too large')
    let integer = 0
    for (let i = 0; i < element.length; i++) integer = integer * 256 + element.octet(i)!
    return integer
  }

  /** Reads UTCTime or GeneralizedTime in the form of RFC 5280 (4.1.2.5), UTC with seconds. Returns UNIX seconds. */
  time(): number {
    const time = this.read()
    const { tag } = time
    if (tag !== UTC_TIME && tag !== GENERALIZED_TIME) throw new DerError('not a time')
    const after = tag === UTC_TIME ? 2 : 4
    if (time.length !== after + 11 || time.octet(after + 10) !== 0x5a) throw new DerError('bad time')
    let year = twoDigits(time, 0)
    if (tag === UTC_TIME) year += year < 50 ? 2000 : 1900
    else year = year * 100 + twoDigits(time, 2)
    const part = (n: number) => twoDigits(time, after + n * 2)
    return Date.UTC(year, part(0) - 1, part(1), part(2), part(3), part(4)) / 1000
  }

  end(): void {
    if (!this.done) throw new DerError('trailing bytes')
  }
}

function twoDigits(text: DerElement, at: number): number {
  const tens = text.octet(at)! - 0x30
  const units = text.octet(at + 1)! - 0x30
  if (!(tens >= 0 && tens <= 9 && units >= 0 && units <= 9)) throw new DerError('bad time')
  return tens * 10 + units
}

/** The result of `read` on `bytes`, which must be exactly one element. Undefined if they are not strict DER. */
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
