import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import nacl from 'tweetnacl'
import { describe, expect, test, vi } from 'vitest'
import { MAX_FILE_BYTES, NONCE_BYTES, open, Sealing } from '../../src/seal/box.ts'
import type { SealedRecord } from '../../src/seal/record.ts'
import type { Subkeys } from '../../src/seal/subkeys.ts'
import type { CipherName } from '../../src/settings.ts'
import { MAX_TICKET_BYTES } from '../../src/ticket-entry.ts'
import { sealedRecord } from '../support/arbitraries.ts'
import { masterKey, subkeys, ticket } from '../support/tickets.ts'

const keys = subkeys()
const record = {
  peer: { host: 'a.test', port: 443 },
  ticket: ticket(1, 1_800_000_000, { binding: 'binding' }),
}
const ciphers: CipherName[] = ['xsalsa20-poly1305', 'aes-256-gcm']
const nonceOf = (cipher: CipherName, fill = 7) => new Uint8Array(NONCE_BYTES[cipher]).fill(fill)

const seal = (record: Omit<SealedRecord, 'kid'>, keys: Subkeys, cipher: CipherName, nonce: Uint8Array) =>
  new Sealing(keys, cipher, nonce).seal(record)

describe.each(ciphers)('%s', (cipher) => {
  const nonce = nonceOf(cipher)
  const text = seal(record, keys, cipher, nonce)

  test('opening inverts sealing', () => {
    const anyNonce = fc.uint8Array({ minLength: nonce.length, maxLength: nonce.length })
    fc.assert(
      fc.property(sealedRecord, anyNonce, ({ peer, ticket }, nonce) => {
        expect(open(seal({ peer, ticket }, keys, cipher, nonce), keys)).toEqual({
          kid: keys.kid,
          peer,
          ticket,
        })
      }),
    )
  })

  test('what was prepared changes nothing, whatever the length of the record', () => {
    for (const length of [10, 1_000, 1_400, 5_000]) {
      const long = { ...record, ticket: { ...record.ticket, ticket: new Uint8Array(length).fill(9) } }
      const prepared = new Sealing(keys, cipher, nonce)
      prepared.prepare()
      prepared.prepare()
      expect(prepared.seal(long)).toBe(seal(long, keys, cipher, nonce))
    }
  })

  test('a nonce is for one record', () => {
    const once = new Sealing(keys, cipher, nonce)
    once.seal(record)
    once.prepare()
    expect(() => once.seal(record)).toThrow('a nonce is for one record')
  })

  test('a file is JSON of one line, with magic, cipher where it is not the default, and box', () => {
    const json = JSON.parse(text)
    expect(Object.keys(json)).toEqual(
      cipher === 'aes-256-gcm' ? ['magic', 'cipher', 'box'] : ['magic', 'box'],
    )
    expect(json.magic).toBe('ticketkeep/v1')
    expect(Buffer.from(json.box, 'base64')).toHaveLength(nonce.length + 16 + 2048)
    expect(Buffer.from(json.box, 'base64').subarray(0, nonce.length)).toEqual(Buffer.from(nonce))
  })

  test('any changed byte makes it a miss', () => {
    for (let at = 0; at < text.length; at++) {
      for (const mask of [0x01, 0x02, 0x04, 0x20, 0x80]) {
        const changed =
          text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ mask) + text.slice(at + 1)
        if (open(changed, keys) !== undefined) expect.unreachable(`byte ${at}, mask ${mask}`)
      }
    }
  })

  test('base64 in any other spelling makes it a miss', () => {
    // Of a length that leaves unused bits in the last character.
    const long = seal(
      { ...record, ticket: { ...record.ticket, ticket: new Uint8Array(2_000) } },
      keys,
      cipher,
      nonce,
    )
    expect(long).toMatch(/="}$/)
    const [, head, last] = /^(.*)(.)(?:=+"})$/.exec(long)!
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    const padding = long.slice(head!.length + 1)
    const sameBytes = head + alphabet[alphabet.indexOf(last!) + 1]! + padding
    const box = (text: string) => Buffer.from(JSON.parse(text).box, 'base64')
    expect(box(sameBytes)).toEqual(box(long))
    const others = [sameBytes, long.replace(/=+"}$/, '"}'), long.replace('"box":"', '"box":" ')]
    expect(others.map((text) => open(text, keys))).toEqual([undefined, undefined, undefined])
    expect(open(long, keys)).toBeDefined()
  })

  test('cut short, lengthened or empty it is a miss', () => {
    for (let length = 0; length < text.length; length += 13)
      expect(open(text.slice(0, length), keys)).toBeUndefined()
    for (const longer of [
      `${text}\n`,
      ` ${text}`,
      text.replace('"}', 'AAAA"}'),
      text.replace('"}', '","x":1}'),
    ]) {
      expect(open(longer, keys)).toBeUndefined()
    }
    for (const box of [
      '',
      'AAAA',
      Buffer.alloc(15).toString('base64'),
      Buffer.alloc(40).toString('base64'),
    ]) {
      expect(open(text.replace(/"box":"[^"]*"/, `"box":"${box}"`), keys)).toBeUndefined()
    }
  })

  test('another key does not open it', () => expect(open(text, subkeys(2))).toBeUndefined())

  test('it holds no run of the ticket, the host or the key', () => {
    const box = Buffer.from(JSON.parse(text).box, 'base64')
    for (const secret of [
      record.ticket.ticket.subarray(0, 8),
      masterKey().subarray(0, 8),
      Buffer.from('a.test'),
    ].map((s) => Buffer.from(s))) {
      expect(box.includes(secret)).toBe(false)
    }
  })

  test('the longest record fits a file', () => {
    const longest = {
      peer: { host: `${'a'.repeat(63)}.`.repeat(4).slice(0, 253), port: 65_535 },
      ticket: {
        ...record.ticket,
        ticket: new Uint8Array(MAX_TICKET_BYTES),
        binding: '\\'.repeat(256),
        storedAtUnixSecs: Number.MAX_SAFE_INTEGER,
        expiresAtUnixSecs: Number.MAX_SAFE_INTEGER,
        verifiedAtUnixSecs: Number.MAX_SAFE_INTEGER,
      },
    }
    const file = seal(longest, keys, cipher, nonce)
    expect(file.length).toBeLessThanOrEqual(MAX_FILE_BYTES)
    expect(open(file, keys)).toEqual({ ...longest, kid: keys.kid })
  })
})

test('one cipher is not taken for the other', () => {
  const [salsa, aes] = ciphers.map((cipher) => seal(record, keys, cipher, nonceOf(cipher)))
  expect(open(salsa!.replace('"box"', '"cipher":"aes-256-gcm","box"'), keys)).toBeUndefined()
  expect(open(aes!.replace('"cipher":"aes-256-gcm",', ''), keys)).toBeUndefined()
})

test('what stands under the same key but bears another kid is a miss', () => {
  // Only a holder of the seal key could make one.
  const disguised = Object.create(keys, { kid: { value: 'AAAAAAAAAAA' } })
  disguised.sealKey = (cipher: CipherName) => keys.sealKey(cipher)
  expect(
    open(seal(record, disguised, 'xsalsa20-poly1305', nonceOf('xsalsa20-poly1305')), keys),
  ).toBeUndefined()
})

test('20,000 texts of any kind: a miss, never a crash', () => {
  const base64 = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('base64'))
  const cipher = fc.constantFrom('', '"cipher":"aes-256-gcm",', '"cipher":"none",')
  const file = fc
    .tuple(cipher, fc.oneof(base64, fc.string()))
    .map(([c, b]) => `{"magic":"ticketkeep/v1",${c}"box":"${b}"}`)
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.json(), file),
      (text) => open(text, keys) === undefined,
    ),
    { numRuns: 20_000 },
  )
})

