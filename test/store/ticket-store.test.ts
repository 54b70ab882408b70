import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Subkeys } from '../../src/seal/subkeys.ts'
import { prune, purge } from '../../src/store/bounds.ts'
import { batchPrefix, folderName } from '../../src/store/names.ts'
import { TicketStore, type TicketStoreOptions } from '../../src/store/ticket-store.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import { fresh, ticketFiles } from '../support/directories.ts'
import { masterKey, subkeys, ticket } from '../support/tickets.ts'

const now = Math.floor(Date.now() / 1000)
const a = { host: 'a.test', port: 443 }
const b = { host: 'b.test', port: 443 }
const binding = 'binding'

let directory: string
let store: TicketStore
beforeEach(() => {
  directory = fresh()
  store = storeWith({})
})

const storeWith = (options: Partial<TicketStoreOptions>) =>
  new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305', ...options })

/** Tickets of one batch: with the same public key, and each with its own first byte. */
const bound = (seed: number, change: Partial<StoredTicket> = {}) =>
  ticket(seed, now, {
    binding,
    spkiFp: new Uint8Array(32).fill(7),
    ticket: Uint8Array.of(seed, 1),
    ...change,
  })
const seedsOf = (tickets: readonly StoredTicket[]) => tickets.map((one) => one.ticket[0])
const take = (of = store, peer = a, at = now) => seedsOf(of.take(peer, binding, at))
const listed = (of = store, peer?: typeof a) => seedsOf(of.list(now, peer).map((one) => one.ticket)).sort()
const save = (...tickets: StoredTicket[]) => store.save(a, tickets, now)

