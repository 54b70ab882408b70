import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Subkeys } from '../../src/seal/subkeys.ts'
import { TicketStore, type TicketStoreOptions } from '../../src/store/ticket-store.ts'
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
const bound = (seed: number, change: object = {}) => ticket(seed, now, { binding, ...change })
const seedOf = (taken: { spkiFp: Uint8Array } | undefined) => taken?.spkiFp[0]
const setAge = (file: string, seconds: number) => utimesSync(file, now - seconds, now - seconds)

describe('put and take', () => {
  test('a ticket comes back as it was, once', () => {
    const kept = bound(1, { expiresAtUnixSecs: now + 60, verifiedAtUnixSecs: now - 60 })
    expect(store.put(a, kept, now)).toBe(true)
    expect(store.take(a, binding, now)).toEqual(kept)
    expect(store.take(a, binding, now)).toBeUndefined()
    expect(ticketFiles(directory)).toEqual([])
  })

  test('a TLS 1.2 session comes back again and again', () => {
    store.put(a, bound(1, { protocol: 'TLSv1.2' }), now)
    for (let i = 0; i < 3; i++) expect(seedOf(store.take(a, binding, now))).toBe(1)
  })

  test('with reuse, so does a TLS 1.3 ticket', () => {
    store.put(a, bound(1), now)
    for (let i = 0; i < 3; i++) expect(seedOf(storeWith({ reuse: true }).take(a, binding, now))).toBe(1)
    expect(seedOf(store.take(a, binding, now))).toBe(1)
  })

  test('only for its own host, port and binding', () => {
    store.put(a, bound(1), now)
    expect(store.take(b, binding, now)).toBeUndefined()
    expect(store.take({ ...a, port: 8443 }, binding, now)).toBeUndefined()
    expect(store.take({ ...a, port: 0 }, binding, now)).toBeUndefined()
    expect(store.take(a, 'another', now)).toBeUndefined()
    expect(store.take(a, '', now)).toBeUndefined()
    expect(seedOf(store.take(a, binding, now))).toBe(1)
  })

  test('the newest first', () => {
    for (const seed of [1, 2, 3]) {
      store.put(a, bound(seed), now)
      for (const file of ticketFiles(directory))
        setAge(file, Date.now() / 1000 - statSync(file).mtimeMs / 1000 + 10)
    }
    expect([1, 2, 3].map(() => seedOf(store.take(a, binding, now)))).toEqual([3, 2, 1])
  })

  test.each<[string, () => void]>([
    ['put', () => store.put(a, bound(1), now)],
    ['taken', () => store.put(a, bound(1), now) && store.take(a, binding, now)],
  ])('in a directory that was removed since one was %s', (_name, before) => {
    before()
    rmSync(directory, { recursive: true })
    expect(store.put(a, bound(2), now)).toBe(true)
    expect(readdirSync(directory)).toContain('CACHEDIR.TAG')
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    expect(seedOf(store.take(a, binding, now))).toBe(2)
  })

  test('16 of single use, then the oldest is replaced', () => {
    for (let seed = 0; seed < 16; seed++) {
      store.put(a, bound(seed), now)
      setAge(ticketFiles(directory).sort()[seed]!, 100 - seed)
    }
    store.put(a, bound(16), now)
    expect(
      store
        .list(now)
        .map(({ ticket }) => seedOf(ticket))
        .sort((x, y) => x! - y!),
    ).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
  })

  test.each(['TLSv1.3', 'TLSv1.2'] as const)(
    'of %s none is wanted where all are less than a minute old',
    (protocol) => {
      const kept = () => bound(1, { protocol })
      const offer = (one: TicketStore, peer = a, change = {}) =>
        one.putUnlessFull(peer, { ...kept(), ...change }, now)
      const slots = protocol === 'TLSv1.3' ? 16 : 4
      for (let i = 0; i < slots; i++) expect(offer(store)).toBe(true)
      const before = ticketFiles(directory).map((file) => statSync(file).ino)
      for (const one of [store, storeWith({})]) expect(offer(one)).toBe(false)
      expect(ticketFiles(directory).map((file) => statSync(file).ino)).toEqual(before)
      expect(offer(storeWith({}), b)).toBe(true)
      expect(offer(storeWith({}), a, { binding: 'another' })).toBe(true)
      const file = ticketFiles(directory).find((file) => statSync(file).ino === before[0])!
      setAge(file, 70)
      expect(offer(storeWith({}))).toBe(true)
      expect(offer(storeWith({}))).toBe(false)
      rmSync(file)
      expect(offer(storeWith({}))).toBe(true)
    },
  )

  test('4 that are reusable, and fewer of either where fewer slots are allowed', () => {
    for (let seed = 0; seed < 6; seed++) {
      store.put(a, bound(seed, { protocol: 'TLSv1.2' }), now)
      store.put(b, bound(seed), now, 4)
    }
    expect([store.list(now, a).length, store.list(now, b).length]).toEqual([4, 4])
  })

  test('what is not accepted stays, and the next is tried', () => {
    for (const seed of [1, 2]) store.put(a, bound(seed), now)
    expect(seedOf(store.take(a, binding, now, (t) => seedOf(t) === 1))).toBe(1)
    expect(store.take(a, binding, now, () => false)).toBeUndefined()
    expect(seedOf(store.take(a, binding, now))).toBe(2)
    expect(readdirSync(directory)).toEqual(['CACHEDIR.TAG'])
  })

  test('takeAny takes under any binding, newest first, reusable ones too', () => {
    store.put(a, ticket(1, now - 3, { binding: 'x' }), now)
    store.put(a, ticket(2, now - 1, { protocol: 'TLSv1.2' }), now)
    store.put(a, ticket(3, now - 2), now)
    store.put(b, ticket(4, now), now)
    expect(seedOf(store.takeAny(a, now, (t) => t.binding !== undefined))).toBe(1)
    expect([1, 2, 3].map(() => seedOf(store.takeAny(a, now)))).toEqual([2, 3, undefined])
  })

  test('either cipher reads what the other wrote', () => {
    store.put(a, bound(1), now)
    storeWith({ cipher: 'aes-256-gcm' }).put(a, bound(2), now)
    expect(
      ticketFiles(directory)
        .map((file) => /aes-256-gcm/.test(readFileSync(file, 'latin1')))
        .sort(),
    ).toEqual([false, true])
    expect(new Set([seedOf(store.take(a, binding, now)), seedOf(store.take(a, binding, now))])).toEqual(
      new Set([1, 2]),
    )
  })

  test('after a rotation the tickets of the key before are read, and none is written with it', () => {
    store.put(a, bound(1), now)
    const rotated = storeWith({ subkeys: subkeys(2), previous: [subkeys(1)] })
    rotated.put(a, bound(2), now)
    expect(rotated.list(now)).toHaveLength(2)
    expect([seedOf(rotated.take(a, binding, now)), seedOf(rotated.take(a, binding, now))]).toEqual([2, 1])
    expect(rotated.take(a, binding, now)).toBeUndefined()
  })
})

