// One test for each promise of the plaintext ticket cache that ticketkeep replaces, and one for each addition.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  hostPort,
  isDisabled,
  MAX_AGE,
  TicketCache,
  type TicketCacheOptions,
  type TicketEntry,
} from '../../src/index.ts'
import { atOnce, node, useBundle } from '../support/children.ts'
import { fresh, ticketFiles } from '../support/directories.ts'
import { masterKey } from '../support/tickets.ts'

let clock: number
let path: string
beforeEach(() => {
  clock = Math.floor(Date.now() / 1000)
  path = `${fresh()}.json`
})

const directory = () => path.slice(0, -'.json'.length)
const open = (options: TicketCacheOptions = {}) =>
  TicketCache.openSync(path, { key: masterKey(), env: {}, now: () => clock, ...options })
const entry = (seed: number, change: Partial<TicketEntry> = {}): TicketEntry => ({
  ticket: Uint8Array.of(seed, 2, 3),
  spkiFp: new Uint8Array(32).fill(7),
  storedAtUnixSecs: clock,
  ...change,
})
const seeds = (cache: TicketCache, host = 'a.test', port = 443) =>
  cache.get(host, port).map(({ ticket }) => ticket[0])
const saved = (...entries: TicketEntry[]) => {
  const cache = open()
  for (const one of entries) cache.put('a.test', 443, one)
  cache.save()
  cache.close()
}
const mode = (file: string) => (statSync(file).mode & 0o7777).toString(8)
const posix = test.skipIf(process.platform === 'win32')

/** A plaintext file as its writer serialises it. */
function plaintext(entries: [string, number, TicketEntry[]][]): string {
  return JSON.stringify({
    magic: 'aube-tls-tickets/v1',
    entries: entries.map(([host, port, tickets]) => [
      { host, port },
      tickets.map(({ ticket, spkiFp, storedAtUnixSecs }) => ({
        ticket: [...ticket],
        spki_fp: [...spkiFp],
        stored_at_unix_secs: storedAtUnixSecs,
      })),
    ]),
  })
}

