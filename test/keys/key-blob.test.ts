import { describe, expect, test } from 'vitest'
import {
  decodeKeyBlob,
  encodeKeyBlob,
  isOverdue,
  MAX_PREVIOUS,
  nextKeyBlob,
} from '../../src/keys/key-blob.ts'
import { KEY } from '../support/keychains.ts'

const DAY = 86_400
const NOW = 1_800_000_000

describe('the blob in a keychain', () => {
  const bytes = (n: number) => new Uint8Array(n).fill(7)

  test('has a fixed format, byte by byte', () => {
    const blob = { current: KEY, createdAt: NOW, previous: [{ key: bytes(32), retiredAt: NOW }] }
    expect(Buffer.from(encodeKeyBlob(blob)).toString('hex')).toBe(
      `${Buffer.from('ticketkeep key').toString('hex')}01000000006b49d200${Buffer.from(KEY).toString('hex')}` +
        `000000006b49d200${'07'.repeat(32)}`,
    )
    expect(decodeKeyBlob(encodeKeyBlob(blob))).toEqual(blob)
    const alone = { current: KEY, createdAt: NOW, previous: [] }
    expect(decodeKeyBlob(encodeKeyBlob(alone))).toEqual(alone)
  })

  test('is refused with any other length, magic or version', () => {
    const good = encodeKeyBlob({ current: KEY, createdAt: NOW, previous: [] })
    for (let length = 0; length < 1000; length++) {
      const other = new Uint8Array(length)
      other.set(good.subarray(0, length))
      const slots = (length - 15) / 40
      const isOne = Number.isInteger(slots) && slots > 0 && slots <= 1 + MAX_PREVIOUS
      expect(decodeKeyBlob(other) !== undefined).toBe(isOne)
    }
    for (let at = 0; at < 15; at++)
      expect(decodeKeyBlob(good.map((b, i) => (i === at ? b ^ 1 : b)))).toBeUndefined()
  })

  test('is due for rotation after a week, and again when the previous key is a day old', () => {
    const first = nextKeyBlob(undefined, NOW, bytes)!
    expect(isOverdue(first, NOW + 7 * DAY - 1)).toBe(false)
    expect(isOverdue(first, NOW + 7 * DAY)).toBe(true)
    const second = nextKeyBlob(first, NOW + 7 * DAY, () => KEY)!
    expect(second).toEqual({
      current: KEY,
      createdAt: NOW + 7 * DAY,
      previous: [{ key: bytes(32), retiredAt: NOW + 7 * DAY }],
    })
    expect(isOverdue(second, NOW + 8 * DAY - 1)).toBe(false)
    expect(isOverdue(second, NOW + 8 * DAY)).toBe(true)
    const alone = { current: KEY, createdAt: NOW + 7 * DAY, previous: [] }
    expect(nextKeyBlob(second, NOW + 8 * DAY, bytes)).toEqual(alone)
    // made while the clock was ahead
    expect(isOverdue({ ...alone, createdAt: NOW + 400 * DAY }, NOW)).toBe(true)
  })

  test('keeps every key of the last day and takes no more than it can keep', () => {
    let blob = nextKeyBlob(undefined, NOW, bytes)!
    for (let i = 1; i <= MAX_PREVIOUS; i++) {
      const next = nextKeyBlob(blob, NOW + i, () => new Uint8Array(32).fill(i), true)!
      expect(next.previous).toEqual([{ key: blob.current, retiredAt: NOW + i }, ...blob.previous])
      expect(decodeKeyBlob(encodeKeyBlob(next))).toEqual(next)
      blob = next
    }
    expect(encodeKeyBlob(blob).length).toBeLessThan(2560)
    expect(nextKeyBlob(blob, NOW + DAY, () => KEY, true)).toBeUndefined()
    const later = nextKeyBlob(blob, NOW + DAY + 1, () => KEY, true)!
    expect(later.previous).toHaveLength(MAX_PREVIOUS)
    expect(later.previous.map(({ retiredAt }) => retiredAt)).not.toContain(NOW + 1)
  })
})
