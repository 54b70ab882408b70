import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { beforeEach, describe, expect, test } from 'vitest'
import * as api from '../../src/index.ts'
import { TicketCache, type TicketCacheOptions, type TicketEntry } from '../../src/index.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { fresh, scratch, ticketFiles } from '../support/directories.ts'
import { masterKey, subkeys } from '../support/tickets.ts'

let clock: number
let path: string
beforeEach(() => {
  clock = Math.floor(Date.now() / 1000)
  path = fresh()
})

const now = () => clock
const open = (options: TicketCacheOptions = {}) =>
  TicketCache.openSync(path, { key: masterKey(), env: {}, now, ...options })
const entry = (seed: number, change: Partial<TicketEntry> = {}): TicketEntry => ({
  ticket: Uint8Array.of(seed, 2, 3),
  spkiFp: new Uint8Array(32).fill(7),
  storedAtUnixSecs: clock,
  ...change,
})
const seeds = (cache: TicketCache) => cache.get('a.test', 443).map(({ ticket }) => ticket[0])
const code = (expected: string) => expect.objectContaining({ name: 'TicketkeepError', code: expected })
const base64Key = Buffer.from(masterKey()).toString('base64')

test('a TicketCache has exactly its public properties', () => {
  expect(Object.keys(api).sort()).toEqual([
    'MAX_AGE',
    'TicketAgent',
    'TicketCache',
    'TicketkeepError',
    'bindingOf',
    'connect',
    'hostPort',
    'isDisabled',
    'resumable',
    'spkiFingerprint',
    'ticketConnector',
  ])
})

describe('the path', () => {
  test('gives the same cache with and without .json', () => {
    const cache = open()
    cache.put('a.test', 443, entry(1))
    cache.save()
    expect(ticketFiles(path)).toHaveLength(1)
    expect(seeds(TicketCache.openSync(`${path}.json`, { key: masterKey(), env: {}, now }))).toEqual([1])
  })

  test('is TICKETKEEP_DIR by default', () => {
    const cache = TicketCache.openSync(undefined, { key: masterKey(), env: { TICKETKEEP_DIR: path }, now })
    cache.put('a.test', 443, entry(1))
    cache.save()
    expect(seeds(open())).toEqual([1])
  })

  test.each(['', 'a\0b', '.json', '/tmp/.json', 5, null, {}])('may not be %j', async (wrong) => {
    expect(() => TicketCache.openSync(wrong as string, { env: {} })).toThrow(code('ERR_INVALID_PATH'))
    await expect(TicketCache.open(wrong as string, { env: {} })).rejects.toThrow(code('ERR_INVALID_PATH'))
  })

  test('may be unwritable: save says why and no ticket is lost', () => {
    writeFileSync(path, 'in the way')
    const cache = open()
    cache.put('a.test', 443, entry(1))
    expect(() => cache.save()).toThrow(code('ERR_STORE_UNUSABLE'))
    expect(() => cache.save()).toThrow(/not a directory/)
    expect(seeds(cache)).toEqual([1])
  })

  test('may have anything in its place without an exception when reading', () => {
    writeFileSync(path, 'in the way')
    const cache = open()
    expect([cache.size, seeds(cache), cache.take('a.test', 443), cache.prune()]).toEqual([
      0,
      [],
      undefined,
      0,
    ])
    cache.invalidate('a.test', 443)
    cache.save()
    expect(readFileSync(path, 'utf8')).toBe('in the way')
  })

  test('is not made if there is nothing to save', () => {
    const cache = open()
    cache.save()
    cache.prune()
    cache.close()
    expect(existsSync(path)).toBe(false)
  })
})