describe('save and take', () => {
  test('a batch is returned once and unchanged, the oldest ticket first', () => {
    const chain = [Uint8Array.of(1), Uint8Array.of(2, 3)]
    const common = { certificate: Uint8Array.of(5), issuers: () => chain }
    const kept = [
      bound(1, {
        ...common,
        storedAtUnixSecs: now - 9,
        expiresAtUnixSecs: now + 60,
        verifiedAtUnixSecs: now - 60,
      }),
      bound(2, common),
    ]
    expect(save(...kept.toReversed())).toBe(2)
    expect(ticketFiles(directory)).toHaveLength(1)
    const taken = store.take(a, binding, now)
    expect(taken.map(({ issuers, ...rest }) => ({ ...rest, chain: issuers?.() }))).toEqual(
      kept.map(({ issuers: _, ...rest }) => ({ ...rest, chain })),
    )
    expect(take()).toEqual([])
    expect(take(storeWith({}))).toEqual([])
    expect(ticketFiles(directory)).toEqual([])
  })

  test('a batch is returned only for its own host, port and binding', () => {
    save(bound(1))
    expect(take(store, b)).toEqual([])
    expect(take(store, { ...a, port: 8443 })).toEqual([])
    expect(take(store, { ...a, port: 0 })).toEqual([])
    expect(store.take(a, 'another', now)).toEqual([])
    expect(store.take(a, '', now)).toEqual([])
    expect(take()).toEqual([1])
  })

  test('the newest batch is returned first', () => {
    for (const seed of [1, 3, 2]) save(bound(seed, { storedAtUnixSecs: now - 10 + seed }))
    const other = storeWith({})
    expect([1, 2, 3, 4].map(() => take(other))).toEqual([[3], [2], [1], []])
  })

  test('a new batch is found at once by this process and within a second by others', () => {
    expect(take()).toEqual([])
    save(bound(1))
    expect(take()).toEqual([1])
    storeWith({}).save(a, [bound(2)], now)
    expect(take()).toEqual([])
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000)
    expect(take()).toEqual([2])
  })

  test('a TLS 1.2 session is read and stays, and is returned once in a burst', () => {
    save(bound(1, { protocol: 'TLSv1.2' }))
    expect([take(), take()]).toEqual([[1], []])
    for (let i = 0; i < 3; i++) expect(take(storeWith({}))).toEqual([1])
  })

  test('a TLS 1.3 ticket is read and stays if reuse is on', () => {
    save(bound(1))
    for (let i = 0; i < 3; i++) expect(take(storeWith({ reuse: true }))).toEqual([1])
    expect(take()).toEqual([1])
  })

  test('the newest reusable session replaces earlier ones', () => {
    const session = (seed: number, age: number, change = {}) =>
      bound(seed, { protocol: 'TLSv1.2', storedAtUnixSecs: now - age, ...change })
    expect(save(session(1, 3), session(2, 2))).toBe(1)
    storeWith({}).save(a, [session(3, 1)], now)
    save(session(4, 1, { binding: 'another' }), bound(5))
    expect(listed()).toEqual([3, 4, 5])
  })

  test('tickets that differ in a shared field of a batch are stored in separate files', () => {
    const chain = [Uint8Array.of(1)]
    const first = bound(1, { certificate: Uint8Array.of(1), issuers: () => chain })
    const same = { ...first, issuers: () => [Uint8Array.of(1)] }
    save(
      first,
      same,
      { ...first, issuers: () => [Uint8Array.of(2)] },
      { ...first, issuers: () => [] },
      bound(1),
      bound(1, { certificate: Uint8Array.of(2) }),
      bound(1, { spkiFp: new Uint8Array(32) }),
      bound(1, { protocol: 'TLSv1.2' }),
      bound(1, { binding: 'another' }),
      { ...ticket(1, now) },
    )
    expect(ticketFiles(directory)).toHaveLength(9)
  })

  test('a batch has the newest 64 tickets and 64 KiB at most', () => {
    expect(save(...Array.from({ length: 70 }, (_, i) => bound(i, { storedAtUnixSecs: now - 70 + i })))).toBe(
      64,
    )
    expect(take()).toEqual(Array.from({ length: 64 }, (_, i) => i + 6))
    const large = (seed: number) => bound(seed, { ticket: new Uint8Array(30_000).fill(seed) })
    expect(save(large(1), large(2), large(3))).toBe(2)
    expect(take()).toEqual([2, 3])
    expect(save(bound(1), bound(2, { ticket: new Uint8Array(65_536).fill(2) }))).toBe(1)
    expect(take()).toEqual([2])
  })

  test('tickets that could not be read back are not written', () => {
    const wrong = [{ ticket: new Uint8Array(65_537) }, { binding: 'a b' }, { certificate: new Uint8Array(0) }]
    expect(save(...wrong.map((change) => bound(1, change)))).toBe(0)
    expect(existsSync(directory)).toBe(false)
    expect(save(bound(1, { issuers: () => [new Uint8Array(50_000)] }))).toBe(0)
    expect(store.problem).toMatch(/over 48 KiB/)
  })

  test('tickets of many peers are saved at once', () => {
    const entries = [a, b].map((peer, i) => ({ peer, tickets: [bound(i)] }))
    expect(store.saveAll(entries, now)).toBe(2)
    expect([take(), take(store, b)]).toEqual([[0], [1]])
  })

  test('either cipher reads what the other wrote', () => {
    save(bound(1))
    storeWith({ cipher: 'aes-256-gcm' }).save(a, [bound(2)], now)
    const ciphers = ticketFiles(directory).map((file) => JSON.parse(readFileSync(file, 'latin1')).cipher)
    expect(ciphers.sort()).toEqual(['aes-256-gcm', 'xsalsa20-poly1305'])
    const other = storeWith({})
    expect([...take(other), ...take(other)].sort()).toEqual([1, 2])
  })

  test('after a rotation tickets of the previous key are read, and none is written with it', () => {
    save(bound(1))
    const rotated = storeWith({ subkeys: subkeys(2), previous: [subkeys(1)] })
    rotated.save(a, [bound(2)], now)
    expect(listed(rotated)).toEqual([1, 2])
    expect([take(rotated), take(rotated), take(rotated)]).toEqual([[2], [1], []])
  })

  test.each<[string, () => void]>([
    ['saved', () => save(bound(1))],
    ['taken', () => save(bound(1)) && take()],
  ])('saving makes the directory again if it was removed after tickets were %s', (_name, before) => {
    before()
    rmSync(directory, { recursive: true })
    expect(save(bound(2))).toBe(1)
    expect(readdirSync(directory)).toContain('CACHEDIR.TAG')
    expect(take()).toContain(2)
  })

  test('takeOne takes the newest ticket under any binding, reusable or not, and leaves the rest', () => {
    save(
      bound(1, { binding: 'x', storedAtUnixSecs: now - 5 }),
      bound(2, { binding: 'x', storedAtUnixSecs: now - 3 }),
    )
    save(bound(3, { protocol: 'TLSv1.2', storedAtUnixSecs: now - 1 }))
    store.save(b, [bound(4)], now)
    const one = (accept?: (ticket: StoredTicket) => boolean) => store.takeOne(a, now, accept)?.ticket[0]
    expect(one(({ ticket }) => ticket[0] === 1)).toBe(1)
    expect(one(() => false)).toBeUndefined()
    expect(listed()).toEqual([2, 3, 4])
    expect([one(), one(), one()]).toEqual([3, 2, undefined])
    expect(listed()).toEqual([4])
  })
})

