import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import nacl from 'tweetnacl'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { CipherName } from '../../src/ciphers.ts'
import type { Batch } from '../../src/seal/batch-bytes.ts'
import { cipherInForce, MAX_FILE_BYTES, openBatch, sealBatch } from '../../src/seal/box.ts'
import { MAX_CERTIFICATE_BYTES } from '../../src/ticket-entry.ts'
import { batch as anyBatch, issuers as anyIssuers } from '../support/arbitraries.ts'
import { masterKey, subkeys, ticket } from '../support/tickets.ts'

const fips = vi.hoisted(() => ({ mode: 0 }))
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof import('node:crypto')>()),
  getFips: () => fips.mode,
}))
afterEach(() => {
  fips.mode = 0
})

const keys = subkeys()
const ciphers: CipherName[] = ['xsalsa20-poly1305', 'aes-256-gcm']
const chain = [Uint8Array.of(1, 2, 3), new Uint8Array(1_000).fill(4)]
const now = 1_800_000_000
const batchOf = (change: object = {}, count = 2): Batch => ({
  kid: keys.kid,
  peer: { host: 'a.test', port: 443 },
  tickets: Array.from({ length: count }, (_, i) => ({
    ...ticket(i, now),
    spkiFp: new Uint8Array(32).fill(7),
    binding: 'binding',
    certificate: Uint8Array.of(9, 9, 9),
    ...change,
  })),
})
const batch = batchOf()
const chained = batchOf({ issuers: () => chain })

/** Bytes that count up, so that no nonce repeats. */
function counting(from = 0): (bytes: number) => Uint8Array {
  let next = from
  return (bytes) => new Uint8Array(bytes).map(() => next++ & 0xff)
}
const boxOf = (text: string, name = 'box') => Buffer.from(JSON.parse(text)[name], 'base64')
/** The batch without its issuers, which are a function. */
const plain = (opened: Batch | undefined) =>
  opened && { ...opened, tickets: opened.tickets.map(({ issuers: _, ...rest }) => rest) }
const issuersOf = (opened: Batch | undefined) => opened?.tickets[0]?.issuers?.()