describe('the key', () => {
  test('is read from the environment', async () => {
    const env = { TICKETKEEP_KEY: base64Key }
    const cache = await TicketCache.open(path, { env, now })
    expect(cache.keySource).toBe('variable')
    cache.put('a.test', 443, entry(1))
    cache.save()
    expect(seeds(open())).toEqual([1])
    expect(seeds(TicketCache.openSync(path, { env, keySource: 'variable', now }))).toEqual([1])
  })

  test('of a chosen source that fails is explained without the secret', async () => {
    const env = { TICKETKEEP_KEY: 'c2hvcnQ=' }
    expect(() => TicketCache.openSync(path, { env, keySource: 'variable' })).toThrow(
      code('ERR_KEY_UNAVAILABLE'),
    )
    await expect(TicketCache.open(path, { env, keySource: 'variable' })).rejects.toThrow(
      code('ERR_KEY_UNAVAILABLE'),
    )
    await expect(TicketCache.open(path, { env, keySource: 'variable' })).rejects.not.toThrow(/c2hvcnQ/)
    expect(() => TicketCache.openSync(path, { env: { TICKETKEEP_KEY_SOURCE: 'file' } })).toThrow(
      /TICKETKEEP_KEY_FILE is not set/,
    )
  })

  test('is missing with the source memory, so everything works and nothing is written', () => {
    const cache = TicketCache.openSync(path, { env: {}, keySource: 'memory', now })
    cache.put('a.test', 443, entry(1))
    cache.save()
    expect([cache.keySource, seeds(cache), cache.take('a.test', 443)?.ticket[0], cache.size]).toEqual([
      'memory',
      [1],
      1,
      0,
    ])
    expect(existsSync(path)).toBe(false)
  })

  test('of another user opens nothing, and both caches work', () => {
    const mine = open()
    const theirs = open({ key: masterKey(2) })
    mine.put('a.test', 443, entry(1))
    theirs.put('a.test', 443, entry(2))
    mine.save()
    theirs.save()
    theirs.invalidate('b.test', 443)
    expect([seeds(open()), seeds(open({ key: masterKey(2) }))]).toEqual([[1], [2]])
  })

  test('from the caller is neither wiped nor read again', () => {
    const key = masterKey()
    const cache = open({ key })
    expect(key).toEqual(masterKey())
    key.fill(0)
    cache.put('a.test', 443, entry(1))
    cache.save()
    expect(seeds(open())).toEqual([1])
  })

  test('does not show in inspect or JSON, nor do tickets', () => {
    const cache = open()
    cache.put('a.test', 443, entry(1))
    expect(inspect(cache, { showHidden: true, depth: 9 })).toMatch(/^TicketCache \{[^0-9]*\}$/)
    expect(JSON.stringify(cache)).toBe('{}')
  })
})

