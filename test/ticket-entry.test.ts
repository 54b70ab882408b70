import { describe, expect, test } from 'vitest'
import { copyEntry, isFresh, MAX_AGE, type StoredTicket } from '../src/ticket-entry.ts'

const now = 1_800_000_000
const entry: StoredTicket = { ticket: new Uint8Array(8), spkiFp: new Uint8Array(32), storedAtUnixSecs: now }

describe('a ticket is fresh', () => {
  test.each<[string, Partial<StoredTicket>, boolean]>([
    ['when just stored', {}, true],
    ['one second before it is 24 hours old', { storedAtUnixSecs: now - MAX_AGE + 1 }, true],
    ['and no longer at 24 hours', { storedAtUnixSecs: now - MAX_AGE }, false],
    ['if it is at most a minute from the future', { storedAtUnixSecs: now + 60 }, true],
    ['and not if it is further from the future', { storedAtUnixSecs: now + 61 }, false],
    ['until its own end', { expiresAtUnixSecs: now + 1 }, true],
    ['and no longer at its own end', { expiresAtUnixSecs: now }, false],
    [
      'while the last full handshake is less than 24 hours ago',
      { verifiedAtUnixSecs: now - MAX_AGE + 1 },
      true,
    ],
    ['and no longer 24 hours after the last full handshake', { verifiedAtUnixSecs: now - MAX_AGE }, false],
    ['and not if it was verified in the future', { verifiedAtUnixSecs: now + 61 }, false],
  ])('%s', (_, change, expected) => expect(isFresh({ ...entry, ...change }, now)).toBe(expected))
})

describe('an entry from a caller', () => {
  test('is copied, byte by byte', () => {
    const mine = { ...entry, ticket: Uint8Array.of(1, 2, 3) }
    const copy = copyEntry(mine)
    mine.ticket.fill(0)
    expect([...copy.ticket]).toEqual([1, 2, 3])
  })

  test('loses fields that are not public', () => {
    const stored: StoredTicket = {
      ...entry,
      verifiedAtUnixSecs: now,
      certificate: new Uint8Array(8),
      issuers: () => [],
    }
    expect(copyEntry(stored)).toEqual(entry)
  })

  test.each<[string, object | null | undefined | number]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', 5],
    ['an empty ticket', { ...entry, ticket: new Uint8Array(0) }],
    ['a ticket over 64 KiB', { ...entry, ticket: new Uint8Array(65_537) }],
    ['a ticket as text', { ...entry, ticket: 'abc' }],
    ['a short fingerprint', { ...entry, spkiFp: new Uint8Array(31) }],
    ['no fingerprint', { ...entry, spkiFp: undefined }],
    ['a fraction of a second', { ...entry, storedAtUnixSecs: 1.5 }],
    ['a time before 1970', { ...entry, storedAtUnixSecs: -1 }],
    ['no time', { ...entry, storedAtUnixSecs: undefined }],
    ['an end that is not a time', { ...entry, expiresAtUnixSecs: Number.NaN }],
    ['an unknown protocol', { ...entry, protocol: 'SSLv3' }],
    ['an empty binding', { ...entry, binding: '' }],
    ['a binding over 256 characters', { ...entry, binding: 'x'.repeat(257) }],
    ['an empty certificate', { ...entry, certificate: new Uint8Array(0) }],
    ['a certificate over 16 KiB', { ...entry, certificate: new Uint8Array(16_385) }],
    ['issuers that are not a function', { ...entry, issuers: [] }],
    ['a binding with a line break', { ...entry, binding: 'a\nb' }],
  ])('is refused: %s', (_, wrong) => {
    expect(() => copyEntry(wrong as StoredTicket)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_TICKET' }),
    )
  })
})
