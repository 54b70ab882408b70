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

  it('gives the newest first, each once', () => {
    for (const seed of [1, 2, 3]) pool.put(a, single(seed))
    expect(takeAll()).toEqual([single(3), single(2), single(1)])
  })

  it('gives one of TLS 1.2 again and again, the last one', () => {
    pool.put(a, reusable(1))
    pool.put(a, reusable(2))
    expect([take(), take(), take()]).toEqual([reusable(2), reusable(2), reusable(2)])
  })

  it('gives one of TLS 1.3 again where that was asked for', () => {
    pool = new SessionPool(() => time, true)
    pool.put(a, single(1))
    expect([take(), take()]).toEqual([single(1), single(1)])
  })

  it('finds one without taking it: the newest in memory that is fresh and accepted', () => {
    const find = (accept: (ticket: StoredTicket) => boolean = any) => pool.find(a, 'x', accept)
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [single(1)] }])
    expect(find()).toBeUndefined()
    for (const one of [single(2), single(3), single(4, { expiresAtUnixSecs: NOW })]) pool.put(a, one)
    expect([find(), find(({ ticket }) => ticket[0] !== single(3).ticket[0])]).toEqual([single(3), single(2)])
    expect([pool.find(b, 'x', any), pool.find(a, 'y', any)]).toEqual([undefined, undefined])
    expect(take()).toEqual(single(3))
  })

  it('drops what is refused, and goes on', () => {
    for (const one of [single(1), single(2), single(3)]) pool.put(a, one)
    const refused: StoredTicket[] = []
    const taken = take(a, 'x', (ticket) => ticket.spkiFp[0] === 1 || refused.push(ticket) === 0)
    expect(taken).toEqual(single(1))
    expect(refused).toEqual([single(3), single(2)])
    expect(take()).toBeUndefined()
  })

  it('passes over what is no longer fresh, without asking', () => {
    pool.put(a, single(1, { expiresAtUnixSecs: NOW + 10 }))
    time = NOW + 10
    expect(take(a, 'x', () => expect.unreachable())).toBeUndefined()
  })
})

describe('the shelf', () => {
  it('is looked at when this process has nothing left', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [single(1), single(2)] }])
    pool.put(a, single(3))
    shelf.calls.length = 0
    expect(take()).toEqual(single(3))
    expect(shelf.calls).toEqual([])
    expect([take(), take()]).toEqual([single(2), single(1)])
    expect(shelf.calls).toEqual(['take a.test x'])
  })

  it('is looked at again where all of a batch is refused, for 16 batches and no more', () => {
    pool.attach(shelf)
    for (let seed = 0; seed < 20; seed++) shelf.saveAll([{ peer: a, tickets: [single(seed)] }])
    shelf.calls.length = 0
    expect(take(a, 'x', () => false)).toBeUndefined()
    expect(shelf.calls).toHaveLength(16)
  })

  it('gives tickets of TLS 1.2 that are not written to it again', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [reusable(1)] }])
    expect(take()).toEqual(reusable(1))
    expect(pool.dirty).toBe(false)
  })

  it('that is not there yet loses nothing', () => {
    pool.put(a, single(1))
    pool.flush()
    expect(pool.dirty).toBe(true)
    pool.attach(shelf)
    pool.flush()
    expect(shelf.calls).toEqual(['save a.test 1'])
  })

  it('hears of what was invalidated before it was there, once', () => {
    pool.invalidate(a)
    pool.invalidate(a)
    pool.attach(shelf)
    pool.attach(shelf)
    expect(shelf.calls).toEqual(['invalidate a.test'])
  })
})