describe('frozen vectors: what any release wrote opens for ever, and is written the same', () => {
  const vectors = JSON.parse(readFileSync(new URL('vectors/vectors.json', import.meta.url), 'utf8'))

  test.each(vectors.files as { file: string; cipher: CipherName; nonce: string }[])(
    '$file',
    ({ file, cipher, nonce }) => {
      const text = readFileSync(new URL(`vectors/${file}`, import.meta.url), 'latin1')
      const { peer, ticket } = vectors.records[file.replace(/\..*/, '')]
      const record = {
        peer,
        ticket: {
          ...ticket,
          ticket: Uint8Array.from(Buffer.from(ticket.ticket, 'hex')),
          spkiFp: Uint8Array.from(Buffer.from(ticket.spkiFp, 'hex')),
        },
      }
      expect(open(text, keys)).toEqual({ ...record, kid: vectors.kid })
      expect(seal(record, keys, cipher, Buffer.from(nonce, 'hex'))).toBe(text)
    },
  )

  test('names', () => {
    expect(Buffer.from(masterKey()).toString('hex')).toBe(vectors.masterKey)
    expect(keys.kid).toBe(vectors.kid)
    for (const { peer, binding, name } of vectors.names) {
      expect(`${keys.kid}-${keys.peerName(peer)}-${keys.bindingName(binding)}`).toBe(name)
    }
  })
})

test('the key stream is computed ahead, and overwritten once it has served', () => {
  const computed = vi.spyOn(
    (nacl as unknown as { lowlevel: { crypto_stream(stream: Uint8Array): 0 } }).lowlevel,
    'crypto_stream',
  )
  try {
    const nonce = nonceOf('xsalsa20-poly1305')
    const prepared = new Sealing(keys, 'xsalsa20-poly1305', nonce)
    prepared.prepare()
    expect(computed).toHaveBeenCalledTimes(1)
    const text = prepared.seal(record)
    expect(computed).toHaveBeenCalledTimes(1)
    expect(open(text, keys)).toBeDefined()
    // Of another length than was prepared for: made anew, and both are gone.
    const long = { ...record, ticket: { ...record.ticket, ticket: new Uint8Array(5_000) } }
    const other = new Sealing(keys, 'xsalsa20-poly1305', nonce)
    other.prepare()
    other.seal(long)
    expect(computed).toHaveBeenCalledTimes(4)
    for (const [stream] of computed.mock.calls) expect(stream.every((byte) => byte === 0)).toBe(true)
  } finally {
    computed.mockRestore()
  }
})