describe.each(ciphers)('%s', (cipher) => {
  const nonceBytes = cipher === 'aes-256-gcm' ? 12 : 24
  const text = sealBatch(batch, keys, cipher, counting())
  const withIssuers = sealBatch(chained, keys, cipher, counting())

  test('opening inverts sealing', () => {
    fc.assert(
      fc.property(
        anyBatch,
        fc.option(anyIssuers),
        fc.nat({ max: 255 }),
        ({ peer, tickets }, certificates, from) => {
          const issuers = () => certificates!
          const given = {
            kid: keys.kid,
            peer,
            tickets: certificates ? tickets.map((one) => ({ ...one, issuers })) : tickets,
          }
          const opened = openBatch(sealBatch(given, keys, cipher, counting(from)), keys)
          expect(plain(opened)).toEqual({ kid: keys.kid, peer, tickets })
          expect(issuersOf(opened)).toEqual(certificates ?? undefined)
        },
      ),
    )
  })

  test('a file is one line of JSON with magic, cipher, box and, if there are issuers, a box of issuers', () => {
    expect(Object.keys(JSON.parse(text))).toEqual(['magic', 'cipher', 'box'])
    expect(Object.keys(JSON.parse(withIssuers))).toEqual(['magic', 'cipher', 'box', 'issuers'])
    expect(JSON.parse(text)).toMatchObject({ magic: 'ticketkeep/v1', cipher })
    for (const box of [boxOf(text), boxOf(withIssuers), boxOf(withIssuers, 'issuers')]) {
      expect(box).toHaveLength(nonceBytes + 16 + 2048)
    }
  })

  test('nonces differ by their random part, and by the content if a program has replaced random numbers', () => {
    const constant = (bytes: number) => new Uint8Array(bytes).fill(7)
    const nonceOf = (sealed: string, name = 'box') => boxOf(sealed, name).toString('hex', 0, nonceBytes)
    const sealed = [chained, batchOf({ issuers: () => chain }, 3)].map((one) =>
      sealBatch(one, keys, cipher, constant),
    )
    const nonces = [text, withIssuers, ...sealed].map((one) => nonceOf(one))
    const ofIssuers = [withIssuers, sealed[0]!].map((one) => nonceOf(one, 'issuers'))
    expect(new Set([...nonces, ...ofIssuers]).size).toBe(6)
  })

  test('each box has its own nonce', () => {
    const [first, second] = [boxOf(withIssuers), boxOf(withIssuers, 'issuers')]
    expect(first.subarray(0, nonceBytes)).not.toEqual(second.subarray(0, nonceBytes))
  })

  test('a change of any byte, also of the issuers, makes a file a miss', () => {
    for (let at = 0; at < withIssuers.length; at++) {
      for (const mask of [0x01, 0x02, 0x04, 0x20, 0x80]) {
        const changed =
          withIssuers.slice(0, at) +
          String.fromCharCode(withIssuers.charCodeAt(at) ^ mask) +
          withIssuers.slice(at + 1)
        if (openBatch(changed, keys) !== undefined) expect.unreachable(`byte ${at}, mask ${mask}`)
      }
    }
  })

  test('issuers that are removed, added or taken from another file make a file a miss', () => {
    const other = sealBatch(batchOf({ issuers: () => [Uint8Array.of(1)] }), keys, cipher, counting(99))
    const parts = (text: string) => JSON.parse(text)
    const swapped = [
      { ...parts(withIssuers), issuers: undefined },
      { ...parts(withIssuers), issuers: parts(other).issuers },
      { ...parts(withIssuers), issuers: parts(withIssuers).box },
      { ...parts(withIssuers), box: parts(withIssuers).issuers },
      { ...parts(text), issuers: parts(withIssuers).issuers },
      { ...parts(withIssuers), issuers: null },
      { ...parts(withIssuers), issuers: 5 },
    ]
    for (const one of swapped) expect(openBatch(JSON.stringify(one), keys)).toBeUndefined()
    expect(openBatch(JSON.stringify(parts(withIssuers)), keys)).toBeDefined()
  })

  test('issuers are decrypted once on request, and are copied into the next file still encrypted', () => {
    const opening = vi.spyOn(nacl.secretbox as { open: typeof nacl.secretbox.open }, 'open')
    const opened = openBatch(withIssuers, keys)!
    const { issuers } = opened.tickets[0]!
    expect(opened.tickets.every((one) => one.issuers === issuers)).toBe(true)
    const again = sealBatch(opened, keys, cipher, counting(50))
    expect(opening).toHaveBeenCalledTimes(cipher === 'xsalsa20-poly1305' ? 1 : 0)
    expect(boxOf(again, 'issuers')).toEqual(boxOf(withIssuers, 'issuers'))
    expect(boxOf(again)).not.toEqual(boxOf(withIssuers))
    expect(issuersOf(openBatch(again, keys))).toEqual(chain)
    expect(issuers!()).toBe(issuers!())
    opening.mockRestore()
  })

  test('issuers are encrypted again under another key or cipher', () => {
    const other = ciphers.find((one) => one !== cipher)!
    const opened = openBatch(withIssuers, keys)!
    expect(issuersOf(openBatch(sealBatch(opened, keys, other, counting()), keys))).toEqual(chain)
    const moved = { ...opened, kid: subkeys(2).kid }
    expect(issuersOf(openBatch(sealBatch(moved, subkeys(2), cipher, counting()), subkeys(2)))).toEqual(chain)
  })

  test('base64 that is not canonical makes a file a miss', () => {
    const unused = sealBatch(batchOf({}, 1), keys, cipher, counting()).match(/=+"}$/)
      ? batchOf({}, 1)
      : batchOf({ ticket: new Uint8Array(2_000) }, 1)
    const long = sealBatch(unused, keys, cipher, counting())
    expect(long).toMatch(/="}$/)
    const [, head, last] = /^(.*)(.)(?:=+"})$/.exec(long)!
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    const padding = long.slice(head!.length + 1)
    const sameBytes = head + alphabet[alphabet.indexOf(last!) + 1]! + padding
    expect(boxOf(sameBytes)).toEqual(boxOf(long))
    const others = [sameBytes, long.replace(/=+"}$/, '"}'), long.replace('"box":"', '"box":" ')]
    expect(others.map((text) => openBatch(text, keys))).toEqual([undefined, undefined, undefined])
    expect(openBatch(long, keys)).toBeDefined()
  })

  test('a file that is truncated, extended or empty is a miss', () => {
    for (let length = 0; length < text.length; length += 13)
      expect(openBatch(text.slice(0, length), keys)).toBeUndefined()
    for (const longer of [
      `${text}\n`,
      ` ${text}`,
      text.replace('"}', 'AAAA"}'),
      text.replace('"}', '","x":1}'),
      text.replace('{', '{"magic":"ticketkeep/v1",'),
      text.replace(':', ': '),
    ]) {
      expect(openBatch(longer, keys)).toBeUndefined()
    }
    for (const box of [
      '',
      'AAAA',
      Buffer.alloc(15).toString('base64'),
      Buffer.alloc(40).toString('base64'),
      5,
      null,
    ]) {
      expect(openBatch(JSON.stringify({ ...JSON.parse(text), box }), keys)).toBeUndefined()
    }
  })

  test('another key does not open a file', () => expect(openBatch(text, subkeys(2))).toBeUndefined())

  test('a file contains no bytes of the ticket, the certificates, the host or the key', () => {
    const boxes = Buffer.concat([boxOf(withIssuers), boxOf(withIssuers, 'issuers')])
    const secrets = [
      batch.tickets[0]!.ticket.subarray(0, 8),
      chain[1]!.subarray(0, 8),
      masterKey().subarray(0, 8),
    ]
    for (const secret of [...secrets, 'a.test', 'tickets'].map((one) => Buffer.from(one as string))) {
      expect(boxes.includes(secret)).toBe(false)
    }
  })

  test('the largest batch fits into a file', () => {
    const time = Number.MAX_SAFE_INTEGER
    const largest: Batch = {
      kid: keys.kid,
      peer: { host: `${'a'.repeat(63)}.`.repeat(4).slice(0, 253), port: 65_535 },
      tickets: batchOf(
        {
          ticket: new Uint8Array(1_024),
          certificate: new Uint8Array(MAX_CERTIFICATE_BYTES),
          binding: '\\'.repeat(256),
          storedAtUnixSecs: time,
          expiresAtUnixSecs: time,
          verifiedAtUnixSecs: time,
          issuers: () => Array(16).fill(new Uint8Array(3_072)),
        },
        64,
      ).tickets,
    }
    const file = sealBatch(largest, keys, cipher, counting())
    expect(file.length).toBeLessThanOrEqual(MAX_FILE_BYTES)
    expect(plain(openBatch(file, keys))).toEqual(plain(largest))
  })
})

test("the box is a nonce followed by the output of tweetnacl's secretbox", () => {
  const box = boxOf(sealBatch(batch, keys, 'xsalsa20-poly1305', counting()))
  const plain = nacl.secretbox.open(box.subarray(24), box.subarray(0, 24), keys.sealKey('xsalsa20-poly1305'))
  const [line = ''] = Buffer.from(plain!).toString('latin1').split('\n')
  expect(JSON.parse(line)).toMatchObject({
    v: 2,
    kid: keys.kid,
    host: 'a.test',
    port: 443,
  })
})

test('a file of one cipher does not open as one of the other', () => {
  for (const [cipher, other] of [ciphers, ciphers.toReversed()]) {
    const text = sealBatch(batch, keys, cipher!, counting())
    expect(openBatch(text.replace(`"cipher":"${cipher}"`, `"cipher":"${other}"`), keys)).toBeUndefined()
    expect(openBatch(text.replace(`"cipher":"${cipher}"`, '"cipher":"none"'), keys)).toBeUndefined()
    expect(openBatch(text.replace(`"cipher":"${cipher}"`, '"cipher":"toString"'), keys)).toBeUndefined()
  }
})

test('FIPS mode always encrypts with AES-256-GCM, and files of the other cipher are misses', () => {
  const [salsa, aes] = ciphers.map((cipher) => sealBatch(batch, keys, cipher, counting())) as [string, string]
  expect(ciphers.map(cipherInForce)).toEqual(ciphers)
  fips.mode = 1
  expect(ciphers.map(cipherInForce)).toEqual(['aes-256-gcm', 'aes-256-gcm'])
  expect(openBatch(salsa, keys)).toBeUndefined()
  expect(plain(openBatch(aes, keys))).toEqual(batch)
})

test('a file with the right key and another kid is a miss', () => {
  // Only somebody with the key could make such a file.
  const text = sealBatch({ ...batch, kid: 'AAAAAAAAAAA' }, keys, 'xsalsa20-poly1305', counting())
  expect(openBatch(text, keys)).toBeUndefined()
})

test('20,000 random texts are misses without an exception', () => {
  const base64 = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('base64'))
  const file = fc
    .record(
      {
        magic: fc.constant('ticketkeep/v1'),
        cipher: fc.constantFrom('aes-256-gcm', 'xsalsa20-poly1305', 'none', 5),
        box: fc.oneof(base64, fc.jsonValue({ maxDepth: 1 })),
        issuers: fc.oneof(base64, fc.jsonValue({ maxDepth: 1 })),
      },
      { requiredKeys: ['magic', 'cipher'] },
    )
    .map((json) => JSON.stringify(json))
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.json(), file),
      (text) => openBatch(text, keys) === undefined,
    ),
    { numRuns: 20_000 },
  )
})

