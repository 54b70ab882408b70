import { execFileSync } from 'node:child_process'
import {
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { importPlaintextFile, readPlaintextFile } from '../../src/store/plaintext-file.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { atOnce, node, useBundle } from '../support/children.ts'
import { fresh, isRoot, ticketFiles } from '../support/directories.ts'
import { subkeys } from '../support/tickets.ts'

const now = Math.floor(Date.now() / 1000)
const MAGIC = 'aube-tls-tickets/v1'
const posix = test.skipIf(process.platform === 'win32')
const root = test.skipIf(!isRoot)

let path: string
let store: TicketStore
beforeEach(() => {
  const directory = fresh()
  path = `${directory}.json`
  store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
})

const entry = (seed: number, change: object = {}) => ({
  ticket: [seed, 255, 0],
  spki_fp: Array(32).fill(seed),
  stored_at_unix_secs: now,
  ...change,
})
const file = (...entries: unknown[]) => JSON.stringify({ magic: MAGIC, entries })
const peer = (host: string, port: unknown = 443) => ({ host, port })
const doImport = () => importPlaintextFile(path, store, now)
/** Makes a store run `before` and then fail to save. */
function refuse(of: TicketStore, before = () => {}): void {
  of.saveAll = () => {
    before()
    of.problem = 'the disk is full'
    return 0
  }
}
const seeds = () =>
  store
    .list(now)
    .map(({ peer, ticket }) => `${peer.host}:${peer.port}/${ticket.ticket[0]}`)
    .sort()

describe('reading', () => {
  test('returns every entry with the names of ticketkeep', () => {
    writeFileSync(path, file([peer('A.test.'), [entry(1), entry(2)]], [peer('b.test', 8443), []]))
    expect(readPlaintextFile(path)).toEqual({
      state: 'tickets',
      tickets: [1, 2].map((seed) => ({
        peer: { host: 'a.test', port: 443 },
        ticket: {
          ticket: Uint8Array.of(seed, 255, 0),
          spkiFp: new Uint8Array(32).fill(seed),
          storedAtUnixSecs: now,
        },
      })),
    })
  })

  test('skips entries without host or port and with an empty or too long ticket', () => {
    const entries = [entry(1, { ticket: [] }), entry(2, { ticket: Array(65_537).fill(1) }), entry(3)]
    writeFileSync(
      path,
      file([peer('a b'), [entry(4)]], [peer('a.test', 0), [entry(5)]], [peer('a.test'), entries]),
    )
    expect(readPlaintextFile(path)).toMatchObject({
      tickets: [{ ticket: { ticket: Uint8Array.of(3, 255, 0) } }],
    })
  })

  test('skips only the entry whose time is not a safe integer', () => {
    const times = [2 ** 53, '18446744073709551615', 1.5].map((time) => `${time}`)
    const text = file([
      peer('a.test'),
      [...times.map((_, i) => entry(i, { stored_at_unix_secs: `time ${i}` })), entry(9)],
    ])
    writeFileSync(
      path,
      text.replace(/"time (\d)"/g, (_, i) => times[i]!),
    )
    expect(readPlaintextFile(path)).toMatchObject({
      tickets: [{ ticket: { ticket: Uint8Array.of(9, 255, 0) } }],
    })
  })

  test.each<[string, string]>([
    ['an unclosed bracket', file([peer('a.test'), [entry(1)]]).slice(0, -1)],
    ['a cut within an entry', file([peer('a.test'), [entry(1)]]).slice(0, 60)],
    ['white space and a cut', '\n { "magic" : "aube-tls-tickets/v1" ,'],
    ['missing entries', JSON.stringify({ magic: MAGIC })],
    ['entries that are an object', JSON.stringify({ magic: MAGIC, entries: {} })],
    ['a byte of 256', file([peer('a.test'), [entry(1, { ticket: [256] })]])],
    ['a byte of 0.5', file([peer('a.test'), [entry(1, { ticket: [0.5] })]])],
    ['a ticket as text', file([peer('a.test'), [entry(1, { ticket: 'AAAA' })]])],
    ['a fingerprint of 31 bytes', file([peer('a.test'), [entry(1, { spki_fp: Array(31).fill(0) })]])],
    ['a time before 1970', file([peer('a.test'), [entry(1, { stored_at_unix_secs: -1 })]])],
    ['a port as text', file([peer('a.test', '443'), [entry(1)]])],
    ['an entry of three', file([peer('a.test'), [entry(1)], 1])],
  ])('reports a file with the magic as broken: %s', (_, text) => {
    writeFileSync(path, text)
    expect(readPlaintextFile(path)).toEqual({ state: 'broken' })
    expect(doImport()).toEqual({ state: 'imported', kept: 0 })
    expect(existsSync(path)).toBe(false)
  })

  test.each([
    '',
    'null',
    '1',
    '"aube-tls-tickets/v1"',
    '[]',
    '{',
    '{}',
    '{"magic":"aube-tls-tickets/v2","entries":[]}',
    '{"note":"aube-tls-tickets/v1"',
    '\0',
    'x'.repeat(1e6),
  ])('treats a file without the magic as foreign: %j', (text) => {
    writeFileSync(path, text)
    expect(doImport()).toMatchObject({ state: 'foreign' })
    expect(existsSync(path)).toBe(true)
  })

  test('does not throw on 2,000 mutated files', () => {
    const good = file([peer('a.test'), [entry(1), entry(2)]])
    const edit = fc.record({
      at: fc.nat(good.length),
      remove: fc.nat(9),
      insert: fc.string({ maxLength: 5 }),
    })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        writeFileSync(
          path,
          edits.reduce((text, e) => text.slice(0, e.at) + e.insert + text.slice(e.at + e.remove), good),
        )
        expect(['tickets', 'broken', 'foreign']).toContain(readPlaintextFile(path).state)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('importing', () => {
  test('stores the four newest fresh tickets of each peer encrypted and removes the file', () => {
    writeFileSync(
      path,
      file(
        [peer('a.test'), [1, 2, 3, 4, 5].map((s) => entry(s))],
        [peer('b.test'), [entry(6, { stored_at_unix_secs: now - 86_400 }), entry(7)]],
      ),
    )
    expect(doImport()).toEqual({ state: 'imported', kept: 5 })
    expect(seeds()).toEqual(['a.test:443/2', 'a.test:443/3', 'a.test:443/4', 'a.test:443/5', 'b.test:443/7'])
    expect(readdirSync(dirname(path))).toEqual(['tls-tickets'])
    expect(readdirSync(store.directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
    expect(doImport()).toEqual({ state: 'absent' })
  })

  test('stores tickets without a binding, so that no connection is offered one', () => {
    writeFileSync(path, file([peer('a.test'), [entry(1)]]))
    doImport()
    expect(store.list(now)[0]?.ticket.binding).toBeUndefined()
    expect(store.take({ host: 'a.test', port: 443 }, 'any binding', now)).toEqual([])
  })

  test('leaves the file unchanged if the store cannot be written', () => {
    const text = file([peer('a.test'), [entry(1)]])
    writeFileSync(path, text)
    writeFileSync(store.directory, 'in the way')
    expect(doImport()).toMatchObject({ state: 'failed', reason: expect.stringContaining('not a directory') })
    expect(readPlaintextFile(path)).toMatchObject({ state: 'tickets' })
  })

  test('restores the file if a ticket cannot be stored', () => {
    writeFileSync(path, file([peer('a.test'), [entry(1)]]))
    refuse(store)
    expect(doImport()).toMatchObject({ state: 'failed' })
    expect(readPlaintextFile(path)).toMatchObject({ state: 'tickets' })
    expect(readdirSync(store.directory)).toEqual(['CACHEDIR.TAG'])
  })

  test('reports a failure without an exception if the file cannot be restored either', () => {
    const folder = fresh()
    mkdirSync(folder)
    const plaintext = join(folder, 'tls-tickets.json')
    writeFileSync(plaintext, file([peer('a.test'), [entry(1)]]))
    refuse(store, () => rmSync(folder, { recursive: true }))
    expect(importPlaintextFile(plaintext, store, now)).toMatchObject({ state: 'failed' })
  })

  const script = useBundle(new URL('./import-child.ts', import.meta.url))

  test('happens once if 16 processes try at the same time', async () => {
    writeFileSync(path, file([peer('a.test'), [1, 2, 3, 4].map((s) => entry(s))]))
    const done = await atOnce(Array.from({ length: 16 }, () => node(script.path, [path])))
    expect(done.map(({ code }) => code)).toEqual(Array(16).fill(0))
    expect(done.filter(({ stdout }) => stdout.includes('imported'))).toHaveLength(1)
    expect(seeds()).toEqual([1, 2, 3, 4].map((s) => `a.test:443/${s}`))
  })
})

describe('a foreign file', () => {
  const good = () => file([peer('a.test'), [entry(1)]])

  posix('that is a link is neither followed nor removed', () => {
    writeFileSync(`${path}.target`, good())
    symlinkSync(`${path}.target`, path)
    expect(doImport()).toEqual({ state: 'absent' })
    expect(readdirSync(dirname(path)).sort()).toEqual(['tls-tickets.json', 'tls-tickets.json.target'])
  })

  posix('that is a directory or a pipe is neither read nor removed', () => {
    mkdirSync(path)
    expect(doImport()).toEqual({ state: 'absent' })
    execFileSync('rmdir', [path])
    execFileSync('mkfifo', [path])
    expect(doImport()).toEqual({ state: 'absent' })
    expect(existsSync(path)).toBe(true)
  })

  root('of another user is not read, even if it is readable (root only)', () => {
    writeFileSync(path, good())
    chownSync(path, 12_345, 12_345)
    expect(doImport()).toMatchObject({ state: 'foreign', reason: expect.stringContaining('another user') })
    expect(existsSync(path)).toBe(true)
  })

  test('of more than 16 MiB is not read', () => {
    writeFileSync(path, good())
    truncateSync(path, 16 * 2 ** 20 + 1)
    expect(doImport()).toMatchObject({ state: 'foreign', reason: expect.stringContaining('16 MiB') })
  })

  test('keeps its content under another hard link after an import', () => {
    writeFileSync(path, good())
    linkSync(path, `${path}.kept`)
    expect(doImport()).toMatchObject({ state: 'imported' })
    expect(existsSync(`${path}.kept`)).toBe(true)
    copyFileSync(`${path}.kept`, path)
    expect(ticketFiles(join(store.directory))).toHaveLength(1)
  })
})