describe('options', () => {
  test.each<[string, unknown]>([
    ['null', null],
    ['text', 'x'],
    ['a short key', { key: new Uint8Array(31) }],
    ['a key as text', { key: base64Key }],
    ['an unknown source', { keySource: 'floppy' }],
    ['a key and a source', { key: masterKey(), keySource: 'variable' }],
    ['a clock that is not a function', { now: 5 }],
    ['no environment', { env: null }],
    ['an environment of numbers', { env: { TICKETKEEP_KEY: 5 } }],
    ['an unknown cipher', { env: { TICKETKEEP_CIPHER: 'rot13' } }],
  ])('may not be %s', (_, options) => {
    expect(() => TicketCache.openSync(path, options as TicketCacheOptions)).toThrow(
      code('ERR_INVALID_SETTING'),
    )
  })

  test('may set TICKETKEEP_CIPHER=aes-256-gcm, and either cipher is read', () => {
    const cache = open({ env: { TICKETKEEP_CIPHER: 'aes-256-gcm' } })
    cache.put('a.test', 443, entry(1))
    cache.save()
    expect(readFileSync(ticketFiles(path)[0]!, 'latin1')).toMatch(
      /^\{"magic":"ticketkeep\/v1","cipher":"aes-256-gcm","box":/,
    )
    expect(seeds(open())).toEqual([1])
  })
})

describe('get, take and put', () => {
  test('get returns the tickets of memory and disk, oldest first', () => {
    const cache = open()
    cache.put('a.test', 443, entry(2, { storedAtUnixSecs: clock - 2, binding: 'x' }))
    cache.put('a.test', 443, entry(4, { protocol: 'TLSv1.2' }))
    cache.save()
    cache.put('a.test', 443, entry(1, { storedAtUnixSecs: clock - 3 }))
    cache.put('a.test', 443, entry(3, { storedAtUnixSecs: clock - 1 }))
    expect(seeds(cache)).toEqual([1, 2, 3, 4])
    expect([1, 2, 3, 4, 5].map(() => cache.take('a.test', 443)?.ticket[0])).toEqual([4, 3, 2, 1, undefined])
    expect(ticketFiles(path)).toEqual([])
  })

  test('the last of several tickets of the same second is the newest, even after a save', () => {
    const cache = open()
    for (const seed of [1, 2, 3, 4]) cache.put('a.test', 443, entry(seed))
    cache.save()
    expect(seeds(cache)).toEqual([1, 2, 3, 4])
    expect(cache.take('a.test', 443, ({ ticket }) => ticket[0] === 1)).toBeDefined()
    cache.put('a.test', 443, entry(5))
    cache.save()
    expect(seeds(cache)).toEqual([2, 3, 4, 5])
    expect(cache.take('a.test', 443)?.ticket[0]).toBe(5)
    expect(cache.take('a.test', 443)?.ticket[0]).toBe(4)
  })

  test('save writes one file for each peer and binding', () => {
    const cache = open()
    for (let seed = 1; seed <= 6; seed++) {
      cache.put('a.test', 443, entry(seed))
      cache.save()
    }
    expect([ticketFiles(path).length, seeds(cache)]).toEqual([1, [3, 4, 5, 6]])
    cache.put('a.test', 443, entry(7, { binding: 'x' }))
    cache.save()
    expect([ticketFiles(path).length, seeds(cache), cache.size]).toEqual([2, [4, 5, 6, 7], 4])
  })

  test('save keeps only the newest TLS 1.2 session', () => {
    const cache = open()
    for (const seed of [1, 2, 3]) cache.put('a.test', 443, entry(seed, { protocol: 'TLSv1.2' }))
    expect(seeds(cache)).toEqual([1, 2, 3])
    cache.save()
    expect(seeds(cache)).toEqual([3])
  })

  test('tickets of the preload, whose certificate is stored apart, are neither returned nor removed', () => {
    const peer = { host: 'a.test', port: 443 }
    const storeAt = (directory: string) =>
      new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    storeAt(path).save(peer, [{ ...entry(1), binding: 'x', certificate: Uint8Array.of(1) }], clock)
    const cache = open()
    expect([cache.size, seeds(cache), cache.take('a.test', 443)]).toEqual([0, [], undefined])
    for (const seed of [2, 3, 4, 5, 6]) cache.put('a.test', 443, entry(seed, { binding: 'x' }))
    cache.save()
    expect(seeds(cache)).toEqual([3, 4, 5, 6])
    const left = storeAt(path)
    const taken = [left.take(peer, 'x', clock), left.take(peer, 'x', clock)].flat()
    expect(taken.map(({ ticket }) => ticket[0]).sort()).toEqual([1, 3, 4, 5, 6])
  })

  test('take with a condition leaves other tickets', () => {
    const cache = open()
    cache.put('a.test', 443, entry(1, { binding: 'x' }))
    cache.save()
    cache.put('a.test', 443, entry(2))
    expect(cache.take('a.test', 443, ({ binding }) => binding === 'y')).toBeUndefined()
    expect(cache.take('a.test', 443, ({ binding }) => binding === 'x')?.ticket[0]).toBe(1)
    expect(seeds(cache)).toEqual([2])
    expect(() => cache.take('a.test', 443, true as never)).toThrow(code('ERR_INVALID_SETTING'))
  })

  test('entries are copied in and out', () => {
    const cache = open()
    const mine = entry(1)
    cache.put('a.test', 443, mine)
    mine.ticket.fill(9)
    cache.get('a.test', 443)[0]!.ticket.fill(8)
    cache.take('a.test', 443, (seen) => {
      seen.ticket.fill(7)
      return false
    })
    expect(seeds(cache)).toEqual([1])
  })

  test('tickets that another process has saved since are seen', () => {
    const early = open()
    const late = open()
    late.put('a.test', 443, entry(1))
    late.save()
    expect([seeds(early), early.size]).toEqual([[1], 1])
  })

  test('an invalid entry is refused and changes nothing', () => {
    const cache = open()
    expect(() => cache.put('a.test', 443, { ...entry(1), spkiFp: new Uint8Array(5) })).toThrow(
      code('ERR_INVALID_TICKET'),
    )
    expect(() => cache.put('a.test', 0, entry(1))).toThrow(code('ERR_INVALID_PORT'))
    expect(() => cache.put('', 443, entry(1))).toThrow(code('ERR_INVALID_HOST'))
    expect(cache.isEmpty()).toBe(true)
  })

  test('prune drops expired tickets, also from memory', () => {
    const cache = open()
    cache.put('a.test', 443, entry(1, { expiresAtUnixSecs: clock + 5 }))
    cache.put('a.test', 443, entry(2))
    clock += 5
    expect([cache.prune(), seeds(cache), cache.prune()]).toEqual([1, [2], 0])
  })
})

test('every method but close throws after close', () => {
  const cache = open()
  cache.put('a.test', 443, entry(1))
  cache.close()
  cache.close()
  const verbs = [
    () => cache.get('a.test', 443),
    () => cache.put('a.test', 443, entry(1)),
    () => cache.take('a.test', 443),
    () => cache.invalidate('a.test', 443),
    () => cache.prune(),
    () => cache.save(),
    () => cache.size,
    () => cache.isEmpty(),
  ]
  for (const verb of verbs) expect(verb).toThrow(code('ERR_CLOSED'))
  expect(existsSync(path)).toBe(false)
})

test('a directory with foreign files is used, and those are left alone', () => {
  const directory = scratch()
  mkdirSync(join(directory, 'mine'))
  writeFileSync(join(directory, 'notes.txt'), 'mine')
  const cache = TicketCache.openSync(directory, { key: masterKey(), env: {}, now })
  cache.put('a.test', 443, entry(1))
  cache.save()
  cache.invalidate('a.test', 443)
  expect(readdirSync(directory)).toEqual(expect.arrayContaining(['mine', 'notes.txt']))
  expect(ticketFiles(directory)).toEqual([])
})