describe('files of every release can be opened and are written the same', () => {
  const vectors = JSON.parse(readFileSync(new URL('vectors/vectors.json', import.meta.url), 'utf8'))
  const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'))

  function batchOfVector(name: string): Batch {
    const { peer, shared, tickets, issuers } = vectors.batches[name]
    const { spkiFp, certificate, ...rest } = shared
    const chain = issuers?.map(hex)
    return {
      kid: vectors.kid,
      peer,
      tickets: tickets.map(({ ticket, ...times }: { ticket: string }) => ({
        ticket: hex(ticket),
        ...times,
        ...rest,
        spkiFp: hex(spkiFp),
        ...(certificate ? { certificate: hex(certificate) } : {}),
        ...(chain ? { issuers: () => chain } : {}),
      })),
    }
  }

  test.each(vectors.files as { file: string; cipher: CipherName; randoms: string[]; sha256: string }[])(
    '$file',
    ({ file, cipher, randoms, sha256 }) => {
      const text = readFileSync(new URL(`vectors/${file}`, import.meta.url), 'latin1')
      const given = batchOfVector(file.replace(/\..*/, ''))
      const left = randoms.map(hex)
      expect(sealBatch(given, keys, cipher, () => left.shift()!)).toBe(text)
      expect(createHash('sha256').update(text).digest('hex')).toBe(sha256)
      const opened = openBatch(text, keys)
      expect(plain(opened)).toEqual(plain(given))
      expect(issuersOf(opened)).toEqual(issuersOf(given))
    },
  )

  test('names', () => {
    expect(Buffer.from(masterKey()).toString('hex')).toBe(vectors.masterKey)
    expect(keys.kid).toBe(vectors.kid)
    for (const { peer, binding, spkiFp, address, fact, names } of vectors.names) {
      const made = [
        ...[keys.peerName(peer), keys.bindingName(peer, binding), keys.keyTag(peer, hex(spkiFp))],
        ...[keys.addressTag(peer, address), keys.factName(peer, fact)],
      ]
      expect(made).toEqual(names)
    }
  })
})