describe('expiry', () => {
  test('a ticket is not returned 24 hours after it was stored or verified, or after its own end', () => {
    const at = (change: object, then: number) => {
      save(bound(1, change))
      return take(store, a, then)
    }
    expect(at({}, now + 86_399)).toEqual([1])
    expect(at({}, now + 86_400)).toEqual([])
    expect(at({ expiresAtUnixSecs: now + 5 }, now + 4)).toEqual([1])
    expect(at({ expiresAtUnixSecs: now + 5 }, now + 5)).toEqual([])
    expect(at({ verifiedAtUnixSecs: now - 86_000 }, now + 399)).toEqual([1])
    expect(at({ verifiedAtUnixSecs: now - 86_000 }, now + 400)).toEqual([])
    expect(ticketFiles(directory)).toEqual([])
  })

  test('only the fresh tickets of a batch are returned', () => {
    save(bound(1, { expiresAtUnixSecs: now + 5 }), bound(2))
    expect(take(store, a, now + 5)).toEqual([2])
  })

  test('a ticket from the future is dropped after the clock was set back', () => {
    save(bound(1))
    expect(take(store, a, now - 3600)).toEqual([])
    expect(ticketFiles(directory)).toEqual([])
  })

  test('an expired ticket is not stored', () => {
    expect(save(bound(1, { expiresAtUnixSecs: now }))).toBe(0)
    expect(store.problem).toBeUndefined()
    expect(existsSync(directory)).toBe(false)
  })

  test('an expired reusable session is removed by the lookup that finds it', () => {
    save(bound(1, { protocol: 'TLSv1.2', expiresAtUnixSecs: now + 5 }))
    expect(take(store, a, now + 5)).toEqual([])
    expect(ticketFiles(directory)).toEqual([])
  })
})

