import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { fetchKeys, fetchKeysSync } from '../../src/keys/chain.ts'
import type { KeyOutcome } from '../../src/keys/key-source.ts'
import { KEY, KEY_TEXT, keySettings } from '../support/keychains.ts'

const folder = mkdtempSync(join(tmpdir(), 'keys-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const credentials = join(folder, 'credentials')

test('a key in a variable or a file is there at once', async () => {
  const file = join(folder, 'key')
  writeFileSync(file, KEY_TEXT, { mode: 0o600 })
  for (const settings of [keySettings({ variable: KEY_TEXT }), keySettings({ file })]) {
    const outcome = await new Promise<KeyOutcome>((done) => fetchKeys(settings, done))
    expect(outcome).toMatchObject({ keys: { current: KEY }, creatable: false, overdue: false })
    expect(fetchKeysSync(settings)).toEqual(outcome)
  }
})

test('auto takes the first source that holds a key, and says why it passed over the others', () => {
  const file = join(folder, 'wide')
  writeFileSync(file, KEY_TEXT)
  chmodSync(file, 0o644)
  const outcome = fetchKeysSync(
    keySettings({ variable: 'c2hvcnQ=', file, credentialsDirectory: credentials }),
  )
  expect(outcome.keys).toBeUndefined()
  expect(outcome.considered.slice(0, 4)).toMatchObject([
    { source: 'variable', state: 'refused', reason: expect.stringMatching(/8 characters/) },
    { source: 'file', state: 'refused', reason: expect.stringMatching(/read by others/) },
    { source: 'command', state: 'not set', reason: 'TICKETKEEP_KEY_COMMAND is not set' },
    { source: 'systemd', state: 'absent' },
  ])
})

test('a source asked for by name that fails is the outcome, with its reason', () => {
  const everything = { variable: KEY_TEXT, file: join(folder, 'none') }
  expect(fetchKeysSync(keySettings({ ...everything, source: 'file' }))).toMatchObject({
    source: 'file',
    keys: undefined,
    creatable: false,
    reason: expect.stringMatching(/does not exist/),
  })
  expect(fetchKeysSync(keySettings({ ...everything, source: 'command' }))).toMatchObject({
    source: 'command',
    keys: undefined,
    considered: [{ state: 'not set' }],
  })
})

test('memory, asked for, keeps nothing whatever else is set', () => {
  expect(fetchKeysSync(keySettings({ source: 'memory', variable: KEY_TEXT }))).toMatchObject({
    source: 'memory',
    keys: undefined,
    creatable: false,
  })
})

test('a fetch that is given up says nothing more', async () => {
  const settings = keySettings({ source: 'command', command: `sh -c 'sleep 0.1; echo ${KEY_TEXT}'` })
  fetchKeys(settings, () => expect.unreachable())()
  await new Promise((resolve) => setTimeout(resolve, 300))
})
