import { beforeEach, describe, expect, it } from 'vitest'
import { hostPort } from '../../src/host-port.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import { SessionPool } from '../../src/tls/session-pool.ts'
import { ticket as ticketOf } from '../support/tickets.ts'
import { MemoryShelf } from './memory-shelf.ts'

const NOW = 1_800_000_000
const a = hostPort('a.test', 443)
const b = hostPort('b.test', 443)
const any = () => true

let time: number
let pool: SessionPool
let shelf: MemoryShelf
beforeEach(() => {
  time = NOW
  shelf = new MemoryShelf()
  pool = new SessionPool(() => time, false)
})

const single = (seed: number, change: Partial<StoredTicket> = {}) =>
  ticketOf(seed, NOW, { binding: 'x', ...change })
const reusable = (seed: number, change: Partial<StoredTicket> = {}) =>
  single(seed, { protocol: 'TLSv1.2', ...change })
const take = (peer = a, binding = 'x', accept: (ticket: StoredTicket) => boolean = any) =>
  pool.take(peer, binding, accept)
const takeAll = (peer = a, binding = 'x') => {
  const taken: StoredTicket[] = []
  for (let one = take(peer, binding); one; one = take(peer, binding)) taken.push(one)
  return taken
}

describe('taking', () => {
  it('gives a ticket of exactly this peer and binding', () => {
    pool.put(a, single(1))
    expect(take(b)).toBeUndefined()
    expect(take(a, 'y')).toBeUndefined()
    expect(take(hostPort('a.test', 8443))).toBeUndefined()
    expect(take()).toEqual(single(1))
  })

  it('gives the newest ticket first, and each once', () => {
    for (const seed of [1, 2, 3]) pool.put(a, single(seed))
    expect(takeAll()).toEqual([single(3), single(2), single(1)])
  })

  it('gives the newest TLS 1.2 session again and again', () => {
    pool.put(a, reusable(1))
    pool.put(a, reusable(2))
    expect([take(), take(), take()]).toEqual([reusable(2), reusable(2), reusable(2)])
  })

  it('gives a TLS 1.3 ticket again if reuse is on', () => {
    pool = new SessionPool(() => time, true)
    pool.put(a, single(1))
    expect([take(), take()]).toEqual([single(1), single(1)])
  })

  it('can peek at the newest fresh and accepted ticket in memory', () => {
    const find = (accept: (ticket: StoredTicket) => boolean = any) => pool.find(a, 'x', accept)
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [single(1)] }])
    expect(find()).toBeUndefined()
    for (const one of [single(2), single(3), single(4, { expiresAtUnixSecs: NOW })]) pool.put(a, one)
    expect([find(), find(({ ticket }) => ticket[0] !== single(3).ticket[0])]).toEqual([single(3), single(2)])
    expect([pool.find(b, 'x', any), pool.find(a, 'y', any)]).toEqual([undefined, undefined])
    expect(take()).toEqual(single(3))
  })

  it('drops refused tickets and goes on', () => {
    for (const one of [single(1), single(2), single(3)]) pool.put(a, one)
    const refused: StoredTicket[] = []
    const taken = take(a, 'x', (ticket) => ticket.spkiFp[0] === 1 || refused.push(ticket) === 0)
    expect(taken).toEqual(single(1))
    expect(refused).toEqual([single(3), single(2)])
    expect(take()).toBeUndefined()
  })

  it('skips expired tickets without asking', () => {
    pool.put(a, single(1, { expiresAtUnixSecs: NOW + 10 }))
    time = NOW + 10
    expect(take(a, 'x', () => expect.unreachable())).toBeUndefined()
  })
})

describe('the shelf', () => {
  it('is read when this process has no ticket left', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [single(1), single(2)] }])
    pool.put(a, single(3))
    shelf.calls.length = 0
    expect(take()).toEqual(single(3))
    expect(shelf.calls).toEqual([])
    expect([take(), take()]).toEqual([single(2), single(1)])
    expect(shelf.calls).toEqual(['take a.test x'])
  })

  it('is read again when a whole batch is refused, for at most 16 batches', () => {
    pool.attach(shelf)
    for (let seed = 0; seed < 20; seed++) shelf.saveAll([{ peer: a, tickets: [single(seed)] }])
    shelf.calls.length = 0
    expect(take(a, 'x', () => false)).toBeUndefined()
    expect(shelf.calls).toHaveLength(16)
  })

  it('gives TLS 1.2 sessions that are not written back', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [reusable(1)] }])
    expect(take()).toEqual(reusable(1))
    expect(pool.dirty).toBe(false)
  })

  it('may come late without losing tickets', () => {
    pool.put(a, single(1))
    pool.flush()
    expect(pool.dirty).toBe(true)
    pool.attach(shelf)
    pool.flush()
    expect(shelf.calls).toEqual(['save a.test 1'])
  })

  it('is told once what was invalidated before it came', () => {
    pool.invalidate(a)
    pool.invalidate(a)
    pool.attach(shelf)
    pool.attach(shelf)
    expect(shelf.calls).toEqual(['invalidate a.test'])
  })
})

