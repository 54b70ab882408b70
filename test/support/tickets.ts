import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'

/** 32 bytes that differ with `seed`. */
export const masterKey = (seed = 1) => new Uint8Array(32).map((_, i) => (seed * 31 + i * 7) & 0xff)

export const subkeys = (seed = 1) => deriveSubkeys(masterKey(seed))

/** A ticket whose bytes differ with `seed`, and which is single-use unless `change` says otherwise. */
export function ticket(
  seed: number,
  storedAtUnixSecs: number,
  change: Partial<StoredTicket> = {},
): StoredTicket {
  return {
    ticket: new Uint8Array(200).map((_, i) => (seed * 131 + i * 17 + (i >> 3)) & 0xff),
    spkiFp: new Uint8Array(32).fill(seed & 0xff),
    storedAtUnixSecs,
    protocol: 'TLSv1.3',
    ...change,
  }
}
