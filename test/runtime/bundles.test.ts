import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { TWEETNACL } from '../../src/runtime/bundles.ts'
import { DIST } from '../support/places.ts'

const require = createRequire(import.meta.url)

it('tweetnacl in the package is the published file, byte for byte', () => {
  const published = readFileSync(require.resolve(`tweetnacl/${TWEETNACL}`))
  expect(readFileSync(join(DIST, TWEETNACL)).equals(published)).toBe(true)
})

it('no other file of the package holds a part of tweetnacl', () => {
  for (const name of ['preload.cjs', 'hook.cjs', 'attendant.cjs', 'keys.cjs', 'key-helper.cjs']) {
    expect(readFileSync(join(DIST, name), 'utf8')).not.toContain('crypto_secretbox')
  }
})

it('what is loaded with a TLS connection holds no code of a keychain', () => {
  const asked = ['org.freedesktop.secrets', '@napi-rs/keyring', 'node:child_process']
  for (const name of ['preload.cjs', 'hook.cjs', 'attendant.cjs']) {
    const code = readFileSync(join(DIST, name), 'utf8')
    expect(asked.filter((word) => code.includes(word))).toEqual([])
  }
  expect(readFileSync(join(DIST, 'keys.cjs'), 'utf8')).toContain(asked[0])
})