describe('saving', () => {
  beforeEach(() => pool.attach(shelf))

  it('moves single-use tickets in one call', () => {
    for (const seed of [1, 2]) pool.put(a, single(seed))
    pool.put(b, single(3, { binding: 'y' }))
    expect(pool.dirty).toBe(true)
    pool.flush()
    expect(shelf.calls).toEqual(['save a.test 2, b.test 1'])
    expect([pool.dirty, pool.kept]).toEqual([false, 3])
    expect(takeAll()).toEqual([single(2), single(1)])
  })

  it('copies reusable sessions once', () => {
    pool.put(a, reusable(1))
    pool.flush()
    expect(pool.dirty).toBe(false)
    shelf.batches = []
    expect(take()).toEqual(reusable(1))
    pool.flush()
    expect(shelf.calls).toEqual(['save a.test 1'])
    pool.put(a, reusable(2))
    pool.flush()
    expect(shelf.calls).toEqual(['save a.test 1', 'save a.test 1'])
  })

  it('does not retry tickets that were not kept', () => {
    shelf.most = 1
    for (const seed of [1, 2]) pool.put(a, single(seed))
    pool.flush()
    expect([pool.dirty, pool.kept]).toEqual([false, 1])
    shelf.batches = []
    expect(take()).toBeUndefined()
  })

  it('does nothing if there is nothing to save', () => {
    pool.flush()
    expect(pool.dirty).toBe(false)
    expect(shelf.calls).toEqual([])
  })
})

describe('bounds', () => {
  it('are 64 tickets for each peer and binding, and the oldest is dropped', () => {
    for (let seed = 0; seed < 70; seed++) pool.put(a, single(seed))
    const taken = takeAll()
    expect(taken).toHaveLength(64)
    expect([taken[0], taken.at(-1)]).toEqual([single(69), single(6)])
  })

  it('are 1,024 pairs of peer and binding, and the least recently filled one is dropped', () => {
    const peer = (i: number) => hostPort(`h${i}.test`, 443)
    for (let i = 0; i < 1024; i++) pool.put(peer(i), single(i))
    pool.put(peer(0), single(9))
    pool.put(peer(2000), single(1))
    expect(take(peer(1))).toBeUndefined()
    expect(takeAll(peer(0))).toHaveLength(2)
    expect(take(peer(2))).toBeDefined()
  })
})

describe('an invalidated peer', () => {
  it('has no ticket under any binding, in memory or on the shelf, and other peers keep theirs', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [single(1)] }])
    pool.put(a, single(2))
    pool.put(a, single(3, { binding: 'y' }))
    pool.put(b, single(4))
    pool.invalidate(a)
    expect([take(), take(a, 'y'), take(b)]).toEqual([undefined, undefined, single(4)])
    expect(shelf.batches).toEqual([])
  })

  it('gets back no ticket that was taken before', () => {
    const before = pool.generation(a)
    pool.giveBack(a, single(1), before)
    expect(take()).toEqual(single(1))
    pool.invalidate(a)
    pool.giveBack(a, single(1), before)
    expect(take()).toBeUndefined()
    expect(pool.mayReturn(a, single(1), before)).toBe(false)
    expect(pool.mayReturn(a, single(1), pool.generation(a))).toBe(true)
    expect(pool.generation(b)).toBe(0)
  })
})

describe('a ticket that is given back', () => {
  it('is not stored twice if it is of TLS 1.2', () => {
    pool.giveBack(a, reusable(1), pool.generation(a))
    expect(take()).toBeUndefined()
  })

  it('is dropped if the peer has shown another key since', () => {
    pool.sawKey(a, single(1).spkiFp)
    expect(pool.mayReturn(a, single(1), 0)).toBe(true)
    expect(pool.mayReturn(a, single(2), 0)).toBe(false)
    pool.giveBack(a, single(2), 0)
    expect(take()).toBeUndefined()
  })
})

describe('a server that refuses a ticket', () => {
  it('is offered no ticket that is as old, only newer ones', () => {
    pool.attach(shelf)
    pool.put(a, single(1, { storedAtUnixSecs: NOW - 1 }))
    pool.put(a, single(2))
    pool.put(b, single(3, { storedAtUnixSecs: NOW - 1 }))
    pool.turnedDown(a, NOW)
    expect(shelf.calls).toEqual([`invalidate a.test before ${NOW}`])
    expect(takeAll()).toEqual([single(2)])
    expect(take(b)).toBeDefined()
  })
})

