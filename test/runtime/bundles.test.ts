import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { loadBundle, ownFs, TWEETNACL } from '../../src/runtime/bundles.ts'
import { DIST } from '../support/places.ts'

const require = createRequire(import.meta.url)

it('the package contains tweetnacl as published, byte for byte', () => {
  const published = readFileSync(require.resolve(`tweetnacl/${TWEETNACL}`))
  expect(readFileSync(join(DIST, TWEETNACL)).equals(published)).toBe(true)
})

it('no other file of the package contains code of tweetnacl', () => {
  for (const name of ['preload.cjs', 'hook.cjs', 'attendant.cjs', 'keys.cjs', 'key-helper.cjs']) {
    expect(readFileSync(join(DIST, name), 'utf8')).not.toContain('crypto_secretbox')
  }
})

it('the bundles that a TLS connection loads contain no code of keychains', () => {
  const asked = ['org.freedesktop.secrets', '@napi-rs/keyring', 'node:child_process']
  for (const name of ['preload.cjs', 'hook.cjs', 'attendant.cjs']) {
    const code = readFileSync(join(DIST, name), 'utf8')
    expect(asked.filter((word) => code.includes(word))).toEqual([])
  }
  expect(readFileSync(join(DIST, 'keys.cjs'), 'utf8')).toContain(asked[0])
})

it('a bundle knows its own path, from which it finds the native module and the helper', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-bundle-'))
  writeFileSync(join(folder, 'one.cjs'), 'exports.path = __filename')
  const { path } = loadBundle<{ path: string }>(folder, 'one.cjs', require, ownFs())
  expect(path).toBe(join(folder, 'one.cjs'))
  rmSync(folder, { recursive: true })
})
