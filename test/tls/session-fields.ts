export interface Field {
  readonly tag: number
  readonly contents: Uint8Array
}

/** The elements of a SEQUENCE. */
export function fieldsOf(sequence: Uint8Array): Field[] {
  const fields: Field[] = []
  const whole = elementAt(sequence, 0)
  for (let at = 0; at < whole.contents.length; ) {
    const one = elementAt(whole.contents, at)
    fields.push(one)
    at = one.end
  }
  return fields
}

function elementAt(bytes: Uint8Array, at: number): Field & { end: number } {
  const first = bytes[at + 1]!
  const octets = first < 0x80 ? 0 : first & 0x7f
  let length = octets === 0 ? first : 0
  for (let i = 0; i < octets; i++) length = length * 256 + bytes[at + 2 + i]!
  const start = at + 2 + octets
  return { tag: bytes[at]!, contents: bytes.subarray(start, start + length), end: start + length }
}

export const sequenceOf = (fields: readonly Field[]): Buffer =>
  element(0x30, Buffer.concat(fields.map(({ tag, contents }) => element(tag, contents))))

export function element(tag: number, contents: Uint8Array): Buffer {
  const { length } = contents
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), contents])
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), contents])
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), contents])
}

export const integer = (hex: string): Field => ({ tag: 0x02, contents: Buffer.from(hex, 'hex') })
export const octets = (length: number): Field => ({ tag: 0x04, contents: Buffer.alloc(length, 7) })
const tagged = (number: number, { tag, contents }: Field): Field => ({
  tag: 0xa0 | number,
  contents: element(tag, contents),
})

/** A session with one field changed or removed, by its position (version, protocol, suite, id, secret) or its tag. */
export function changed(der: Uint8Array, place: number, field?: Field, tag?: number): Uint8Array {
  const fields = fieldsOf(der)
  const at = tag === undefined ? place : fields.findIndex((one) => one.tag >= (0xa0 | tag))
  const isThere = tag === undefined || fields[at]?.tag === (0xa0 | tag)
  fields.splice(at < 0 ? fields.length : at, isThere ? 1 : 0, ...(field ? [field] : []))
  return sequenceOf(fields)
}

export const withTag = (der: Uint8Array, tag: number, field?: Field) =>
  changed(der, -1, field && tagged(tag, field), tag)
