import fc from 'fast-check'
import { peerOf } from '../../src/host-port.ts'
import type { SealedRecord } from '../../src/seal/record.ts'

const time = fc.nat({ max: 2 ** 33 })

export const peer = fc
  .tuple(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), fc.nat({ max: 65_535 }))
  .map(([host, port]) => peerOf(host, port))

export const storedTicket = fc.record(
  {
    ticket: fc.uint8Array({ minLength: 1, maxLength: 6_000 }),
    spkiFp: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    storedAtUnixSecs: time,
    expiresAtUnixSecs: time,
    verifiedAtUnixSecs: time,
    protocol: fc.constantFrom('TLSv1.2' as const, 'TLSv1.3' as const),
    binding: fc.stringMatching(/^[\x21-\x7e]{1,256}$/),
  },
  { requiredKeys: ['ticket', 'spkiFp', 'storedAtUnixSecs'] },
)

export const sealedRecord: fc.Arbitrary<SealedRecord> = fc.record({
  kid: fc.constant('AAAAAAAAAAA'),
  peer,
  ticket: storedTicket,
})
