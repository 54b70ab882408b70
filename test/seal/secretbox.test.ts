import { build } from 'esbuild'
import fc from 'fast-check'
import nacl from 'tweetnacl'
import { beforeAll, describe, expect, test } from 'vitest'
import { secretboxOnly } from '../../esbuild.secretbox.mjs'
import { keyStream, openWith, sealWith } from '../../src/seal/secretbox.ts'

const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength })
const nonce = bytes(24)
const key = bytes(32)
// Of any length: whole blocks of 64 bytes, whole words, and what is left over.
const message = bytes(0, 300)

describe('secretbox', () => {
  test('is what tweetnacl makes of the same, and opens to the same', () => {
    fc.assert(
      fc.property(message, nonce, key, (plain, nonce, key) => {
        const box = sealWith(keyStream(plain.length, nonce, key), plain)
        expect(box).toEqual(nacl.secretbox(plain, nonce, key))
        expect(openWith(keyStream(plain.length, nonce, key), box)).toEqual(plain)
      }),
    )
  })

  test('opens a box that lies anywhere in other memory, and leaves it as it is', () => {
    const [nonce, key] = [new Uint8Array(24).fill(1), new Uint8Array(32).fill(2)]
    const plain = Uint8Array.from({ length: 70 }, (_, i) => i)
    const memory = new Uint8Array(200)
    for (const at of [0, 1, 2, 3, 40]) {
      memory.set(nacl.secretbox(plain, nonce, key), at)
      const before = Buffer.from(memory)
      expect(openWith(keyStream(70, nonce, key), memory.subarray(at, at + 86))).toEqual(plain)
      expect(before.equals(memory)).toBe(true)
    }
  })

  test('opens nothing in which a bit was changed', () => {
    fc.assert(
      fc.property(message, nonce, key, fc.nat(), (plain, nonce, key, at) => {
        const box = nacl.secretbox(plain, nonce, key)
        box[at % box.length]! ^= 1 << (at % 8)
        expect(openWith(keyStream(plain.length, nonce, key), box)).toBeUndefined()
      }),
    )
  })
})

describe('what the build takes of tweetnacl, its additions rewritten', () => {
  type LowLevel = Record<string, (...args: unknown[]) => number>
  let ours: LowLevel
  const theirs = (nacl as unknown as { lowlevel: LowLevel }).lowlevel

  beforeAll(async () => {
    const { outputFiles } = await build({
      stdin: { contents: "module.exports = require('tweetnacl').lowlevel", resolveDir: import.meta.dirname },
      bundle: true,
      format: 'cjs',
      minify: true,
      write: false,
      plugins: [secretboxOnly],
    })
    const module = { exports: {} as LowLevel }
    new Function('module', outputFiles[0]!.text)(module)
    ours = module.exports
  })

  test('gives the same key streams', () => {
    fc.assert(
      fc.property(nonce, key, fc.nat({ max: 2_200 }), (nonce, key, length) => {
        const [mine, right] = [new Uint8Array(length), new Uint8Array(length)]
        ours.crypto_stream!(mine, 0, length, nonce, key)
        theirs.crypto_stream!(right, 0, length, nonce, key)
        expect(mine).toEqual(right)
      }),
      { numRuns: 500 },
    )
  })

  test('gives the same tags, and takes no other', () => {
    fc.assert(
      fc.property(bytes(0, 2_200), key, fc.nat({ max: 15 }), (message, key, at) => {
        const [mine, right] = [new Uint8Array(16), new Uint8Array(16)]
        ours.crypto_onetimeauth!(mine, 0, message, 0, message.length, key)
        theirs.crypto_onetimeauth!(right, 0, message, 0, message.length, key)
        expect(mine).toEqual(right)
        expect(ours.crypto_onetimeauth_verify!(mine, 0, message, 0, message.length, key)).toBe(0)
        mine[at]! ^= 1
        expect(ours.crypto_onetimeauth_verify!(mine, 0, message, 0, message.length, key)).toBe(-1)
      }),
      { numRuns: 500 },
    )
  })
})
