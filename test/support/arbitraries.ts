import fc from 'fast-check'
import { peerOf } from '../../src/host-port.ts'
import { type Batch, MAX_TICKETS_BYTES } from '../../src/seal/batch-bytes.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'

const time = fc.nat({ max: 2 ** 33 })

export const peer = fc
  .tuple(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), fc.nat({ max: 65_535 }))
  .map(([host, port]) => peerOf(host, port))

/** The fields that all tickets of a batch share. */
const shared = fc.record(
  {
    spkiFp: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    binding: fc.stringMatching(/^[\x21-\x7e]{1,256}$/),
    address: fc.oneof(fc.ipV4(), fc.ipV6()),
    certificate: fc.uint8Array({ minLength: 1, maxLength: 2_000 }),
  },
  { requiredKeys: ['spkiFp'] },
)

const own = fc.record(
  {
    ticket: fc.uint8Array({ minLength: 1, maxLength: 6_000 }),
    storedAtUnixSecs: time,
    expiresAtUnixSecs: time,
    verifiedAtUnixSecs: time,
  },
  { requiredKeys: ['ticket', 'storedAtUnixSecs'] },
)

const protocol = fc.constantFrom({}, { protocol: 'TLSv1.2' as const }, { protocol: 'TLSv1.3' as const })

/** Tickets that may be in one batch, without issuers. */
export const tickets: fc.Arbitrary<StoredTicket[]> = fc
  .tuple(shared, protocol, fc.array(own, { minLength: 1, maxLength: 10 }))
  .map(([common, kind, each]) => each.map((one) => ({ ...one, ...kind, ...common })))
  .filter((all) => all.reduce((sum, { ticket }) => sum + ticket.length, 0) <= MAX_TICKETS_BYTES)

export const issuers = fc.array(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), { maxLength: 4 })

export const batch: fc.Arbitrary<Batch> = fc.record({ kid: fc.constant('AAAAAAAAAAA'), peer, tickets })
