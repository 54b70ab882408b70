import { wipe } from '../../common/bytes.ts'

/**
 * Messages of D-Bus, little-endian: calls with strings, bytes and dictionaries, and their replies.
 *
 * Source: the D-Bus Specification, "Type System" and "Message Protocol".
 */

/** The maximum size of one message in bytes, header and body: far more than we need. */
export const MESSAGE_LIMIT = 65_536

const NO_AUTO_START = 2

export interface Call {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly signature?: string
  readonly body?: Writer
}

/** Writes values with D-Bus alignment, relative to the start of a message's body. */
export class Writer {
  readonly #parts: Buffer[] = []
  #length = 0

  bytes(bytes: Uint8Array): this {
    const copy = Buffer.from(bytes)
    this.#parts.push(copy)
    this.#length += copy.length
    return this
  }
  align(to: number): this {
    const gap = -this.#length & (to - 1)
    return gap === 0 ? this : this.bytes(new Uint8Array(gap))
  }
  uint32(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return this.align(4).bytes(bytes)
  }
  boolean(value: boolean): this {
    return this.uint32(value ? 1 : 0)
  }
  string(value: string): this {
    const bytes = Buffer.from(value, 'utf8')
    return this.uint32(bytes.length).bytes(bytes).bytes(new Uint8Array(1))
  }
  signature(value: string): this {
    return this.bytes(Buffer.from([value.length])).bytes(Buffer.from(`${value}\0`, 'latin1'))
  }
  byteArray(value: Uint8Array): this {
    return this.uint32(value.length).bytes(value)
  }
  /** `a{s?}`: the length does not include the padding before the first entry. */
  dictionary<T>(entries: Readonly<Record<string, T>>, value: (writer: Writer, value: T) => void): this {
    this.uint32(0)
    const length = this.#parts.at(-1)!
    this.align(8)
    const start = this.#length
    for (const [name, entry] of Object.entries(entries)) {
      this.align(8).string(name)
      value(this, entry)
    }
    length.writeUInt32LE(this.#length - start)
    return this
  }
  take(): Buffer {
    const all = Buffer.concat(this.#parts, this.#length)
    for (const part of this.#parts) wipe(part)
    return all
  }
}

/** Reads what `Writer` writes. Every method throws RangeError if it would read out of bounds. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  get done(): boolean {
    return this.#at >= this.#bytes.length
  }
  align(to: number): this {
    this.#at += -this.#at & (to - 1)
    return this
  }
  uint8(): number {
    return this.#view.getUint8(this.#at++)
  }
  uint32(): number {
    this.align(4)
    this.#at += 4
    return this.#view.getUint32(this.#at - 4, true)
  }
  string(): string {
    return this.#text(this.uint32())
  }
  signature(): string {
    return this.#text(this.uint8())
  }
  /** `ao`, `as` */
  strings(): string[] {
    const length = this.uint32()
    const end = this.#at + length
    const all: string[] = []
    while (this.#at < end) all.push(this.string())
    return all
  }
  /** `ay`, copied, so that it outlives the message. */
  byteArray(): Uint8Array {
    return Uint8Array.from(this.#slice(this.uint32()))
  }
  #text(length: number): string {
    const text = Buffer.from(this.#slice(length)).toString('utf8')
    if (this.uint8() !== 0) throw new RangeError('a string without its end')
    return text
  }
  #slice(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new RangeError('beyond the message')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}

export function encodeCall(
  { destination, path, interface: face, member, signature, body }: Call,
  serial: number,
): Buffer {
  const fields = new Writer()
  const field = (code: number, type: string) =>
    fields
      .align(8)
      .bytes(Buffer.from([code]))
      .signature(type)
  field(1, 'o').string(path)
  field(2, 's').string(face)
  field(3, 's').string(member)
  field(6, 's').string(destination)
  if (signature) field(8, 'g').signature(signature)
  const header = fields.take()
  const content = body?.take() ?? Buffer.alloc(0)
  const message = new Writer()
    .bytes(Buffer.from([0x6c, 1, NO_AUTO_START, 1]))
    .uint32(content.length)
    .uint32(serial)
    .byteArray(header)
    .align(8)
    .bytes(content)
    .take()
  wipe(content)
  return message
}

interface Message {
  readonly size: number
  readonly type: number
  readonly replyTo: number
  readonly error: string
  readonly body: Reader
}

/**
 * @param bytes at least the first 16 bytes of a message
 * @returns undefined until the message is complete
 * @throws {RangeError} if it is not a message, or is larger than `MESSAGE_LIMIT`
 */
export function readMessage(bytes: Buffer): Message | undefined {
  const bodyLength = bytes.readUInt32LE(4)
  const fieldsLength = bytes.readUInt32LE(12)
  const start = 16 + fieldsLength + (-fieldsLength & 7)
  const size = start + bodyLength
  if (bytes[0] !== 0x6c || bytes[3] !== 1 || size > MESSAGE_LIMIT) throw new RangeError('not a message')
  if (bytes.length < size) return undefined
  const fields = new Reader(bytes.subarray(16, 16 + fieldsLength))
  let replyTo = 0
  let error = ''
  while (!fields.done) {
    const code = fields.align(8).uint8()
    const type = fields.signature()
    if (type === 'u') {
      const value = fields.uint32()
      if (code === 5) replyTo = value
    } else if (type === 's' || type === 'o') {
      const value = fields.string()
      if (code === 4) error = value
    } else if (type === 'g') fields.signature()
    else throw new RangeError('a header field of unknown type')
  }
  return { size, type: bytes[1]!, replyTo, error, body: new Reader(bytes.subarray(start, size)) }
}
