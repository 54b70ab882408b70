import { execFileSync } from 'node:child_process'
import { constants, linkSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addLines,
  type ConnectionLine,
  decodeLines,
  encodeLines,
  type Line,
  MAX_SUMMARY_BYTES,
  openSummary,
} from '../../src/runtime/summary-file.ts'
import { scratch } from '../support/directories.ts'

const text = fc.string({ maxLength: 100, unit: 'binary' })
const count = fc.nat()
const later = fc.option(fc.double({ min: 1000, max: 1e12, noNaN: true }), { nil: undefined })
const times = fc
  .record({
    called: fc.constant(1000),
    lookedUp: later,
    attempted: later,
    connected: later,
    secure: later,
    firstByte: later,
  })
  .map((all) => Object.fromEntries(Object.entries(all).filter(([, time]) => time !== undefined)))
const connection = fc.record({
  id: text,
  pid: count,
  program: text,
  host: text,
  port: fc.nat(65_535),
  handshake: fc.constantFrom('resumed', 'full', 'failed'),
  isProgramsOwn: fc.boolean(),
  protocol: text,
  sessions: count,
  reason: text,
  times,
}) as unknown as fc.Arbitrary<ConnectionLine>
const anyLine: fc.Arbitrary<Line> = fc.oneof(
  connection,
  fc.record({ pid: count, kept: count, problem: text }),
  fc.record({ notSeen: text }),
)

it('reading returns what was written, with any text', () => {
  fc.assert(
    fc.property(fc.array(anyLine), (lines) => {
      const all = lines.map((line, i) => ('id' in line ? { ...line, id: `${line.id} ${i}` } : line))
      expect(decodeLines(encodeLines(all))).toEqual(all)
    }),
  )
})

it('the last line of a connection counts', () => {
  const line = (id: string, sessions: number) => ({ ...CONNECTION, id, sessions, times: { called: 1 } })
  const lines = [line('a', 1), line('b', 2), line('a', 3)] as ConnectionLine[]
  expect(decodeLines(encodeLines(lines))).toEqual([line('a', 3), line('b', 2)])
})

it('invalid lines are skipped, and the other lines are read', () => {
  const good = { pid: 1, kept: 2, problem: '' }
  const times = { called: 1 }
  const of = (wrong: object) => ({ ...CONNECTION, times, ...wrong })
  const wrong = [
    of({ id: 1 }),
    of({ pid: -1 }),
    of({ port: 65_536 }),
    of({ port: '443' }),
    of({ sessions: 1.5 }),
    of({ sessions: 1e300 }),
    of({ handshake: 'RESUMED' }),
    of({ isProgramsOwn: 1 }),
    of({ host: null }),
    of({ reason: 'x'.repeat(1025) }),
    of({ times: undefined }),
    of({ times: { called: -1 } }),
    of({ times: 'called' }),
    { pid: 1, kept: -1, problem: '' },
    { notSeen: 7 },
    [],
    null,
    7,
  ]
  for (const one of wrong) {
    expect(decodeLines(`${JSON.stringify(one)}\n${JSON.stringify(good)}\n`), JSON.stringify(one)).toEqual([
      good,
    ])
  }
  expect(decodeLines(`{"pid":1,\n\0\xff\n${JSON.stringify(good)}`)).toEqual([good])
})

it('a time before the call is omitted', () => {
  const times = { called: 10, connected: 5, secure: 20, firstByte: 'x' }
  const [line] = decodeLines(JSON.stringify({ ...CONNECTION, times })) as ConnectionLine[]
  expect(line?.times).toEqual({ called: 10, secure: 20 })
})

it('a missing file is not made, and a full file does not grow', () => {
  const path = join(scratch(), 'summary')
  addLines(path, [{ pid: 1, kept: 1, problem: '' }])
  expect(() => readFileSync(path)).toThrow('ENOENT')
  writeFileSync(path, Buffer.alloc(MAX_SUMMARY_BYTES + 1))
  addLines(path, [{ pid: 1, kept: 1, problem: '' }])
  expect(statSync(path).size).toBe(MAX_SUMMARY_BYTES + 1)
})

describe.skipIf(process.platform === 'win32')('in the place of the file', () => {
  const line = { pid: 1, kept: 1, problem: '' }

  it('a pipe does not hold the program up', () => {
    const path = join(scratch(), 'pipe')
    execFileSync('mkfifo', [path])
    addLines(path, [line])
    expect(() => openSummary(path, constants.O_RDONLY)).toThrow('regular file')
  })

  it.each([
    ['symbolic', symlinkSync],
    ['hard', linkSync],
  ])('a %s link to another file is not written to', (_kind, link) => {
    const folder = scratch()
    const other = join(folder, 'other')
    writeFileSync(other, 'as it was')
    link(other, join(folder, 'summary'))
    addLines(join(folder, 'summary'), [line])
    expect(readFileSync(other, 'utf8')).toBe('as it was')
  })
})

const CONNECTION = {
  id: '1.1.1',
  pid: 1,
  program: '',
  host: 'a.example',
  port: 443,
  handshake: 'full',
  isProgramsOwn: false,
  protocol: 'TLSv1.3',
  sessions: 0,
  reason: '',
}
