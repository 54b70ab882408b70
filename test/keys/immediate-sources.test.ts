import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fetchKeys } from '../../src/keys/chain.ts'
import { fetchImmediateKeys } from '../../src/keys/immediate-sources.ts'
import type { KeySettings } from '../../src/settings.ts'
import { fresh } from '../support/directories.ts'
import { masterKey } from '../support/tickets.ts'

const text = (seed: number) => Buffer.from(masterKey(seed)).toString('base64')

/** Settings in which `TICKETKEEP_KEY`, the key file and systemd's credential are the keys 1, 2 and 3. */
function settings(): KeySettings {
  const directory = fresh()
  mkdirSync(directory, { recursive: true })
  const file = join(directory, 'key')
  writeFileSync(file, text(2), { mode: 0o600 })
  writeFileSync(join(directory, 'ticketkeep.key'), text(3), { mode: 0o600 })
  return {
    source: 'auto',
    variable: text(1),
    file,
    defaultFile: undefined,
    command: undefined,
    credentialsDirectory: directory,
    sessionBus: undefined,
    runtimeDirectory: undefined,
  }
}

const seedOf = (wanted: KeySettings) => {
  const current = fetchImmediateKeys(wanted)?.keys?.current
  return [1, 2, 3].find((seed) => current && Buffer.from(masterKey(seed)).equals(current))
}

test("a variable goes before a file, and both before systemd's credential", () => {
  const all = settings()
  expect(seedOf(all)).toBe(1)
  expect(seedOf({ ...all, variable: undefined })).toBe(2)
  expect(seedOf({ ...all, variable: undefined, file: undefined })).toBe(3)
})

test("a key command goes before systemd's credential, and has to be asked", () => {
  const all = { ...settings(), variable: undefined, command: 'echo key' }
  expect(seedOf(all)).toBe(2)
  expect(fetchImmediateKeys({ ...all, file: undefined })).toBeUndefined()
})

test('only the source that was asked for', () => {
  const all = settings()
  expect(seedOf({ ...all, source: 'file' })).toBe(2)
  expect(seedOf({ ...all, source: 'systemd' })).toBe(3)
  expect(fetchImmediateKeys({ ...all, source: 'kernel' })).toBeUndefined()
})

test('what fails ends the chain here too, and what nobody has set leaves the rest to the other sources', async () => {
  const broken = { ...settings(), variable: 'c2hvcnQ=' }
  expect(fetchImmediateKeys(broken)).toMatchObject({ source: 'variable', keys: undefined })
  const whole = new Promise((done) => fetchKeys(broken, done))
  expect(await whole).toEqual(fetchImmediateKeys(broken))
  const nothing = { ...broken, variable: undefined, file: undefined, credentialsDirectory: undefined }
  expect(fetchImmediateKeys(nothing)).toBeUndefined()
})
