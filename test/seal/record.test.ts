import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeRecord, encodeRecord, type SealedRecord } from '../../src/seal/record.ts'
import { MAX_TICKET_BYTES } from '../../src/ticket-entry.ts'
import { sealedRecord } from '../support/arbitraries.ts'
import { ticket } from '../support/tickets.ts'

const record: SealedRecord = {
  kid: 'AAAAAAAAAAA',
  peer: { host: 'a.test', port: 443 },
  ticket: ticket(1, 1_800_000_000, {
    binding: 'b"\\',
    expiresAtUnixSecs: 1_800_000_900,
    verifiedAtUnixSecs: 1_800_000_000,
  }),
}
const text = encodeRecord(record).toString('latin1')
const padded = (body: string) => Buffer.from(body.padEnd(Math.ceil(body.length / 2048) * 2048), 'latin1')

test('decoding inverts encoding', () => {
  fc.assert(
    fc.property(sealedRecord, (any) => {
      expect(decodeRecord(encodeRecord(any))).toEqual(any)
    }),
  )
})

test('the length says nothing finer than 2 KiB', () => {
  const length = (bytes: number) =>
    encodeRecord({ ...record, ticket: { ...record.ticket, ticket: new Uint8Array(bytes) } }).length
  expect([length(1), length(900)]).toEqual([2048, 2048])
  fc.assert(
    fc.property(fc.integer({ min: 1, max: MAX_TICKET_BYTES }), (bytes) => length(bytes) % 2048 === 0),
    { numRuns: 30 },
  )
})

describe('refused', () => {
  const edit = (change: object) => padded(JSON.stringify({ ...JSON.parse(text), ...change }))

  test('the edits below start from what is accepted', () => expect(decodeRecord(edit({}))).toEqual(record))

  test.each<[string, Uint8Array]>([
    ['an unknown version', edit({ v: 2 })],
    ['a version as text', edit({ v: '1' })],
    ['no version', edit({ v: undefined })],
    ['a kid that is no text', edit({ kid: 1 })],
    ['a host in another spelling', edit({ host: 'A.test' })],
    ['a host that is none', edit({ host: 'a b' })],
    ['a port out of range', edit({ port: 65_536 })],
    ['a port as text', edit({ port: '443' })],
    ['a binding that is no text', edit({ binding: 1 })],
    ['a binding too long', edit({ binding: 'x'.repeat(257) })],
    ['no binding field', edit({ binding: undefined })],
    ['no ticket', edit({ ticket: '' })],
    ['a ticket as an array of bytes', edit({ ticket: [1, 2, 3] })],
    ['a ticket as a number', edit({ ticket: 100 })],
    ['a ticket over 64 KiB', edit({ ticket: Buffer.alloc(MAX_TICKET_BYTES + 1).toString('base64') })],
    ['base64 without its padding', edit({ ticket: 'AA' })],
    ['base64 with stray low bits', edit({ ticket: 'AB==' })],
    ['base64 with a line break', edit({ ticket: 'AAAA\nAAAA' })],
    ['base64url', edit({ ticket: '__-_' })],
    ['a fingerprint of 31 bytes', edit({ spkiFp: Buffer.alloc(31).toString('base64') })],
    ['a fingerprint of 33 bytes', edit({ spkiFp: Buffer.alloc(33).toString('base64') })],
    ['a fractional time', edit({ storedAt: 1.5 })],
    ['a time as text', edit({ storedAt: '1800000000' })],
    ['a negative time', edit({ storedAt: -1 })],
    ['an end that is null', edit({ expiresAt: null })],
    ['a verification time beyond exact integers', edit({ verifiedAt: 2 ** 53 })],
    ['an unknown protocol', edit({ protocol: 'TLSv1.1' })],
    ['an unknown field', edit({ extra: 1 })],
    [
      'fields in another order',
      padded(JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()))),
    ],
    ['a field twice', padded(text.trimEnd().replace('{', '{"v":1,'))],
    ['a number in another spelling', padded(text.trimEnd().replace('443', '4.43e2'))],
    ['an escape that is not needed', padded(text.trimEnd().replace('a.test', '\\u0061.test'))],
    ['spaces inside', padded(text.trimEnd().replace('{', '{ '))],
    ['padding that is missing', Buffer.from(text.trimEnd())],
    ['padding too long', Buffer.from(text.padEnd(4096))],
    ['padding of other blanks', Buffer.from(text.replace(/ $/, '\n'))],
    ['an array', padded('[]')],
    ['null', padded('null')],
    ['a number', padded('1')],
    ['nothing', Buffer.alloc(0)],
    ['half of it', encodeRecord(record).subarray(0, 100)],
  ])('%s', (_, bytes) => expect(decodeRecord(bytes)).toBeUndefined())
})

test('10,000 mutations: each is read as the record that it spells, or refused', () => {
  const edit = fc.record({
    at: fc.nat(text.trimEnd().length + 5),
    remove: fc.nat(4),
    insert: fc.string({ unit: 'binary', maxLength: 4 }),
  })
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const mutated = edits.reduce((t, e) => t.slice(0, e.at) + e.insert + t.slice(e.at + e.remove), text)
      const bytes = Buffer.from(mutated, 'latin1')
      const read = decodeRecord(bytes)
      if (read !== undefined) expect(encodeRecord(read)).toEqual(bytes)
    }),
    { numRuns: 10_000 },
  )
})