describe('saving', () => {
  beforeEach(() => pool.attach(shelf))

  it('moves what is for a single use, in one call', () => {
    for (const seed of [1, 2]) pool.put(a, single(seed))
    pool.put(b, single(3, { binding: 'y' }))
    expect(pool.dirty).toBe(true)
    pool.flush()
    expect(shelf.calls).toEqual(['save a.test 2, b.test 1'])
    expect([pool.dirty, pool.kept]).toEqual([false, 3])
    expect(takeAll()).toEqual([single(2), single(1)])
  })

  it('copies what can be reused, once', () => {
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

  it('does not try again what was not kept', () => {
    shelf.most = 1
    for (const seed of [1, 2]) pool.put(a, single(seed))
    pool.flush()
    expect([pool.dirty, pool.kept]).toEqual([false, 1])
    shelf.batches = []
    expect(take()).toBeUndefined()
  })

  it('does nothing where there is nothing to save', () => {
    pool.flush()
    expect(pool.dirty).toBe(false)
    expect(shelf.calls).toEqual([])
  })
})

describe('bounds', () => {
  it('are 64 tickets a peer and binding, the oldest out', () => {
    for (let seed = 0; seed < 70; seed++) pool.put(a, single(seed))
    const taken = takeAll()
    expect(taken).toHaveLength(64)
    expect([taken[0], taken.at(-1)]).toEqual([single(69), single(6)])
  })

  it('are 1,024 peers and bindings, the one out that was put to longest ago', () => {
    const peer = (i: number) => hostPort(`h${i}.test`, 443)
    for (let i = 0; i < 1024; i++) pool.put(peer(i), single(i))
    pool.put(peer(0), single(9))
    pool.put(peer(2000), single(1))
    expect(take(peer(1))).toBeUndefined()
    expect(takeAll(peer(0))).toHaveLength(2)
    expect(take(peer(2))).toBeDefined()
  })
})

describe('a peer that is invalidated', () => {
  it('has no tickets left under any binding, here and on the shelf; others have', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [single(1)] }])
    pool.put(a, single(2))
    pool.put(a, single(3, { binding: 'y' }))
    pool.put(b, single(4))
    pool.invalidate(a)
    expect([take(), take(a, 'y'), take(b)]).toEqual([undefined, undefined, single(4)])
    expect(shelf.batches).toEqual([])
  })

  it('gets no ticket back that was taken before', () => {
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

describe('a ticket that comes back', () => {
  it('of TLS 1.2 is there already', () => {
    pool.giveBack(a, reusable(1), pool.generation(a))
    expect(take()).toBeUndefined()
  })

  it('of another key than the peer has shown since is dropped', () => {
    pool.sawKey(a, single(1).spkiFp)
    expect(pool.mayReturn(a, single(1), 0)).toBe(true)
    expect(pool.mayReturn(a, single(2), 0)).toBe(false)
    pool.giveBack(a, single(2), 0)
    expect(take()).toBeUndefined()
  })
})

describe('a server that turns a ticket down', () => {
  it('gets none of those that are as old, and those that came since', () => {
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
  it('leaves its own tickets of that peer alone, and drops those of others', () => {
    pool.put(a, single(1))
    pool.put(a, single(2))
    pool.put(b, single(2))
    pool.sawKey(a, single(1).spkiFp)
    expect(takeAll()).toEqual([single(1)])
    expect(take(b)).toEqual(single(2))
  })

  it('is told to the shelf at the next save, and again where it changes', () => {
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

describe('a ticket that the program has used by its own means', () => {
  it('is gone, and the others are there', () => {
    pool.attach(shelf)
    for (const seed of [1, 2, 3]) pool.put(a, single(seed))
    pool.spend(a, single(2))
    expect(shelf.calls).toEqual([])
    expect(takeAll()).toEqual([single(3), single(1)])
  })

  it('is gone from the shelf as well, and the others of its batch and of those before are there', () => {
    pool.attach(shelf)
    for (const seeds of [[1, 2], [3, 4], [5]])
      shelf.saveAll([{ peer: a, tickets: seeds.map((seed) => single(seed)) }])
    pool.spend(a, single(3))
    expect(new Set(takeAll().map(({ spkiFp }) => spkiFp[0]))).toEqual(new Set([1, 2, 4, 5]))
  })

  it('of TLS 1.2 stays', () => {
    pool.put(a, reusable(1))
    pool.spend(a, reusable(1))
    expect(take()).toEqual(reusable(1))
  })

  it('and is nowhere to be found changes nothing', () => {
    pool.attach(shelf)
    pool.put(a, single(1))
    pool.spend(a, single(9))
    expect(takeAll()).toEqual([single(1)])
  })
})

describe('servers at several addresses', () => {
  const of = (address: string, seed: number, change: Partial<StoredTicket> = {}) =>
    single(seed, { address, ...change })
  const takeAt = (address: string | undefined, takesOthers = true) =>
    pool.take(a, 'x', any, { address, takesOthers: () => takesOthers })

  it('gives one of the same address before a newer one of another', () => {
    for (const one of [of('::1', 1), of('::2', 2)]) pool.put(a, one)
    expect([takeAt('::1'), takeAt('::1')]).toEqual([of('::1', 1), of('::2', 2)])
  })

  it('gives one of another only where that is of use', () => {
    pool.put(a, of('::2', 2))
    expect(takeAt('::1', false)).toBeUndefined()
    expect(takeAt('::2', false)).toEqual(of('::2', 2))
  })

  it('gives any where the address is not known', () => {
    pool.put(a, of('::2', 2))
    expect(takeAt(undefined, false)).toEqual(of('::2', 2))
  })

  it('looks on the shelf for the same address before it takes another out of the memory', () => {
    pool.attach(shelf)
    shelf.saveAll([{ peer: a, tickets: [of('::1', 1)] }])
    pool.put(a, of('::2', 2))
    expect(takeAt('::1')).toEqual(of('::1', 1))
    expect(shelf.calls.slice(1)).toEqual(['take a.test x of ::1'])
  })

  it('keeps one reusable ticket of each', () => {
    const tls12 = { protocol: 'TLSv1.2' } as const
    for (const one of [of('::1', 1, tls12), of('::2', 2, tls12), of('::1', 3, tls12)]) pool.put(a, one)
    expect([takeAt('::1'), takeAt('::2'), takeAt('::1')]).toEqual([
      of('::1', 3, tls12),
      of('::2', 2, tls12),
      of('::1', 3, tls12),
    ])
  })

  it('drops those of the server that has turned one down, and no others', () => {
    pool.attach(shelf)
    for (const one of [of('::1', 1), of('::2', 2)]) pool.put(a, one)
    pool.turnedDown(a, NOW + 1, '::1')
    expect(takeAll()).toEqual([of('::2', 2)])
    expect(shelf.calls).toContain(`invalidate a.test before ${NOW + 1} of ::1`)
  })

  it('another public key removes the tickets of all', () => {
    for (const one of [of('::1', 1), of('::2', 1)]) pool.put(a, one)
    pool.sawKey(a, single(9).spkiFp)
    expect(takeAll()).toEqual([])
  })
})
