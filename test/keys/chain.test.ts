import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fetchKeys, fetchKeysSync } from '../../src/keys/chain.ts'
import type { KeyOutcome } from '../../src/keys/key-source.ts'
import type { KeySettings } from '../../src/settings.ts'
import { scratch } from '../support/directories.ts'
import { KEY, KEY_TEXT, keySettings } from '../support/keychains.ts'
import { masterKey } from '../support/tickets.ts'

const folder = scratch()

test('a key in a variable or a file is read synchronously', async () => {
  const file = join(folder, 'key')
  writeFileSync(file, KEY_TEXT, { mode: 0o600 })
  for (const settings of [keySettings({ variable: KEY_TEXT }), keySettings({ file })]) {
    const outcome = await new Promise<KeyOutcome>((done) => fetchKeys(settings, done))
    expect(outcome).toMatchObject({ keys: { current: KEY }, creatable: false, overdue: false })
    expect(fetchKeysSync(settings)).toEqual(outcome)
  }
})

/** Settings in which every source is set that can be set, each with its own key. */
function everythingSet(): KeySettings {
  writeFileSync(join(folder, 'good'), masterKey(2), { mode: 0o600 })
  writeFileSync(join(folder, 'default'), masterKey(3), { mode: 0o600 })
  writeFileSync(join(folder, 'ticketkeep.key'), masterKey(5), { mode: 0o600 })
  const text = (seed: number) => Buffer.from(masterKey(seed)).toString('base64')
  return keySettings({
    variable: text(1),
    file: join(folder, 'good'),
    defaultFile: join(folder, 'default'),
    command: `echo ${text(4)}`,
    credentialsDirectory: folder,
  })
}

const fetched = (settings: KeySettings) => new Promise<KeyOutcome>((done) => fetchKeys(settings, done))

const NOT_SET = [
  { variable: undefined },
  { file: undefined },
  { defaultFile: undefined },
  { command: undefined },
  { credentialsDirectory: undefined },
] as const

test('auto asks the sources in order and stops at the first that is set', async () => {
  let settings = everythingSet()
  for (const [i, source] of (['variable', 'file', 'file', 'command', 'systemd'] as const).entries()) {
    const outcome = await fetched(settings)
    expect(outcome).toMatchObject({ source, keys: { current: masterKey(i + 1) } })
    expect(fetchKeysSync(settings)).toMatchObject(outcome)
    settings = { ...settings, ...NOT_SET[i] }
  }
})

const wide = () => {
  const file = join(folder, 'wide')
  writeFileSync(file, KEY_TEXT)
  chmodSync(file, 0o644)
  return file
}
const FAILURES: [string, () => Partial<KeySettings>, RegExp][] = [
  ['variable', () => ({ variable: 'c2hvcnQ=' }), /8 characters/],
  ['file', () => ({ variable: undefined, file: join(folder, 'none') }), /does not exist/],
  ['file', () => ({ variable: undefined, file: wide() }), /read by others/],
  ['file', () => ({ variable: undefined, file: undefined, defaultFile: wide() }), /read by others/],
  [
    'file',
    () => {
      const link = join(folder, 'link')
      symlinkSync(join(folder, 'none'), link)
      return { variable: undefined, file: undefined, defaultFile: link }
    },
    /does not exist/,
  ],
  [
    'command',
    () => ({ variable: undefined, file: undefined, defaultFile: undefined, command: 'false' }),
    /exit status 1/,
  ],
  [
    'systemd',
    () => {
      mkdirSync(join(folder, 'credentials'))
      writeFileSync(join(folder, 'credentials', 'ticketkeep.key'), 'short')
      const credentialsDirectory = join(folder, 'credentials')
      return {
        variable: undefined,
        file: undefined,
        defaultFile: undefined,
        command: undefined,
        credentialsDirectory,
      }
    },
    /read by others|holds no key/,
  ],
]
test.each(FAILURES)('a set source that fails ends the chain: %s', async (source, bend, reason) => {
  const settings = { ...everythingSet(), ...bend() }
  const outcome = await fetched(settings)
  expect(outcome).toMatchObject({
    source,
    keys: undefined,
    creatable: false,
    reason: expect.stringMatching(reason),
  })
  expect(outcome.considered.at(-1)).toMatchObject({ source, reason: outcome.reason })
  expect(outcome.considered.slice(0, -1).every(({ state }) => state === 'not set')).toBe(true)
  expect(fetchKeysSync(settings)).toEqual(outcome)
})

test('a credentials directory without a key and a missing default file count as not set', async () => {
  const empty = mkdtempSync(join(folder, 'empty-'))
  const outcome = await fetched(
    keySettings({
      credentialsDirectory: empty,
      defaultFile: join(empty, 'key'),
      sessionBus: 'unix:path=/nonexistent/bus',
    }),
  )
  expect(outcome.considered.slice(0, 5)).toMatchObject([
    { source: 'variable', state: 'not set' },
    { source: 'file', state: 'not set', reason: expect.stringMatching(/and there is no .*key$/) },
    { source: 'command', state: 'not set' },
    { source: 'systemd', state: 'not set' },
    { source: 'keychain', state: 'unavailable' },
  ])
})

test('a source that is chosen by name and fails is the outcome, with its reason', () => {
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

test('the source memory gives no key even if other sources are set', () => {
  expect(fetchKeysSync(keySettings({ source: 'memory', variable: KEY_TEXT }))).toMatchObject({
    source: 'memory',
    keys: undefined,
    creatable: false,
  })
})

test('a cancelled fetch does not call back', async () => {
  const settings = keySettings({ source: 'command', command: `sh -c 'sleep 0.1; echo ${KEY_TEXT}'` })
  fetchKeys(settings, () => expect.unreachable())()
  await new Promise((resolve) => setTimeout(resolve, 300))
})
