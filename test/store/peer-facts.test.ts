import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { hostPort } from '../../src/host-port.ts'
import { prune, purge } from '../../src/store/bounds.ts'
import { hasFacts } from '../../src/store/peer-facts.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { scratch } from '../support/directories.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const NOW = 1_800_000_000
const DAY = 86_400
const a = hostPort('a.test', 443)
const b = hostPort('b.test', 443)
const FACTS = ['red', 'blue']

let directory: string
beforeEach(() => {
  directory = join(scratch(), 'tickets')
})

const open = (seed = 1, previous: number[] = []) =>
  new TicketStore({
    directory,
    subkeys: subkeys(seed),
    previous: previous.map((one) => subkeys(one)),
    cipher: 'aes-256-gcm',
  })
const names = () => readdirSync(directory).filter((name) => name.endsWith('.known'))

test('other processes find a fact, for its peer only', () => {
  open().facts.note(a, FACTS, 'red', NOW)
  expect(open().facts.find(a, FACTS, NOW)).toBe('red')
  expect(open().facts.find(b, FACTS, NOW)).toBeUndefined()
  expect(open().facts.find(a, ['green'], NOW)).toBeUndefined()
})

test('a fact replaces another, and undefined removes it', () => {
  const { facts } = open()
  facts.note(a, FACTS, 'red', NOW)
  facts.note(a, ['green'], 'green', NOW)
  facts.note(a, FACTS, 'blue', NOW + 1)
  expect(facts.find(a, FACTS, NOW + 1)).toBe('blue')
  expect(names()).toHaveLength(2)
  facts.note(a, FACTS, undefined, NOW + 2)
  expect([facts.find(a, FACTS, NOW + 2), facts.find(a, ['green'], NOW + 2)]).toEqual([undefined, 'green'])
})

test('the last of two processes with different facts wins', () => {
  const [one, other] = [open(), open()]
  other.facts.find(a, FACTS, NOW)
  one.facts.note(a, FACTS, 'red', NOW)
  other.facts.note(a, FACTS, 'blue', NOW + 1)
  expect(open().facts.find(a, FACTS, NOW + 1)).toBe('blue')
})

test('a fact counts for a week, or for a given time', () => {
  const { facts } = open()
  facts.note(a, FACTS, 'red', NOW)
  expect(facts.find(a, FACTS, NOW + 7 * DAY - 1)).toBe('red')
  expect(facts.find(a, FACTS, NOW + 7 * DAY)).toBeUndefined()
  expect(facts.find(a, FACTS, NOW + DAY, DAY)).toBeUndefined()
  expect(facts.find(a, FACTS, NOW - 7 * DAY)).toBeUndefined()
})

test('a file name made with another key or with none is ignored', () => {
  open(2).facts.note(a, FACTS, 'red', NOW)
  expect(open(1).facts.find(a, FACTS, NOW)).toBeUndefined()
  expect(open(1, [2]).facts.find(a, FACTS, NOW)).toBe('red')
})

test('file names reveal neither the peer nor the fact', () => {
  open().facts.note(a, FACTS, 'red', NOW)
  open().facts.note(b, FACTS, 'red', NOW)
  const [one, other] = names().map((name) => name.split('.'))
  expect(one![1]).not.toBe(other![1])
  expect(one![2]).not.toBe(other![2])
})

test('hasFacts needs no key', () => {
  expect(hasFacts(directory)).toBe(false)
  open().save(a, [ticket(1, NOW)], NOW)
  expect(hasFacts(directory)).toBe(false)
  open().facts.note(a, FACTS, 'red', NOW)
  expect(hasFacts(directory)).toBe(true)
})

test('invalidating a peer removes its facts, even without tickets', () => {
  open().facts.note(a, FACTS, 'red', NOW)
  open().facts.note(b, FACTS, 'red', NOW)
  open().invalidate(a)
  expect([open().facts.find(a, FACTS, NOW), open().facts.find(b, FACTS, NOW)]).toEqual([undefined, 'red'])
  open().invalidateHost('b.test')
  expect(names()).toEqual([])
})

test('at most 1,024 facts are kept', () => {
  const { facts } = open()
  for (let i = 0; i < 1030; i++) facts.note(hostPort(`h${i}.test`, 443), FACTS, 'red', NOW + i)
  expect(names()).toHaveLength(1024)
  expect(facts.find(hostPort('h0.test', 443), FACTS, NOW)).toBeUndefined()
})

test('prune removes old facts, and purge removes all', () => {
  open().facts.note(a, FACTS, 'red', NOW)
  prune(directory, NOW + DAY)
  expect(names()).toHaveLength(1)
  prune(directory, NOW + 7 * DAY)
  expect(names()).toEqual([])
  open().facts.note(a, FACTS, 'red', NOW)
  purge(directory)
  expect(existsSync(directory)).toBe(false)
})

test('a fact that cannot be written is lost without an exception', () => {
  const store = new TicketStore({ directory: '/dev/null/x', subkeys: subkeys(), cipher: 'aes-256-gcm' })
  store.facts.note(a, FACTS, 'red', NOW)
  expect(store.facts.find(a, FACTS, NOW)).toBeUndefined()
})