describe('every save enforces the limits', () => {
  test('the newest 64 batches of a peer are kept', () => {
    for (let i = 0; i < 66; i++) save(bound(i, { storedAtUnixSecs: now - 100 + i }))
    storeWith({}).save(a, [bound(66)], now)
    expect(ticketFiles(directory)).toHaveLength(64)
    expect(new Set(listed())).toEqual(new Set(Array.from({ length: 64 }, (_, i) => i + 3)))
  })

  test('files of 24 hours and abandoned temporary files are removed', () => {
    const later = storeWith({})
    later.save(a, [bound(1)], now)
    const folder = dirname(ticketFiles(directory)[0]!)
    for (const at of [now, now + 85_900])
      writeFileSync(join(folder, `${at.toString(16)}.0123456789abcdef.tmp`), '')
    storeWith({}).save(a, [bound(2, { storedAtUnixSecs: now + 86_400 })], now + 86_400)
    expect(
      readdirSync(folder).map((name) => Number.parseInt(/[0-9a-f]{8}(?=\.[0-9a-f]{16})/.exec(name)![0], 16)),
    ).toEqual(expect.arrayContaining([now + 86_400, now + 85_900]))
    expect(readdirSync(folder)).toHaveLength(2)
  })

  test('the 1,024 most recently stored peers of each key are kept', () => {
    const peer = (i: number) => ({ host: `h${i}.test`, port: 443 })
    const other = storeWith({ subkeys: subkeys(2) })
    other.save(a, [bound(9)], now)
    const entries = Array.from({ length: 1_024 }, (_, i) => ({ peer: peer(i), tickets: [bound(1)] }))
    expect(storeWith({ cipher: 'aes-256-gcm' }).saveAll(entries, now)).toBe(1_024)
    for (const name of readdirSync(directory)) utimesSync(join(directory, name), now - 60, now - 60)
    for (let i = 1_024; i < 1_030; i++) store.save(peer(i), [bound(2)], now)
    expect(readdirSync(directory).filter((name) => name.startsWith(subkeys().kid))).toHaveLength(1_024)
    expect(new Set(listed())).toEqual(new Set([1, 2]))
    expect(listed().filter((seed) => seed === 2)).toHaveLength(6)
    expect(listed(other)).toEqual([9])
  })

  test('folders of any key without a change for 24 hours are removed with their content', () => {
    const peer = (i: number) => ({ host: `h${i}.test`, port: 443 })
    for (let i = 0; i < 5; i++) storeWith({ subkeys: subkeys(i) }).save(peer(i), [bound(1)], now)
    const old = ticketFiles(directory)
      .slice(0, 3)
      .map((file) => dirname(file))
    for (const folder of old) utimesSync(folder, now - 86_400, now - 86_400)
    // On a busy machine the first program may not have the time.
    for (let i = 5; i < 25 && old.some((folder) => existsSync(folder)); i++)
      storeWith({}).save(peer(i), [bound(2)], now)
    expect(old.filter((folder) => existsSync(folder))).toEqual([])
    expect(listed().filter((seed) => seed === 2).length).toBeGreaterThan(0)
  })

  test('this happens once an hour if no peer is new', () => {
    save(bound(1))
    store.save(b, [bound(1)], now)
    const old = dirname(ticketFiles(directory).find((file) => !file.includes(folderName(subkeys(), a)))!)
    utimesSync(old, now - 90_000, now - 90_000)
    save(bound(2))
    expect(existsSync(old)).toBe(true)
    utimesSync(directory, now - 3_600, now - 3_600)
    storeWith({}).save(a, [bound(3)], now)
    expect(existsSync(old)).toBe(false)
    expect(statSync(directory).mtimeMs / 1000).toBeGreaterThan(now - 3_600)
  })
})