describe('a key that a full handshake has shown', () => {
  it('drops the tickets of that peer with other keys', () => {
    pool.put(a, single(1))
    pool.put(a, single(2))
    pool.put(b, single(2))
    pool.sawKey(a, single(1).spkiFp)
    expect(takeAll()).toEqual([single(1)])
    expect(take(b)).toEqual(single(2))
  })

  it('is told to the shelf at the next save, and again when it changes', () => {
    pool.attach(shelf)
    for (const seed of [1, 1]) pool.sawKey(a, single(seed).spkiFp)
    expect(pool.dirty).toBe(true)
    pool.flush()
    expect(pool.dirty).toBe(false)
    pool.sawKey(a, single(1).spkiFp)
    pool.flush()
    pool.sawKey(a, single(2).spkiFp)
    pool.flush()
    expect(shelf.calls).toEqual(['drop other keys a.test 1', 'drop other keys a.test 2'])
  })
})

describe('a ticket that the program itself has offered', () => {
  it('is removed, and other tickets stay', () => {
    pool.attach(shelf)
    for (const seed of [1, 2, 3]) pool.put(a, single(seed))
    pool.spend(a, single(2))
    expect(shelf.calls).toEqual([])
    expect(takeAll()).toEqual([single(3), single(1)])
  })

  it('is removed from the shelf, and the rest of its batch and earlier batches stay', () => {
    pool.attach(shelf)
    for (const seeds of [[1, 2], [3, 4], [5]])
      shelf.saveAll([{ peer: a, tickets: seeds.map((seed) => single(seed)) }])
    pool.spend(a, single(3))
    expect(new Set(takeAll().map(({ spkiFp }) => spkiFp[0]))).toEqual(new Set([1, 2, 4, 5]))
  })

  it('stays if it is of TLS 1.2', () => {
    pool.put(a, reusable(1))
    pool.spend(a, reusable(1))
    expect(take()).toEqual(reusable(1))
  })

  it('changes nothing if it is not stored', () => {
    pool.attach(shelf)
    pool.put(a, single(1))
    pool.spend(a, single(9))
    expect(takeAll()).toEqual([single(1)])
  })
})

describe('taking for a server with several addresses', () => {
  const of = (address: string, seed: number, change: Partial<StoredTicket> = {}) =>
    single(seed, { address, ...change })
  const takeAt = (address: string | undefined, takesOthers = true) =>
    pool.take(a, 'x', any, { address, takesOthers: () => takesOthers })

  it('gives a ticket of the same address before a newer one of another address', () => {
    for (const one of [of('::1', 1), of('::2', 2)]) pool.put(a, one)
    expect([takeAt('::1'), takeAt('::1')]).toEqual([of('::1', 1), of('::2', 2)])
  })

  it('gives a ticket of another address only if the servers share tickets', () => {
    pool.put(a, of('::2', 2))
    expect(takeAt('::1', false)).toBeUndefined()
    expect(takeAt('::2', false)).toEqual(of('::2', 2))
  })

  it('gives any ticket if the address is unknown', () => {
    pool.put(a, of('::2', 2))
    expect(takeAt(undefined, false)).toEqual(of('::2', 2))
  })

  it('reads the shelf for the same address before it takes one of another address from memory', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [of('::1', 1)] }])
    pool.put(a, of('::2', 2))
    expect(takeAt('::1')).toEqual(of('::1', 1))
    expect(shelf.calls.slice(1)).toEqual(['take a.test x of ::1'])
  })

  it('keeps one reusable session for each address', () => {
    const tls12 = { protocol: 'TLSv1.2' } as const
    for (const one of [of('::1', 1, tls12), of('::2', 2, tls12), of('::1', 3, tls12)]) pool.put(a, one)
    expect([takeAt('::1'), takeAt('::2'), takeAt('::1')]).toEqual([
      of('::1', 3, tls12),
      of('::2', 2, tls12),
      of('::1', 3, tls12),
    ])
  })

  it('drops only the tickets of the address that has refused one', () => {
    pool.attach(shelf)
    for (const one of [of('::1', 1), of('::2', 2)]) pool.put(a, one)
    pool.turnedDown(a, NOW + 1, '::1')
    expect(takeAll()).toEqual([of('::2', 2)])
    expect(shelf.calls).toContain(`invalidate a.test before ${NOW + 1} of ::1`)
  })

  it('drops the tickets of all addresses after another public key was shown', () => {
    for (const one of [of('::1', 1), of('::2', 1)]) pool.put(a, one)
    pool.sawKey(a, single(9).spkiFp)
    expect(takeAll()).toEqual([])
  })
})
