import { hkdfSync } from 'node:crypto'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { masterKey, subkeys } from '../support/tickets.ts'

const hkdf = (info: string, bytes: number) => Buffer.from(hkdfSync('sha256', masterKey(), '', info, bytes))
const peer = { host: 'a.test', port: 443 }
const others = [
  { ...peer, port: 8443 },
  { ...peer, host: 'b.test' },
]
const spkiFp = new Uint8Array(32).fill(1)

test("the subkeys are Node's HKDF-SHA-256 of the master key, one for each purpose", () => {
  const { kid } = subkeys()
  expect(kid).toBe(hkdf('ticketkeep/v1 kid', 8).toString('base64url'))
  expect(Buffer.from(subkeys().sealKey('xsalsa20-poly1305'))).toEqual(hkdf('ticketkeep/v1 seal', 32))
  expect(Buffer.from(subkeys().sealKey('aes-256-gcm'))).toEqual(hkdf('ticketkeep/v1 seal aes-256-gcm', 32))
})

test('names have a fixed width and differ by key, peer, binding and public key', () => {
  const a = subkeys()
  const names = [a.kid, a.peerName(peer), a.bindingName(peer, 'x'), a.keyTag(peer, spkiFp)]
  expect(names.map((name) => name.length)).toEqual([11, 22, 11, 4])
  const all = [
    [a.peerName(peer), ...others.map((other) => a.peerName(other)), subkeys(2).peerName(peer)],
    [a.bindingName(peer, 'x'), a.bindingName(peer, 'y'), ...others.map((other) => a.bindingName(other, 'x'))],
    [
      a.keyTag(peer, spkiFp),
      a.keyTag(peer, new Uint8Array(32)),
      ...others.map((other) => a.keyTag(other, spkiFp)),
    ],
  ]
  for (const some of all) expect(new Set(some).size).toBe(4)
})

test('the names of all ports of a host include the name of each port', () => {
  const names = subkeys().peerNames('a.test')
  expect(names).toHaveLength(65_536)
  for (const port of [0, 443, 65_535]) expect(names[port]).toBe(subkeys().peerName({ ...peer, port }))
})

test('the caller can wipe the master key', () => {
  const master = masterKey()
  const derived = deriveSubkeys(master)
  expect(master).toEqual(masterKey())
  master.fill(0)
  expect(derived.peerName(peer)).toBe(subkeys().peerName(peer))
})

test('the keys show neither in inspect nor in JSON, and encrypt nothing once they are wiped', () => {
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