describe('removing tickets', () => {
  test('invalidate removes every batch of the peer, under all keys and bindings, and no other', () => {
    save(bound(1))
    const rotated = storeWith({ subkeys: subkeys(2), previous: [subkeys(1)] })
    rotated.save(a, [bound(2, { binding: 'another' }), bound(3, { protocol: 'TLSv1.2' })], now)
    rotated.save({ ...a, port: 8443 }, [bound(4)], now)
    rotated.save(b, [bound(5)], now)
    storeWith({ subkeys: subkeys(3) }).save(a, [bound(6)], now)
    expect(rotated.invalidate(a)).toEqual({ removed: 3, left: 0 })
    expect(listed(rotated)).toEqual([4, 5])
    expect(take(rotated)).toEqual([])
    expect(listed(storeWith({ subkeys: subkeys(3) }))).toEqual([6])
  })

  test('invalidate with a time leaves later batches', () => {
    save(bound(1, { storedAtUnixSecs: now - 10 }))
    save(bound(2))
    store.dropTickets(a, now - 5)
    expect(listed()).toEqual([2])
    store.dropTickets(a, now)
    expect(listed()).toEqual([2])
  })

  test('invalidateHost removes the batches of every port, under all keys', () => {
    for (const port of [0, 1, 443, 65_535]) store.save({ host: a.host, port }, [bound(1)], now)
    const rotated = storeWith({ subkeys: subkeys(2), previous: [subkeys(1), subkeys(3)] })
    rotated.save({ host: a.host, port: 8443 }, [bound(2), bound(2, { binding: 'another' })], now)
    rotated.save(b, [bound(3)], now)
    expect(rotated.invalidateHost(a.host)).toEqual({ removed: 6, left: 0 })
    expect(listed(rotated)).toEqual([3])
  })

  test('dropOtherKeys removes the batches of other public keys without opening them', () => {
    const key = (byte: number) => ({ spkiFp: new Uint8Array(32).fill(byte) })
    save(bound(1, key(1)), bound(2, key(2)))
    store.save(b, [bound(3, key(1))], now)
    const rotated = storeWith({ subkeys: subkeys(2), previous: [subkeys(1)] })
    rotated.save(a, [bound(4, key(1)), bound(5, key(2))], now)
    for (const file of ticketFiles(directory)) chmodSync(file, 0)
    rotated.dropOtherKeys(a, key(1).spkiFp)
    for (const file of ticketFiles(directory)) chmodSync(file, 0o600)
    expect(listed(rotated)).toEqual([1, 3, 4])
  })

  test('prune removes batches without a fresh ticket, and those that do not match their names', () => {
    save(bound(1, { expiresAtUnixSecs: now + 5 }), bound(2, { expiresAtUnixSecs: now + 6 }))
    store.save(b, [bound(3, { expiresAtUnixSecs: now + 5 }), bound(4)], now)
    store.save({ ...b, port: 1 }, [bound(5)], now)
    writeFileSync(
      ticketFiles(directory).find((file) => file.includes(folderName(subkeys(), { ...b, port: 1 })))!,
      'x',
    )
    storeWith({ subkeys: subkeys(2) }).save(a, [bound(6)], now)
    expect(store.prune(now + 6)).toEqual({ files: 2, tickets: 2 })
    expect(seedsOf(store.list(now).map((one) => one.ticket))).toEqual([3, 4])
    expect(storeWith({ subkeys: subkeys(2) }).prune(now + 86_400)).toEqual({ files: 2, tickets: 1 })
    expect(readdirSync(directory)).toEqual(['CACHEDIR.TAG'])
  })
})

