import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { isTemporaryFile, isTicketFile, temporaryName } from '../../src/store/file-names.ts'
import { makeDirectory } from '../../src/store/private-directory.ts'
import { isSweepDue, MAX_PEERS, purge, sweep } from '../../src/store/sweep.ts'
import { fresh } from '../support/directories.ts'

const now = Math.floor(Date.now() / 1000)

let directory: string
beforeEach(() => {
  directory = fresh()
  makeDirectory(directory)
})

/** A file of a ticket's name, `age` seconds old. */
function file(peer: number, age: number, { kid = 'K', slot = 's0' } = {}): string {
  const name = `${kid.padEnd(11, '-')}-${String(peer).padStart(22, '_')}-${'b'.repeat(11)}.${slot}`
  expect(isTicketFile(name)).toBe(true)
  return other(name, age)
}

function other(name: string, age: number): string {
  writeFileSync(join(directory, name), 'x')
  utimesSync(join(directory, name), now - age, now - age)
  return name
}

const names = () =>
  readdirSync(directory)
    .filter((name) => name !== 'CACHEDIR.TAG')
    .sort()

test('files of 24 hours go, whatever their key; younger ones stay', () => {
  const kept = [file(1, 86_399), file(2, 0), file(3, -60), file(1, 5, { kid: 'other' })]
  for (const old of [file(4, 86_400), file(5, 1e7), file(6, 86_401, { kid: 'other' })])
    expect(names()).toContain(old)
  expect(sweep(directory, now)).toBe(3)
  expect(names()).toEqual(kept.sort())
})

test('files from the far future go too: a clock was wrong, and they would never grow old', () => {
  file(1, -86_400 * 365)
  const kept = file(2, -3_600)
  expect(sweep(directory, now)).toBe(1)
  expect(names()).toEqual([kept])
})

test('of one key, the peers least recently stored go beyond 1,024; other keys keep theirs', () => {
  for (let peer = 0; peer < MAX_PEERS + 3; peer++) file(peer, 5_000 - peer)
  // The oldest peer has been stored to again, and the second has two files.
  file(0, 1, { slot: 's1' })
  file(1, 4_999, { slot: 'r0' })
  const others = [file(0, 80_000, { kid: 'other' }), file(1, 80_000, { kid: 'other' })]
  expect(sweep(directory, now)).toBe(4)
  const left = names()
  expect(left).toEqual(expect.arrayContaining(others))
  const peers = new Set(
    left.filter((name) => name.startsWith('K')).map((name) => Number(name.slice(12, 34).replaceAll('_', ''))),
  )
  expect(peers.size).toBe(MAX_PEERS)
  expect([0, 1, 2, 3, 4].map((peer) => peers.has(peer))).toEqual([true, false, false, false, true])
})

test('temporary files that were left behind go after ten minutes, and what is being taken stays', () => {
  // A ticket that is taken keeps the mtime that it had, but its ctime is now.
  const taken = other(temporaryName(), 80_000)
  sweep(directory, now + 590)
  expect(names()).toEqual([taken])
  sweep(directory, now + 700)
  expect(names()).toEqual([])
})

test('what is not of our form stays', () => {
  const foreign = ['notes.txt', 'ticketkeep-x.tmp', 'a'.repeat(49)].map((name) => other(name, 1e8)).sort()
  sweep(directory, now)
  expect(names()).toEqual(foreign)
  expect(purge(directory)).toBe(0)
  expect(names()).toEqual(foreign)
})

test('when due: once an hour, by the time of the tag', () => {
  file(1, 90_000)
  utimesSync(join(directory, 'CACHEDIR.TAG'), now, now)
  expect(isSweepDue(directory, now + 3_599)).toBe(false)
  expect(isSweepDue(directory, now + 3_601)).toBe(true)
  expect(sweep(directory, now + 3_601)).toBe(1)
  expect(Math.floor(statSync(join(directory, 'CACHEDIR.TAG')).mtimeMs / 1000)).toBe(now + 3_601)
  expect(isSweepDue(directory, now + 7_200)).toBe(false)
  expect(isSweepDue(directory, now), 'after the clock was set back').toBe(true)
})

test('purge removes all that is ours, of every key, and the directory', () => {
  file(1, 0)
  file(2, 0, { kid: 'other' })
  other(temporaryName(), 0)
  expect(purge(directory)).toBe(2)
  expect(existsSync(directory)).toBe(false)
  expect([purge(directory), sweep(directory, now)]).toEqual([0, 0])
})

test('temporary names are of their own form, and differ', () => {
  const some = Array.from({ length: 1_000 }, temporaryName)
  expect(some.every((name) => isTemporaryFile(name) && !isTicketFile(name))).toBe(true)
  expect(new Set(some).size).toBe(1_000)
})
