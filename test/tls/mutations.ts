import { element, type Field, fieldsOf, sequenceOf } from './session-fields.ts'

/** mulberry32, so that every run has the same mutations. */
export function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

type Random = ReturnType<typeof random>

/** One to three changes: a bit, a byte, a cut, an insertion, a piece of another input, a wrong length. */
export function mutate(seed: Uint8Array, other: Uint8Array, below: Random): Uint8Array {
  let bytes = Buffer.from(seed)
  for (let changes = 1 + below(3); changes > 0 && bytes.length > 0; changes--) {
    const at = below(bytes.length)
    const from = below(other.length)
    const piece = other.subarray(from, from + 1 + below(64))
    // Most of a session is certificate and ticket: the fields' own bytes lie in its first 120 and its last 60.
    const near =
      below(2) === 0
        ? below(Math.min(120, bytes.length))
        : bytes.length - 1 - below(Math.min(60, bytes.length))
    const change = [
      () => (bytes[near] = bytes[near]! ^ (1 << below(8))),
      () => (bytes[near] = below(256)),
      () => (bytes[at] = below(256)),
      () => (bytes = Buffer.from(bytes.subarray(0, at))),
      () => (bytes = Buffer.concat([bytes.subarray(0, near), piece, bytes.subarray(near)])),
      () => (bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(8))])),
      () => bytes.set(piece.subarray(0, Math.max(0, bytes.length - at)), at),
      () => bytes.length > 3 && bytes.writeUInt16BE(below(0x10000), Math.min(2, bytes.length - 2)),
    ]
    change[below(change.length)]!()
  }
  return bytes
}

/** Removes, doubles, swaps, replaces or refills one or two fields of a SEQUENCE. The lengths stay right. */
export function mutateFields(seed: Uint8Array, other: Uint8Array, below: Random): Uint8Array {
  const fields = fieldsOf(seed)
  const others = fieldsOf(other)
  for (let changes = 1 + below(2); changes > 0 && fields.length > 0; changes--) {
    const at = below(fields.length)
    const field = fields[at]!
    const change = [
      () => fields.splice(at, 1),
      () => fields.splice(at, 0, field),
      () => fields.splice(at, 1, others[below(others.length)]!),
      () => fields.splice(at, 0, others[below(others.length)]!),
      () => fields.splice(at, 0, ...fields.splice(below(fields.length), 1)),
      () => fields.splice(at, 0, newField(below)),
      () => fields.splice(at, 1, { tag: field.tag, contents: newContents(field, below) }),
      () => fields.splice(at, 1, { tag: field.tag, contents: newContents(field, below) }),
      () => fields.splice(at, 1, { tag: 0xa0 | below(24), contents: field.contents }),
    ]
    change[below(change.length)]!()
  }
  return sequenceOf(fields)
}

/** What an EXPLICIT field may hold, of any type and size. */
const newField = (below: Random): Field => ({ tag: 0xa0 | below(24), contents: newElement(below) })

function newContents({ tag, contents }: Field, below: Random): Uint8Array {
  if (tag === 0x02 || tag === 0x04) return bytesOf(below)
  return below(3) === 0 ? Buffer.concat([contents, newElement(below)]) : newElement(below)
}

const newElement = (below: Random) => element([0x02, 0x02, 0x04, 0x04, 0x30, 0x05][below(6)]!, bytesOf(below))

const LENGTHS = [0, 1, 1, 2, 4, 4, 5, 6, 7, 8, 9, 31, 32, 33, 48, 49, 127, 128, 255, 256, 300]

function bytesOf(below: Random): Uint8Array {
  const bytes = Buffer.alloc(LENGTHS[below(LENGTHS.length)]!)
  for (let i = 0; i < bytes.length; i++) bytes[i] = below(256)
  const firsts = [0, 1, 0x7f, 0x80, 0xff]
  if (bytes.length > 0 && below(2) === 0) bytes[0] = firsts[below(firsts.length)]!
  return bytes
}