describe('a file is a miss and is removed', () => {
  const only = () => ticketFiles(directory)[0]!
  const misses = () => {
    expect(store.list(now)).toEqual([])
    expect(store.takeOne(a, now)).toBeUndefined()
    expect(take(storeWith({}))).toEqual([])
  }
  /** Puts a file where one of this peer and these tickets would be. */
  const moveTo = (keys: Subkeys, peer: typeof a, tickets: StoredTicket[]) => {
    const folder = join(directory, folderName(keys, peer))
    mkdirSync(folder, { recursive: true })
    renameSync(only(), join(folder, `${batchPrefix(keys, peer, tickets)}0123456789abcdef.json`))
  }

  test.each<[string, () => void]>([
    ['of another peer', () => store.save(b, [bound(1)], now)],
    ['of another port', () => store.save({ ...a, port: 8443 }, [bound(1)], now)],
    ['of another binding', () => save(bound(1, { binding: 'weaker' }))],
    ['of another public key', () => save(bound(1, { spkiFp: new Uint8Array(32) }))],
    ['of reusable tickets', () => save(bound(1, { protocol: 'TLSv1.2' }))],
    ['that is older than its name says', () => save(bound(1, { storedAtUnixSecs: now - 1 }))],
    ['sealed with another key', () => storeWith({ subkeys: subkeys(9) }).save(a, [bound(1)], now)],
  ])('if it is a file %s under this name', (_name, put) => {
    put()
    moveTo(subkeys(), a, [bound(1)])
    misses()
    expect(ticketFiles(directory)).toEqual([])
  })

  test('if it is of single use and is named reusable', () => {
    save(bound(1))
    moveTo(subkeys(), a, [bound(1, { protocol: 'TLSv1.2' })])
    misses()
  })

  test('if any byte was changed', () => {
    save(bound(1))
    const file = only()
    const good = readFileSync(file)
    for (let at = 0; at < good.length; at += 41) {
      const bad = Buffer.from(good)
      bad[at]! ^= 1
      writeFileSync(file, bad)
      expect(take(storeWith({}))).toEqual([])
      expect(existsSync(file)).toBe(false)
    }
    writeFileSync(file, good)
    expect(take(storeWith({}))).toEqual([1])
  })

  test('if it was cut at any length', () => {
    save(bound(1))
    const file = only()
    const good = readFileSync(file)
    for (let length = 0; length < good.length; length += 97) {
      writeFileSync(file, good.subarray(0, length))
      expect(take(storeWith({}))).toEqual([])
    }
  })

  test('if it is a copy that is put back after its end', () => {
    save(bound(1, { expiresAtUnixSecs: now + 5 }))
    const [file, copy] = [only(), join(directory, '..', 'copy')]
    copyFileSync(file, copy)
    take()
    copyFileSync(copy, file)
    expect(take(storeWith({}), a, now + 6)).toEqual([])
  })

  test('if it has random content, 5,000 times', () => {
    save(bound(1))
    const file = only()
    const reading = storeWith({ reuse: true })
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.json().map((json) => Buffer.from(json)),
    )
    fc.assert(
      fc.property(content, (bytes) => {
        writeFileSync(file, bytes)
        return reading.list(now).length === 0
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('in a directory full of foreign files', () => {
  const posix = process.platform === 'win32' ? test.skip : test
  const folder = () => join(directory, folderName(subkeys(), a))
  const named = (i: number, kind: 's' | 'r' = 's') => {
    const prefix = batchPrefix(subkeys(), a, [bound(1, kind === 'r' ? { protocol: 'TLSv1.2' } : {})])
    return join(folder(), `${prefix}${i.toString(16).padStart(16, '0')}.json`)
  }
  const scenery = () => readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()

  posix('links, pipes and directories with valid names are neither followed nor waited for', () => {
    save(bound(1))
    const target = join(directory, '..', 'target')
    renameSync(ticketFiles(directory)[0]!, target)
    symlinkSync(target, named(1))
    symlinkSync('/dev/zero', named(2))
    execFileSync('mkfifo', [named(3)])
    mkdirSync(named(4))
    symlinkSync('nowhere', named(5, 'r'))
    execFileSync('mkfifo', [named(6, 'r')])
    const before = scenery()
    expect(take(storeWith({}))).toEqual([])
    expect(store.takeOne(a, now)).toBeUndefined()
    expect(store.list(now)).toEqual([])
    expect(scenery()).toEqual(before)
    expect(existsSync(target)).toBe(true)
    expect(save(bound(2))).toBe(1)
    expect(take(storeWith({}))).toEqual([2])
  })

  posix('a link in place of a folder is not followed by reading, writing or purge', () => {
    save(bound(1))
    const target = join(directory, '..', 'elsewhere-too')
    renameSync(folder(), target)
    symlinkSync(target, folder())
    const other = storeWith({})
    expect([take(other), other.list(now)]).toEqual([[], []])
    expect(other.saveAll([{ peer: a, tickets: [bound(2)] }], now)).toBe(0)
    other.dropTickets(a)
    purge(directory)
    expect(readdirSync(target)).toHaveLength(1)
  })

  posix('a link in place of a folder is not followed when old folders are removed', () => {
    save(bound(1))
    const target = join(directory, '..', 'elsewhere')
    renameSync(folder(), target)
    symlinkSync(target, folder())
    execFileSync('touch', ['-h', '-d', '@1000000', folder()])
    store.save(b, [bound(2)], now)
    prune(directory, now + 90_000)
    expect(readdirSync(target)).toHaveLength(1)
  })

  test('files with almost valid names are neither read nor removed', () => {
    save(bound(1))
    const file = ticketFiles(directory)[0]!
    const name = basename(file)
    const near = [
      `${name}.bak`,
      `x${name}`,
      name.slice(1),
      name.replace('.s.', '.t.'),
      name.replace('.json', '.JSON'),
      name.replace(/\.[0-9a-f]{16}\./, '.0123456789abcde.'),
      'x.tmp',
      `${now.toString(16)}.0123456789abcdef.tmp~`,
      'README',
    ]
    for (const other of near) {
      copyFileSync(file, join(folder(), other))
      copyFileSync(file, join(directory, other))
    }
    mkdirSync(join(directory, `${folderName(subkeys(), a)}x`))
    const before = scenery()
    expect(listed()).toEqual([1])
    expect(take(storeWith({}))).toEqual([1])
    store.invalidate(a)
    store.save(b, [bound(1)], now)
    store.invalidate(b)
    store.prune(now + 90_000)
    expect(scenery()).toEqual(before.filter((path) => path !== join(folderName(subkeys(), a), name)))
  })

  test('a file of 10 GiB is not read', () => {
    save(bound(1))
    writeFileSync(named(1), '')
    truncateSync(named(1), 10 * 2 ** 30)
    expect(take(storeWith({}))).toEqual([1])
  })
})

test('the files show no host, binding, ticket, certificate or key', () => {
  const text = (what: string) => new Uint8Array(Buffer.from(`${what} in plain text, to look for`.repeat(4)))
  const chain = [text('issuers')]
  const secret = bound(1, {
    ticket: text('a ticket'),
    certificate: text('certificate'),
    issuers: () => chain,
    binding: 'very-secret-binding',
  })
  for (const cipher of ['xsalsa20-poly1305', 'aes-256-gcm'] as const) {
    storeWith({ cipher }).save({ host: 'very-secret-host.test', port: 443 }, [secret], now)
  }
  const written = Buffer.concat(
    ticketFiles(directory).flatMap((path) => {
      const text = readFileSync(path, 'latin1')
      const { box, issuers } = JSON.parse(text)
      return [
        Buffer.from(path.slice(directory.length)),
        ...[text, box, issuers].map((one) => Buffer.from(one, 'base64')),
      ]
    }),
  )
  const needles = [
    Buffer.from('secret'),
    Buffer.from('.test'),
    masterKey(),
    secret.spkiFp,
    secret.ticket,
    chain[0]!,
    secret.certificate!,
  ]
  for (const needle of needles.map((one) => Buffer.from(one))) {
    for (const run of [
      needle.subarray(0, 8),
      Buffer.from(needle.toString('base64').slice(0, 8)),
      Buffer.from(needle.toString('hex').slice(0, 12)),
    ]) {
      expect(written.includes(run), run.toString('latin1')).toBe(false)
    }
  }
})

test('file names in two folders do not show that they have the same binding or public key', () => {
  store.save(a, [bound(1)], now)
  store.save({ ...a, port: 8443 }, [bound(1)], now)
  const [first, second] = ticketFiles(directory).map((file) => basename(file).split('.'))
  expect([first![0] === second![0], first![1] === second![1]]).toEqual([false, false])
})

describe('tickets of servers at several addresses', () => {
  const of = (address: string, seed: number, change: Partial<StoredTicket> = {}) =>
    bound(seed, { address, ...change })
  const takeOf = (address?: string) => seedsOf(store.take(a, binding, now, address))

  test('are stored in a file for each address and taken by address', () => {
    save(of('192.0.2.1', 1), of('192.0.2.2', 2), of('192.0.2.1', 3))
    expect(takeOf('192.0.2.3')).toEqual([])
    expect(takeOf('192.0.2.1')).toEqual(seedsOf([of('', 1), of('', 3)]))
    expect(takeOf('192.0.2.1')).toEqual([])
    expect(takeOf()).toEqual(seedsOf([of('', 2)]))
  })

  test('replace reusable sessions of the same address only', () => {
    const tls12 = { protocol: 'TLSv1.2' } as const
    save(of('192.0.2.1', 1, tls12), of('192.0.2.2', 2, tls12))
    save(of('192.0.2.1', 3, tls12))
    expect(listed()).toEqual(seedsOf([of('', 2), of('', 3)]).sort())
  })

  test('are dropped by address', () => {
    save(of('192.0.2.1', 1), of('192.0.2.2', 2))
    store.dropTickets(a, now + 1, '192.0.2.1')
    expect(listed()).toEqual(seedsOf([of('', 2)]))
  })
})
