import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type BoxedBatch,
  decodeBatch,
  decodeIssuers,
  encodeBatch,
  encodeIssuers,
  MAX_TICKETS,
  MAX_TICKETS_BYTES,
} from '../../src/seal/batch-bytes.ts'
import { batch, issuers } from '../support/arbitraries.ts'
import { ticket } from '../support/tickets.ts'

const common = { binding: 'b"\\', certificate: Uint8Array.of(1, 2, 3), spkiFp: new Uint8Array(32).fill(9) }
const boxed: BoxedBatch = {
  batch: {
    kid: 'AAAAAAAAAAA',
    peer: { host: 'a.test', port: 443 },
    tickets: [
      ticket(1, 1_800_000_000, {
        ...common,
        expiresAtUnixSecs: 1_800_000_900,
        verifiedAtUnixSecs: 1_800_000_000,
      }),
      ticket(2, 1_800_000_001, common),
    ],
  },
  issuersDigest: new Uint8Array(32).fill(5),
}
const text = encodeBatch(boxed).toString('latin1')
const line = text.slice(0, text.indexOf('\n'))
/** The bytes of the certificate and of each ticket. */
const tail = [common.certificate, ...boxed.batch.tickets.map((one) => one.ticket)]
const padded = (body: string, filler = ' ') =>
  Buffer.from(body.padEnd(Math.ceil(body.length / 2048) * 2048, filler), 'latin1')
const spelled = (json: string, bytes: readonly Uint8Array[] = tail) =>
  padded(`${json}\n${Buffer.concat(bytes).toString('latin1')}`, '\0')
const digest = fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined })

test('decoding inverts encoding', () => {
  fc.assert(
    fc.property(batch, digest, (any, issuersDigest) => {
      expect(decodeBatch(encodeBatch({ batch: any, issuersDigest }))).toEqual({ batch: any, issuersDigest })
    }),
  )
  fc.assert(
    fc.property(issuers, (any) => {
      expect(decodeIssuers(encodeIssuers(any))).toEqual(any)
    }),
  )
})

test('the length is a multiple of 2 KiB', () => {
  const length = (bytes: number) => {
    const tickets = [{ ...boxed.batch.tickets[0]!, ticket: new Uint8Array(bytes) }]
    return encodeBatch({ ...boxed, batch: { ...boxed.batch, tickets } }).length
  }
  expect([length(1), length(900)]).toEqual([2048, 2048])
  fc.assert(
    fc.property(fc.integer({ min: 1, max: MAX_TICKETS_BYTES }), (bytes) => length(bytes) % 2048 === 0),
    { numRuns: 30 },
  )
  expect([0, 3].map((n) => encodeIssuers([new Uint8Array(n * 400)]).length)).toEqual([2048, 2048])
})