describe('HostPort', () => {
  test('as there: a host in ASCII lower case and a port', () => {
    expect(hostPort('Registry.NPMjs.org', 443)).toEqual({ host: 'registry.npmjs.org', port: 443 })
    const cache = open()
    cache.put('A.TEST', 443, entry(1))
    expect([seeds(cache, 'a.test'), seeds(cache, 'a.test', 8443)]).toEqual([[1], []])
  })

  test('added: one spelling for a trailing dot, IDNA and IPv6, and ports from 1 to 65535', () => {
    expect(['a.test.', 'bücher.test', '[0:0::1]'].map((host) => hostPort(host, 1).host)).toEqual([
      'a.test',
      'xn--bcher-kva.test',
      '::1',
    ])
    for (const port of [0, 65_536, 1.5])
      expect(() => open().get('a.test', port)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_PORT' }))
    expect(() => open().get('a/b', 443)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_HOST' }))
  })
})

describe('TicketEntry', () => {
  test('as there: the ticket, the SHA-256 of the SubjectPublicKeyInfo and the time of storing are kept unchanged', () => {
    saved(entry(1))
    expect(open().get('a.test', 443)).toEqual([entry(1)])
  })

  test('added: an end, a protocol and a binding', () => {
    const more = entry(1, { expiresAtUnixSecs: clock + 60, protocol: 'TLSv1.2', binding: 'b' })
    saved(more)
    expect(open().get('a.test', 443)).toEqual([more])
  })
})

describe('the methods', () => {
  test('as there: open, get, put, invalidate, save, size and isEmpty', () => {
    const cache = open()
    expect([cache.isEmpty(), cache.size, seeds(cache)]).toEqual([true, 0, []])
    cache.put('a.test', 443, entry(1))
    cache.put('b.test', 443, entry(2))
    expect([cache.isEmpty(), cache.size, seeds(cache), seeds(cache, 'b.test')]).toEqual([false, 2, [1], [2]])
    cache.save()
    const next = open()
    expect([next.size, seeds(next), seeds(next, 'b.test')]).toEqual([2, [1], [2]])
    next.invalidate('a.test', 443)
    next.save()
    expect([open().size, seeds(open()), seeds(open(), 'b.test')]).toEqual([1, [], [2]])
  })

  test('as there: put keeps a ticket in memory until save', () => {
    const cache = open()
    cache.put('a.test', 443, entry(1))
    expect(open().isEmpty()).toBe(true)
    expect(existsSync(directory())).toBe(false)
    cache.save()
    expect(seeds(open())).toEqual([1])
  })

  test('added: take removes at once, prune exists, and only fetching the key is asynchronous', async () => {
    saved(entry(1))
    const other = open()
    const cache = await TicketCache.open(path, { key: masterKey(), env: {}, now: () => clock })
    expect(cache.take('a.test', 443)?.ticket[0]).toBe(1)
    expect([seeds(other), other.take('a.test', 443)]).toEqual([[], undefined])
    cache.put('a.test', 443, entry(2, { expiresAtUnixSecs: clock + 5 }))
    cache.save()
    clock += 5
    expect([cache.prune(), ticketFiles(directory())]).toEqual([1, []])
  })
})

describe('MAX_AGE', () => {
  test('as there: a ticket is neither returned nor counted 24 hours after it was stored', () => {
    expect(MAX_AGE).toBe(86_400)
    saved(entry(1, { storedAtUnixSecs: clock - 86_399 }), entry(2))
    const cache = open()
    cache.put('a.test', 443, entry(3, { storedAtUnixSecs: clock - 86_399 }))
    expect(seeds(cache)).toEqual([1, 3, 2])
    clock += 1
    expect([seeds(cache), cache.size, seeds(open()), open().size]).toEqual([[2], 1, [2], 1])
  })

  test('added: an entry may end sooner', () => {
    saved(entry(1, { expiresAtUnixSecs: clock + 60 }))
    clock += 59
    expect(seeds(open())).toEqual([1])
    clock += 1
    expect(seeds(open())).toEqual([])
  })

  test('added: a ticket from the future is dropped after the clock was set back', () => {
    saved(entry(1))
    clock -= 3_600
    expect([seeds(open()), open().size, open().prune(), ticketFiles(directory())]).toEqual([[], 0, 1, []])
  })
})

describe('bounds', () => {
  test('as there: a host has at most 4 tickets, and the oldest is dropped', () => {
    const cache = open()
    for (let seed = 1; seed <= 6; seed++) cache.put('a.test', 443, entry(seed))
    expect([seeds(cache), cache.size]).toEqual([[3, 4, 5, 6], 4])
    cache.save()
    expect([seeds(open()), open().size]).toEqual([[3, 4, 5, 6], 4])
    clock += 1
    cache.put('a.test', 443, entry(7))
    expect([seeds(cache), cache.size]).toEqual([[4, 5, 6, 7], 4])
    cache.save()
    expect([seeds(open()), open().size]).toEqual([[4, 5, 6, 7], 4])
  })

  test('added: there are at most 1,024 hosts, and the least recently stored is dropped', () => {
    const cache = open()
    const put = (i: number) => cache.put(`h${i}.test`, 443, entry(i & 0xff))
    for (let i = 0; i < 1_024; i++) put(i)
    cache.save()
    for (const name of readdirSync(directory())) utimesSync(join(directory(), name), clock - 60, clock - 60)
    for (let i = 1_024; i < 1_030; i++) put(i)
    cache.save()
    expect(cache.size).toBe(1_024)
    expect([1_024, 1_029].map((i) => seeds(cache, `h${i}.test`).length)).toEqual([1, 1])

    const memory = TicketCache.openSync(path, { keySource: 'memory', env: {}, now: () => clock })
    for (let i = 0; i < 1_030; i++) memory.put(`h${i}.test`, 443, entry(1))
    expect([memory.size, seeds(memory, 'h5.test').length, seeds(memory, 'h6.test').length]).toEqual([
      1_024, 0, 1,
    ])
  })

  test('added: a ticket has at most 64 KiB', () => {
    const cache = open()
    cache.put('a.test', 443, entry(1, { ticket: new Uint8Array(65_536) }))
    cache.save()
    expect(open().get('a.test', 443)[0]?.ticket).toHaveLength(65_536)
    const tooLong = entry(1, { ticket: new Uint8Array(65_537) })
    expect(() => cache.put('a.test', 443, tooLong)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_TICKET' }),
    )
  })
})

describe('damaged files', () => {
  test('as there: a wrong magic, a missing or a corrupt file give an empty cache and no error', () => {
    for (const text of [
      undefined,
      '',
      '{',
      'null',
      '[]',
      '{"magic":"other/v1","entries":[]}',
      '{"magic":"aube-tls-tickets/v1"',
      '\0\xff',
    ]) {
      if (text !== undefined) writeFileSync(path, text, 'latin1')
      const cache = open()
      expect([cache.size, cache.isEmpty(), seeds(cache)]).toEqual([0, true, []])
    }
    saved(entry(1))
    writeFileSync(ticketFiles(directory())[0]!, 'junk')
    expect([open().size, seeds(open())]).toEqual([0, []])
  })

  test('added: foreign files are never overwritten or removed', () => {
    writeFileSync(path, '{"magic":"other/v1"}')
    saved(entry(1))
    writeFileSync(join(directory(), 'notes.txt'), 'mine')
    const cache = open()
    cache.invalidate('a.test', 443)
    clock += 90_000
    cache.prune()
    expect(readFileSync(path, 'utf8')).toBe('{"magic":"other/v1"}')
    expect(readFileSync(join(directory(), 'notes.txt'), 'utf8')).toBe('mine')
  })
})

describe('the switch', () => {
  test('as there: AUBE_DISABLE_TLS_TICKET_CACHE with any value disables load, save, get and put', () => {
    saved(entry(1))
    writeFileSync(path, plaintext([['a.test', 443, [entry(2)]]]))
    for (const value of ['', '0', '1', 'no']) {
      const env = { AUBE_DISABLE_TLS_TICKET_CACHE: value }
      expect(isDisabled(env)).toBe(true)
      const cache = open({ env })
      cache.put('a.test', 443, entry(3))
      expect([seeds(cache), cache.size, cache.take('a.test', 443)]).toEqual([[], 0, undefined])
      cache.invalidate('a.test', 443)
      cache.save()
    }
    expect([ticketFiles(directory()).length, existsSync(path)]).toEqual([1, true])
  })

  test('added: TICKETKEEP_DISABLE=1 does the same', () => {
    saved(entry(1))
    const values = ['1', 'yes', '0', '', undefined]
    expect(values.map((v) => isDisabled({ TICKETKEEP_DISABLE: v }))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    expect(seeds(open({ env: { TICKETKEEP_DISABLE: '1' } }))).toEqual([])
    expect(seeds(open({ env: { TICKETKEEP_DISABLE: '0' } }))).toEqual([1])
  })
})

describe('permissions', () => {
  posix('as there: the file has mode 0600', () => {
    saved(entry(1))
    expect(ticketFiles(directory()).map(mode)).toEqual(['600'])
  })

  posix(
    'added: 0600 from the first byte, under any umask, in a directory of 0700 (proven in test/store)',
    () => {
      const before = process.umask(0)
      try {
        saved(entry(1))
      } finally {
        process.umask(before)
      }
      const paths = readdirSync(directory(), { recursive: true, encoding: 'utf8' })
      const modes = [directory(), ...paths.map((path) => join(directory(), path))].map(mode)
      expect(modes.sort()).toEqual(['600', '600', '700', '700'])
    },
  )
})

describe('two processes', () => {
  const script = useBundle(new URL('./contract-child.ts', import.meta.url))

  test('added: 32 processes that save at the same time lose nothing, where the last writer won', async () => {
    const children = Array.from({ length: 32 }, (_, i) => node(script.path, [path, `h${i}.test`]))
    const done = await atOnce(children)
    expect(done.map(({ code, stderr }) => [code, stderr])).toEqual(Array(32).fill([0, '']))
    const cache = open()
    expect(cache.size).toBe(64)
    for (let i = 0; i < 32; i++) expect(seeds(cache, `h${i}.test`)).toEqual([1, 2])
  })
})

describe('the plaintext file', () => {
  test('is imported: its fresh tickets are stored encrypted and the file is removed', () => {
    writeFileSync(
      path,
      plaintext([
        ['A.test', 443, [entry(1, { storedAtUnixSecs: clock - 86_400 }), entry(2), entry(3)]],
        ['b.test', 8443, [4, 5, 6, 7, 8].map((seed) => entry(seed))],
      ]),
    )
    const cache = open()
    expect([seeds(cache), seeds(cache, 'b.test', 8443), cache.size]).toEqual([[2, 3], [5, 6, 7, 8], 6])
    expect(cache.get('a.test', 443)[0]).toEqual(entry(2))
    expect([existsSync(path), readdirSync(dirname(path))]).toEqual([false, ['tls-tickets']])
    expect(seeds(open(), 'b.test', 8443)).toEqual([5, 6, 7, 8])
  })

  test('is also removed if it has the magic and does not parse', () => {
    for (const text of [
      '{"magic":"aube-tls-tickets/v1","entries":[[{"host":"a',
      '{"magic":"aube-tls-tickets/v1","entries":5}',
    ]) {
      writeFileSync(path, text)
      expect(open().size).toBe(0)
      expect(existsSync(path)).toBe(false)
    }
  })

  test('is served from memory and stays unchanged without a key', () => {
    writeFileSync(path, plaintext([['a.test', 443, [entry(1)]]]))
    const cache = TicketCache.openSync(path, { keySource: 'memory', env: {}, now: () => clock })
    cache.put('a.test', 443, entry(2))
    cache.save()
    expect([cache.keySource, seeds(cache), existsSync(path), existsSync(directory())]).toEqual([
      'memory',
      [1, 2],
      true,
      false,
    ])
  })
})

test('the files can be opened with the key alone and reveal nothing without it', () => {
  saved(entry(1, { ticket: new Uint8Array(Buffer.from('ticket in the clear')) }))
  const strings = execFileSync(
    process.execPath,
    [
      '-e',
      'for (const f of process.argv.slice(1)) process.stdout.write(f + fs.readFileSync(f, "latin1"))',
      ...ticketFiles(directory()),
    ],
    { encoding: 'latin1' },
  )
  expect(strings).not.toMatch(/a\.test|in the clear/)
  expect([open({ key: masterKey(2) }).size, open().size]).toEqual([0, 1])
})
