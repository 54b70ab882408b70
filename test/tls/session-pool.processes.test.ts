import fc from 'fast-check'
import { expect, it } from 'vitest'
import { hostPort } from '../../src/host-port.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import { SessionPool } from '../../src/tls/session-pool.ts'
import { ticket } from '../support/tickets.ts'
import { MemoryShelf } from './memory-shelf.ts'

const NOW = 1_800_000_000
const a = hostPort('a.test', 443)
const b = hostPort('b.test', 443)
const any = () => true
const single = (seed: number, change: Partial<StoredTicket>) => ticket(seed, NOW, change)

it('two processes get each single-use ticket once, and only under its own peer and binding', () => {
  const operation = fc.record({
    pool: fc.nat({ max: 1 }),
    peer: fc.constantFrom(a, b),
    binding: fc.constantFrom('x', 'y'),
    kind: fc.constantFrom(
      'put',
      'put',
      'take',
      'take',
      'flush',
      'spend',
      'invalidate',
      'refuse',
      'saw',
      'back',
    ),
    seed: fc.nat({ max: 250 }),
  })
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const shared = new MemoryShelf()
      const pools = [0, 1].map(() => {
        const one = new SessionPool(() => NOW, false)
        one.attach(shared)
        return one
      })
      const out = new Set<StoredTicket>()
      const places = new Map<StoredTicket, string>()
      for (const { pool: which, peer, binding, kind, seed } of operations) {
        const one = pools[which]!
        const place = `${peer.host} ${binding}`
        const takeOne = (accept: () => boolean) => {
          const taken = one.take(peer, binding, accept)
          if (!taken) return undefined
          expect(out.has(taken)).toBe(false)
          expect(places.get(taken)).toBe(place)
          out.add(taken)
          return taken
        }
        if (kind === 'put') {
          const fresh = single(seed, { binding })
          places.set(fresh, place)
          one.put(peer, fresh)
        } else if (kind === 'take') takeOne(any)
        else if (kind === 'refuse') takeOne(() => seed % 2 === 0)
        else if (kind === 'flush') one.flush()
        else if (kind === 'invalidate') one.invalidate(peer)
        else if (kind === 'saw') one.sawKey(peer, single(seed, {}).spkiFp)
        else if (kind === 'spend') {
          const [known] = [...places.keys()].filter(
            (ticket) => !out.has(ticket) && places.get(ticket) === place,
          )
          if (known) one.spend(peer, known)
        } else {
          const generation = one.generation(peer)
          const taken = takeOne(any)
          if (taken) out.delete(taken)
          if (taken) one.giveBack(peer, taken, generation)
        }
      }
    }),
    { numRuns: 500 },
  )
})
