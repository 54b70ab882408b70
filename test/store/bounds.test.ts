import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { MAX_PEERS, prune, purge, sweepSome, usage } from '../../src/store/bounds.ts'
import { isBatchName, isFolderName, isTemporaryName } from '../../src/store/names.ts'
import { makeDirectory } from '../../src/store/private-directory.ts'
import { fresh } from '../support/directories.ts'

const now = Math.floor(Date.now() / 1000)
const KID = 'K'.padEnd(11, '-')
const OTHER = 'other'.padEnd(11, '-')

let directory: string
beforeEach(() => {
  directory = fresh()
  makeDirectory(directory)
})

/** Makes a peer's folder with one batch, both `age` seconds old. @returns the folder's name */
function folder(peer: number, age: number, kid = KID): string {
  const name = `${kid}.${String(peer).padStart(22, '_')}`
  expect(isFolderName(name)).toBe(true)
  mkdirSync(join(directory, name))
  file(name, age)
  setAge(name, age)
  return name
}

function file(folder: string, age: number, random = '0'): string {
  const name = `${'b'.repeat(11)}.tagg.addr.s.${(now - age).toString(16)}.${random.padStart(16, '0')}.json`
  expect(isBatchName(name)).toBe(true)
  writeFileSync(join(directory, folder, name), 'x')
  return join(folder, name)
}

function temporary(age: number, folder = ''): string {
  const name = `${(now - age).toString(16)}.0123456789abcdef.tmp`
  expect(isTemporaryName(name)).toBe(true)
  writeFileSync(join(directory, folder, name), 'x')
  return join(folder, name)
}

const setAge = (name: string, age: number) => utimesSync(join(directory, name), now - age, now - age)
const names = () =>
  readdirSync(directory)
    .filter((name) => name !== 'CACHEDIR.TAG')
    .sort()

test('prune removes batches of any key after 24 hours, and no younger ones', () => {
  const kept = [folder(1, 86_000), folder(2, 0), folder(3, -60), folder(1, 5, OTHER)]
  for (const [peer, age, kid] of [
    [4, 86_400, KID],
    [5, 1e7, KID],
    [6, 86_401, OTHER],
  ] as const)
    folder(peer, age, kid)
  const old = file(kept[1]!, 86_400, '1')
  expect(prune(directory, now)).toBe(4)
  expect(names()).toEqual(kept.sort())
  expect(existsSync(join(directory, old))).toBe(false)
})

test('prune removes batches from the far future, which would never get old', () => {
  folder(1, -86_400 * 365)
  const kept = folder(2, -3_600)
  expect(prune(directory, now)).toBe(1)
  expect(names()).toEqual([kept])
})

test('prune keeps the 1,024 most recently stored peers of each key', () => {
  const made = Array.from({ length: MAX_PEERS + 3 }, (_, peer) => folder(peer, 5_000 - peer))
  setAge(made[0]!, 1)
  const others = [folder(0, 80_000, OTHER), folder(1, 80_000, OTHER)]
  expect(prune(directory, now)).toBe(3)
  const left = names().filter((name) => name.startsWith(KID))
  expect(left).toHaveLength(MAX_PEERS)
  const peers = new Set(left.map((name) => Number(name.slice(12).replaceAll('_', ''))))
  expect([0, 1, 2, 3, 4].map((peer) => peers.has(peer))).toEqual([true, false, false, false, true])
  expect(names()).toEqual(expect.arrayContaining(others))
})

test('prune removes empty folders, and temporary files after ten minutes', () => {
  const empty = folder(1, 0)
  prune(directory, now)
  const kept = [temporary(590), temporary(590, empty)]
  const old = [temporary(601), temporary(601, empty)]
  for (const path of readdirSync(join(directory, empty))) if (isBatchName(path)) setAge(join(empty, path), 0)
  expect(prune(directory, now)).toBe(0)
  expect([...kept, ...old].map((path) => existsSync(join(directory, path)))).toEqual([
    true,
    true,
    false,
    false,
  ])
  expect(prune(directory, now + 90_000)).toBe(1)
  expect(names()).toEqual([])
})

test('prune leaves foreign files', () => {
  const foreign = ['notes.txt', 'x.tmp', 'a'.repeat(34)].sort()
  for (const name of foreign) writeFileSync(join(directory, name), 'x')
  const ours = folder(1, 90_000)
  writeFileSync(join(directory, ours, 'notes.txt'), 'x')
  setAge(ours, 90_000)
  prune(directory, now)
  expect([names(), readdirSync(join(directory, ours))]).toEqual([[...foreign, ours].sort(), ['notes.txt']])
  expect(purge(directory)).toBe(0)
  expect(names()).toEqual([...foreign, ours].sort())
})

test('a program that has stored tickets of new peers removes only a few folders', () => {
  for (let peer = 0; peer < 200; peer++) folder(peer, 90_000)
  const started = process.hrtime.bigint()
  expect(sweepSome(directory, KID, now, 3)).toBe(names().length)
  expect(Number(process.hrtime.bigint() - started) / 1e6).toBeLessThan(100)
  expect(names().length).toBeGreaterThanOrEqual(200 - 3 - 16)
})

test('a program removes as many of too many peers as it has made, oldest first', () => {
  for (let peer = 0; peer < MAX_PEERS + 40; peer++) folder(peer, 5_000)
  const made = Array.from({ length: 30 }, (_, i) => folder(2_000 + i, 0))
  const left = sweepSome(directory, KID, now, 30)
  expect(names()).toHaveLength(left)
  expect(left).toBeLessThanOrEqual(MAX_PEERS + 40)
  expect(names()).toEqual(expect.arrayContaining(made))
})

test('usage counts the batches of every key', () => {
  const one = folder(1, 0)
  folder(2, 0, OTHER)
  file(one, 5, '1')
  temporary(0, one)
  expect(usage(directory)).toEqual({ files: 3, bytes: 3 })
  expect(usage(dirname(directory))).toEqual({ files: 0, bytes: 0 })
})

test('purge removes everything of every key, and the directory', () => {
  file(folder(1, 0), 1, '1')
  temporary(0, folder(2, 0, OTHER))
  temporary(0)
  expect(purge(directory)).toBe(3)
  expect(existsSync(directory)).toBe(false)
  expect([purge(directory), prune(directory, now)]).toEqual([0, 0])
})
