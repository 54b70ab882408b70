import { hkdfSync } from 'node:crypto'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { masterKey, subkeys } from '../support/tickets.ts'

const hkdf = (info: string, bytes: number) => Buffer.from(hkdfSync('sha256', masterKey(), '', info, bytes))
const peer = { host: 'a.test', port: 443 }

test("the subkeys are Node's own HKDF-SHA-256 of the master key, one purpose each", () => {
  const { kid } = subkeys()
  expect(kid).toBe(hkdf('ticketkeep/v1 kid', 8).toString('base64url'))
  expect(Buffer.from(subkeys().sealKey('xsalsa20-poly1305'))).toEqual(hkdf('ticketkeep/v1 seal', 32))
  expect(Buffer.from(subkeys().sealKey('aes-256-gcm'))).toEqual(hkdf('ticketkeep/v1 seal aes-256-gcm', 32))
})

test('names are of fixed width, and differ by key, host, port and binding', () => {
  const a = subkeys()
  expect([a.kid, a.peerName(peer), a.bindingName('x')].map((name) => name.length)).toEqual([11, 22, 11])
  const names = [
    a.peerName(peer),
    a.peerName({ ...peer, port: 8443 }),
    a.peerName({ ...peer, host: 'b.test' }),
    subkeys(2).peerName(peer),
  ]
  expect(new Set(names).size).toBe(4)
  expect(a.bindingName('x')).not.toBe(a.bindingName('y'))
})

test('the caller keeps the master key, and wipes it without harm', () => {
  const master = masterKey()
  const derived = deriveSubkeys(master)
  expect(master).toEqual(masterKey())
  master.fill(0)
  expect(derived.peerName(peer)).toBe(subkeys().peerName(peer))
})

test('the keys show neither in inspect nor in JSON, and are zeros once wiped: nothing is sealed with those', () => {
  const keys = subkeys()
  const shown =
    inspect(keys, { showHidden: true, depth: 9 }) + JSON.stringify(keys) + Object.values(keys).join()
  expect(shown.replaceAll(keys.kid, '')).not.toMatch(/[\w+/-]{20,}|<Buffer|\d+, \d+/)
  const sealKey = keys.sealKey('xsalsa20-poly1305')
  keys.wipe()
  expect([...sealKey]).toEqual(Array(32).fill(0))
  for (const cipher of ['xsalsa20-poly1305', 'aes-256-gcm'] as const)
    expect(() => keys.sealKey(cipher)).toThrow('wiped')
  expect(keys.peerName(peer)).not.toBe(subkeys().peerName(peer))
})