describe('decoding refuses', () => {
  const edit = (change: object) => spelled(JSON.stringify({ ...JSON.parse(line), ...change }))
  const first = (change: object, bytes = tail) => {
    const { tickets } = JSON.parse(line)
    const json = { ...JSON.parse(line), tickets: [{ ...tickets[0], ...change }, tickets[1]] }
    return spelled(JSON.stringify(json), bytes)
  }
  const many = (count: number, bytes: number) =>
    spelled(
      JSON.stringify({
        ...JSON.parse(line),
        tickets: Array(count).fill({ ...JSON.parse(line).tickets[1], ticket: bytes }),
      }),
      [common.certificate, new Uint8Array(count * bytes)],
    )
  const withCertificate = (length: number) =>
    spelled(JSON.stringify({ ...JSON.parse(line), certificate: length }), [
      new Uint8Array(length),
      ...tail.slice(1),
    ])
  const [, one, other] = tail as [Uint8Array, Uint8Array, Uint8Array]

  test('nothing of the batch from which the edits below start', () => {
    expect(decodeBatch(edit({}))).toEqual(boxed)
    expect(decodeBatch(first({}))).toEqual(boxed)
    expect(decodeBatch(many(MAX_TICKETS, MAX_TICKETS_BYTES / MAX_TICKETS))).toBeDefined()
  })

  test.each<[string, Uint8Array]>([
    ['an unknown version', edit({ v: 3 })],
    ['the version before', edit({ v: 1 })],
    ['a version as text', edit({ v: '2' })],
    ['no version', edit({ v: undefined })],
    ['a kid that is not text', edit({ kid: 1 })],
    ['a host in another spelling', edit({ host: 'A.test' })],
    ['an invalid host', edit({ host: 'a b' })],
    ['a port out of range', edit({ port: 65_536 })],
    ['a port as text', edit({ port: '443' })],
    ['a binding that is not text', edit({ binding: 1 })],
    ['a binding that is too long', edit({ binding: 'x'.repeat(257) })],
    ['no binding field', edit({ binding: undefined })],
    ['base64 without its padding', edit({ spkiFp: Buffer.alloc(32).toString('base64').slice(0, -1) })],
    ['base64 with stray low bits', edit({ spkiFp: `${'A'.repeat(42)}B=` })],
    ['base64 with a line break', edit({ spkiFp: `AAAA\n${'A'.repeat(39)}=` })],
    ['base64url', edit({ spkiFp: `__-_${'A'.repeat(39)}=` })],
    ['a fingerprint of 31 bytes', edit({ spkiFp: Buffer.alloc(31).toString('base64') })],
    ['a fingerprint of 33 bytes', edit({ spkiFp: Buffer.alloc(33).toString('base64') })],
    ['an empty certificate', withCertificate(0)],
    ['a certificate over 16 KiB', withCertificate(16_385)],
    ['a certificate that is null', edit({ certificate: null })],
    ['a digest of 31 bytes', edit({ issuers: Buffer.alloc(31).toString('base64') })],
    ['issuers in place of their digest', edit({ issuers: ['AAAA'] })],
    ['no tickets', edit({ tickets: [] })],
    ['no field for tickets', edit({ tickets: undefined })],
    ['tickets as an object', edit({ tickets: {} })],
    ['65 tickets', many(MAX_TICKETS + 1, 1)],
    ['tickets of over 64 KiB', many(MAX_TICKETS, MAX_TICKETS_BYTES / MAX_TICKETS + 1)],
    ['reusable tickets among others', first({ protocol: 'TLSv1.2' })],
    ['an empty ticket', first({ ticket: 0 }, [common.certificate, other])],
    ['a ticket as an array of bytes', first({ ticket: [1, 2, 3] })],
    ['a length that is not a number', first({ ticket: String(one.length) })],
    ['a negative length', first({ ticket: -1 })],
    ['a fractional length', first({ ticket: one.length + 0.5 })],
    ['a length beyond the end', first({ ticket: 5_000 })],
    ['a ticket over 64 KiB', many(1, MAX_TICKETS_BYTES + 1)],
    ['a fractional time', first({ storedAt: 1.5 })],
    ['a time as text', first({ storedAt: '1800000000' })],
    ['a negative time', first({ storedAt: -1 })],
    ['an end that is null', first({ expiresAt: null })],
    ['a verification time beyond exact integers', first({ verifiedAt: 2 ** 53 })],
    ['an unknown protocol', first({ protocol: 'TLSv1.1' })],
    ['a certificate of a single ticket', first({ certificate: 3 })],
    ['an unknown field', edit({ extra: 1 })],
    ['an unknown field of a ticket', first({ extra: 1 })],
    [
      'fields in another order',
      spelled(JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(line)).reverse()))),
    ],
    ['a field twice', spelled(line.replace('{', '{"v":2,'))],
    ['a number in another spelling', spelled(line.replace('443', '4.43e2'))],
    ['an unnecessary escape', spelled(line.replace('a.test', '\\u0061.test'))],
    ['spaces inside', spelled(line.replace('{', '{ '))],
    ['missing padding', Buffer.from(text.replace(/\0+$/, ''), 'latin1')],
    ['padding that is too long', Buffer.from(text.padEnd(text.length + 2048, '\0'), 'latin1')],
    ['padding of blanks', Buffer.from(text.replace(/\0$/, ' '), 'latin1')],
    ['no line end', padded(line, '\0')],
    ['an array', spelled('[]')],
    ['null', spelled('null')],
    ['a number', spelled('1')],
    ['nothing', Buffer.alloc(0)],
    ['half of it', encodeBatch(boxed).subarray(0, 100)],
  ])('%s', (_, bytes) => expect(decodeBatch(bytes)).toBeUndefined())

  test.each<[string, Uint8Array]>([
    ['a batch', padded(line)],
    ['an object', padded('{}')],
    ['text that is not base64', padded('["?"]')],
    ['numbers', padded('[1]')],
    ['spaces inside', padded('[ "AAAA"]')],
    ['missing padding', Buffer.from('["AAAA"]')],
    ['17 certificates', padded(JSON.stringify(Array(17).fill('AAAA')))],
    ['over 48 KiB', padded(JSON.stringify([Buffer.alloc(49_153).toString('base64')]))],
  ])('%s as issuers', (_, bytes) => expect(decodeIssuers(bytes)).toBeUndefined())

  test('issuers of over 48 KiB, which are not encoded either', () => {
    expect(() => encodeIssuers([new Uint8Array(49_153)])).toThrow(/48 KiB/)
    expect(() => encodeIssuers(Array(17).fill(new Uint8Array(1)))).toThrow(/48 KiB/)
  })
})

test('each of 10,000 mutations is read as the batch that it encodes or is refused', () => {
  const edit = fc.record({
    at: fc.nat(text.replace(/\0+$/, '').length + 5),
    remove: fc.nat(4),
    insert: fc.string({ unit: 'binary', maxLength: 4 }),
  })
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const mutated = edits.reduce((t, e) => t.slice(0, e.at) + e.insert + t.slice(e.at + e.remove), text)
      const bytes = Buffer.from(mutated, 'latin1')
      const read = decodeBatch(bytes)
      if (read !== undefined) expect(encodeBatch(read)).toEqual(bytes)
    }),
    { numRuns: 10_000 },
  )
})