describe('time', () => {
  test('nothing is served 24 hours after it was stored, at its own end, or 24 hours after verification', () => {
    const take = (change: object, at: number) => {
      store.put(a, bound(1, change), now)
      return seedOf(store.take(a, binding, at))
    }
    expect(take({}, now + 86_399)).toBe(1)
    expect(take({}, now + 86_400)).toBeUndefined()
    expect(take({ expiresAtUnixSecs: now + 5 }, now + 4)).toBe(1)
    expect(take({ expiresAtUnixSecs: now + 5 }, now + 5)).toBeUndefined()
    expect(take({ verifiedAtUnixSecs: now - 86_000 }, now + 399)).toBe(1)
    expect(take({ verifiedAtUnixSecs: now - 86_000 }, now + 400)).toBeUndefined()
  })

  test('with the clock set back a ticket is from the future: dropped, not kept for ever', () => {
    store.put(a, bound(1), now)
    expect(store.take(a, binding, now - 3600)).toBeUndefined()
    expect(ticketFiles(directory)).toEqual([])
  })

  test('a ticket that has ended is not stored', () => {
    expect(store.put(a, bound(1, { expiresAtUnixSecs: now }), now)).toBe(true)
    expect(existsSync(directory)).toBe(false)
  })

  test('a reusable session that has ended is removed by the lookup that finds it', () => {
    store.put(a, bound(1, { protocol: 'TLSv1.2', expiresAtUnixSecs: now + 5 }), now)
    expect(store.take(a, binding, now + 5)).toBeUndefined()
    expect(ticketFiles(directory)).toEqual([])
  })

  test('replayed after its end, a copy of a file is a miss', () => {
    store.put(a, bound(1, { expiresAtUnixSecs: now + 5 }), now)
    const [file] = ticketFiles(directory)
    copyFileSync(file!, `${directory}/../copy`)
    store.take(a, binding, now)
    copyFileSync(`${directory}/../copy`, file!)
    expect(store.take(a, binding, now + 6)).toBeUndefined()
  })
})

