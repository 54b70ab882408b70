import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { unixNow } from '../../src/common/clock.ts'
import type { PoolAddress } from '../../src/pool/address.ts'
import { readPoolAddress } from '../../src/pool/address.ts'
import type { Exchange } from '../../src/pool/exchange.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import { subkeys, ticket } from '../support/tickets.ts'
import { POOL_PASSWORD } from '../support/valkey.ts'

const scratch = mkdtempSync(join(tmpdir(), 'ticketkeep-pool-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

export const PEER = { host: 'registry.example', port: 443 }
export const BINDING = 'b'.repeat(43)

/** A runner with an empty store. @param key the seed of its key: 1 is the fleet's */
export function runner(address: PoolAddress, key = 1): Exchange {
  const keys = subkeys(key)
  const directory = join(mkdtempSync(join(scratch, 'r-')), 'tickets')
  const cipher = 'aes-256-gcm'
  return { address, keys, cipher, store: new TicketStore({ directory, subkeys: keys, cipher }) }
}

/** The pool on a loopback port, with enough time for a busy machine. */
export const addressOf = (port: number, ca: string, parameters = '', hosts = `127.0.0.1:${port}`) =>
  readPoolAddress(
    `valkeys://:${POOL_PASSWORD}@${hosts}/?ca=${encodeURIComponent(ca)}&budget=30000${parameters}`,
    'TICKETKEEP_POOL',
  )

/** A ticket as a verified connection stores it. */
export const verified = (seed: number, change: Partial<StoredTicket> = {}): StoredTicket =>
  ticket(seed, unixNow(), {
    spkiFp: new Uint8Array(32).fill(7),
    certificate: new Uint8Array(900).fill(3),
    verifiedAtUnixSecs: unixNow(),
    expiresAtUnixSecs: unixNow() + 7_200,
    binding: BINDING,
    ...change,
  })

export const list = ({ store }: Exchange) => store.list(unixNow()).map(({ ticket: one }) => one.ticket)
