import { readdirSync, rmSync } from 'node:fs'
import { expect, test } from 'vitest'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { node, useBundle } from '../support/children.ts'
import { fresh } from '../support/directories.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const now = Math.floor(Date.now() / 1000)
const one = { host: 'one.test', port: 443 }
const two = { host: 'two.test', port: 443 }
const of = (seed: number) => ticket(seed, now, { spkiFp: new Uint8Array(32) })

const script = useBundle(new URL('./kill-child.ts', import.meta.url))

const seedsOf = (tickets: readonly { ticket: Uint8Array }[]) => tickets.map(({ ticket }) => ticket[0]!)
const seed = (n: number) => of(n).ticket[0]!

/** What is handed out and what is stored after a program died before its nth call. Undefined if it did not die. */
async function dyingAt(nth: number, task: string) {
  const directory = fresh()
  const storeOf = () => new TicketStore({ directory, subkeys: subkeys(), cipher: 'aes-256-gcm' })
  storeOf().save(one, [of(1), of(2)], now)
  storeOf().save(one, [of(3)], now)
  storeOf().save(two, [of(4)], now)
  const { stdout, stderr, signal } = await node(script.path, [directory, task, `${nth}`]).done
  expect(stderr).toBe('')
  const handedOut = stdout.split('\n').filter(Boolean).map(Number)
  const stored = seedsOf(
    storeOf()
      .list(now)
      .map(({ ticket }) => ticket),
  )

  // The directory can be used after every outcome.
  const other = { host: 'other.test', port: 443 }
  expect(storeOf().save(other, [of(5)], now)).toBe(1)
  expect(seedsOf(storeOf().take(other, '', now))).toEqual([seed(5)])
  storeOf().prune(now + 90_000)
  expect(readdirSync(directory)).toEqual(['CACHEDIR.TAG'])
  rmSync(directory, { recursive: true })
  return { handedOut, stored, hasDied: signal === 'SIGKILL' }
}

// The tickets that the task may remove, and those that it may add.
test.each<[string, number[], number[]]>([
  ['take', [1, 2, 3], []],
  ['takeOne', [1, 2, 3], []],
  ['save', [], [7, 8]],
  ['saveNew', [], [7, 8]],
  ['invalidate', [1, 2, 3], []],
  ['prune', [], []],
  ['cacheSave', [4], [4, 9]],
])(
  'a process that is killed at any call of %s leaves whole files, loses no other ticket and gives none out twice',
  async (task, mayGo, mayCome) => {
    let nth = 1
    for (; nth < 200; nth++) {
      const { handedOut, stored, hasDied } = await dyingAt(nth, task)
      const all = [...handedOut, ...stored]
      expect(new Set(all).size, `${task}, call ${nth}: ${all}`).toBe(all.length)
      for (const kept of [1, 2, 3, 4].filter((n) => !mayGo.includes(n))) expect(stored).toContain(seed(kept))
      const known = [1, 2, 3, 4, ...mayCome].map(seed)
      expect(stored.filter((found) => !known.includes(found))).toEqual([])
      if (!hasDied) break
    }
    expect(nth).toBeGreaterThan(4)
    expect(nth).toBeLessThan(200)
  },
)