describe('forget', () => {
  test('invalidate removes every file of the peer, under both keys and every binding, and no other', () => {
    store.put(a, bound(1), now)
    const rotated = storeWith({ subkeys: subkeys(2), previous: [subkeys(1)] })
    rotated.put(a, ticket(2, now), now)
    rotated.put(a, bound(3, { protocol: 'TLSv1.2' }), now)
    rotated.put({ ...a, port: 8443 }, bound(4), now)
    rotated.put(b, bound(5), now)
    rotated.invalidate(a)
    expect(
      rotated
        .list(now)
        .map(({ ticket }) => seedOf(ticket))
        .sort(),
    ).toEqual([4, 5])
  })

  test('invalidate up to a moment leaves what was stored since', () => {
    for (const seed of [1, 2]) store.put(a, bound(seed), now)
    setAge(ticketFiles(directory).sort()[0]!, 100)
    store.invalidate(a, (now - 50) * 1000)
    expect(store.list(now).map(({ ticket }) => seedOf(ticket))).toEqual([2])
  })

  test('no nonce is used twice, however often one is made ready', () => {
    for (let seed = 1; seed <= 8; seed++) {
      for (let times = seed % 3; times > 0; times--) store.prepare()
      store.put(a, bound(seed), now)
    }
    const boxes = ticketFiles(directory).map((file) => JSON.parse(readFileSync(file, 'utf8')).box as string)
    const nonces = boxes.map((box) => Buffer.from(box, 'base64').toString('hex', 0, 24))
    expect(new Set(nonces).size).toBe(8)
  })

  test('dropOtherKeys removes the tickets that came with another public key', () => {
    for (const seed of [1, 2]) {
      store.put(a, bound(seed), now)
      store.put(b, bound(seed), now)
    }
    store.dropOtherKeys(a, bound(1).spkiFp)
    expect(
      [store.list(now, a), store.list(now, b)].map((l) => l.map(({ ticket }) => seedOf(ticket)).sort()),
    ).toEqual([[1], [1, 2]])
  })

  test('dropOtherKeys opens no more than the newest of each binding where that one has the key', () => {
    for (const seed of [1, 2]) store.put(a, bound(seed), now)
    const [first, second] = ticketFiles(directory).sort() as [string, string]
    setAge(first, 100)
    store.dropOtherKeys(a, bound(2).spkiFp)
    expect(ticketFiles(directory).sort()).toEqual([first, second])
    store.dropOtherKeys(a, bound(1).spkiFp)
    expect(ticketFiles(directory)).toEqual([first])
  })

  test('dropStale removes what has ended inside, and what is not what its name says', () => {
    store.put(a, bound(1), now)
    store.put(a, bound(2, { expiresAtUnixSecs: now + 5 }), now)
    writeFileSync(`${ticketFiles(directory)[0]!.slice(0, -1)}f`, 'junk')
    expect(store.dropStale(now + 5)).toBe(2)
    expect(store.list(now).map(({ ticket }) => seedOf(ticket))).toEqual([1])
  })
})

describe('a file is a miss', () => {
  const only = () => ticketFiles(directory)[0]!
  const misses = () => {
    expect(store.list(now)).toEqual([])
    expect(store.takeAny(a, now)).toBeUndefined()
    expect(store.take(a, binding, now)).toBeUndefined()
  }
  const nameFor = (keys: Subkeys, peer: typeof a, bindingText: string) =>
    join(directory, `${keys.kid}-${keys.peerName(peer)}-${keys.bindingName(bindingText)}.s0`)

  test('renamed to another peer', () => {
    store.put(b, bound(1), now)
    renameSync(only(), nameFor(subkeys(), a, binding))
    misses()
  })

  test('renamed to another port', () => {
    store.put({ ...a, port: 8443 }, bound(1), now)
    renameSync(only(), nameFor(subkeys(), a, binding))
    misses()
  })

  test('renamed to another binding', () => {
    store.put(a, ticket(1, now, { binding: 'weaker' }), now)
    renameSync(only(), nameFor(subkeys(), a, binding))
    misses()
  })

  test('sealed with the key of somebody else', () => {
    storeWith({ subkeys: subkeys(9) }).put(a, bound(1), now)
    misses()
    renameSync(only(), nameFor(subkeys(), a, binding))
    misses()
  })

  test('tampered with in any byte', () => {
    store.put(a, bound(1, { protocol: 'TLSv1.2' }), now)
    const file = only()
    const good = readFileSync(file)
    for (let at = 0; at < good.length; at += 41) {
      const bad = Buffer.from(good)
      bad[at]! ^= 1
      writeFileSync(file, bad)
      expect(store.take(a, binding, now)).toBeUndefined()
    }
    writeFileSync(file, good)
    expect(seedOf(store.take(a, binding, now))).toBe(1)
  })

  test('torn at any length', () => {
    store.put(a, bound(1), now)
    const file = only()
    const good = readFileSync(file)
    for (let length = 0; length < good.length; length += 97) {
      writeFileSync(file, good.subarray(0, length))
      expect(store.take(a, binding, now)).toBeUndefined()
    }
  })

  test('5,000 times of any content', () => {
    store.put(a, bound(1), now)
    const file = only()
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.json().map((json) => Buffer.from(json)),
    )
    fc.assert(
      fc.property(content, (bytes) => {
        writeFileSync(file, bytes)
        return store.take(a, binding, now) === undefined
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('a directory full of other things', () => {
  const posix = process.platform === 'win32' ? test.skip : test

  const slot = (name: string) => {
    const keys = subkeys()
    return join(directory, `${keys.kid}-${keys.peerName(a)}-${keys.bindingName(binding)}.${name}`)
  }
  const scenery = () => readdirSync(directory).sort()

  posix('links, pipes and directories in the slots are not followed, waited for, read or removed', () => {
    store.put(a, bound(1), now)
    const target = `${directory}/../target`
    renameSync(slot('s0'), target)
    symlinkSync(target, slot('s0'))
    symlinkSync('/dev/zero', slot('s1'))
    execFileSync('mkfifo', [slot('s2')])
    mkdirSync(slot('s3'))
    symlinkSync('nowhere', slot('r0'))
    execFileSync('mkfifo', [slot('r1')])
    mkdirSync(slot('r2'))
    symlinkSync(slot('s9'), slot('r3'))
    const before = scenery()
    expect(store.take(a, binding, now)).toBeUndefined()
    expect(store.takeAny(a, now)).toBeUndefined()
    expect(store.list(now)).toEqual([])
    expect(store.sweep(now + 90_000)).toBe(0)
    expect(store.dropStale(now)).toBe(0)
    store.invalidate(a)
    expect(scenery()).toEqual(before)
    expect(existsSync(target)).toBe(true)

    expect(store.put(a, bound(2), now)).toBe(true)
    expect(lstatSync(slot('s4')).isFile()).toBe(true)
    expect(store.put(a, bound(3, { protocol: 'TLSv1.2' }), now)).toBe(false)
    expect(store.problem).toMatch(/not a ticket holds every slot/)
    expect(seedOf(store.take(a, binding, now))).toBe(2)
    expect(scenery()).toEqual(before)
  })

  test('names that are nearly ours are neither read nor removed', () => {
    store.put(a, bound(1), now)
    const name = basename(ticketFiles(directory)[0]!)
    const near = [
      `${name}.bak`,
      `x${name}`,
      name.slice(1),
      name.replace('.s0', '.r4'),
      name.replace('.s0', '.s0~'),
      name.replace('.s0', '.S1'),
      name.replace('.s0', '.sg'),
      'ticketkeep-0.tmp',
      'ticketkeep.tmp',
      '.ticketkeep-0000000000000000.tmp',
      'README',
      '-'.repeat(49),
    ]
    for (const other of near) {
      copyFileSync(join(directory, name), join(directory, other))
      setAge(join(directory, other), 10_000_000)
    }
    expect(store.list(now)).toHaveLength(1)
    store.sweep(now)
    store.invalidate(a)
    expect(scenery()).toEqual(['CACHEDIR.TAG', ...near].sort())
  })

  test('a file of 10 GiB in a slot is not read', () => {
    store.put(a, bound(1), now)
    renameSync(slot('s0'), slot('s1'))
    writeFileSync(slot('s0'), '')
    execFileSync(process.execPath, ['-e', 'fs.truncateSync(process.argv[1], 10 * 2 ** 30)', slot('s0')])
    expect(seedOf(store.take(a, binding, now))).toBe(1)
  })

  test('a hard link to a ticket does not make two of it', () => {
    store.put(a, bound(1), now)
    linkSync(slot('s0'), `${directory}/../kept`)
    expect(seedOf(store.take(a, binding, now))).toBe(1)
    expect(store.take(a, binding, now)).toBeUndefined()
  })
})

test('what is written shows no host, no binding, no ticket and no key', () => {
  const secret = bound(1, {
    ticket: new Uint8Array(Buffer.from('a ticket in plain text, to look for'.repeat(4))),
  })
  for (const cipher of ['xsalsa20-poly1305', 'aes-256-gcm'] as const) {
    storeWith({ cipher }).put(
      { host: 'very-secret-host.test', port: 443 },
      { ...secret, binding: 'very-secret-binding' },
      now,
    )
  }
  const written = Buffer.concat(
    readdirSync(directory).flatMap((name) => {
      const bytes = readFileSync(join(directory, name))
      const box = /"box":"([^"]*)"/.exec(bytes.toString('latin1'))?.[1] ?? ''
      return [Buffer.from(name), bytes, Buffer.from(box, 'base64')]
    }),
  )
  const needles = [
    Buffer.from('secret'),
    Buffer.from('.test'),
    masterKey(),
    secret.spkiFp,
    secret.ticket,
  ].map((n) => Buffer.from(n))
  for (const needle of needles) {
    for (const run of [
      needle.subarray(0, 8),
      Buffer.from(needle.toString('base64').slice(0, 8)),
      Buffer.from(needle.toString('hex').slice(0, 12)),
    ]) {
      expect(written.includes(run), run.toString('latin1')).toBe(false)
    }
  }
})

test('one lookup touches the names of its own slots only, however many peers there are', () => {
  for (let i = 0; i < 50; i++) store.put({ host: `h${i}.test`, port: 443 }, bound(i), now)
  const others = ticketFiles(directory)
  for (const file of others) writeFileSync(file, 'junk')
  expect(store.take(a, binding, now)).toBeUndefined()
  expect(ticketFiles(directory)).toEqual(others)
})
