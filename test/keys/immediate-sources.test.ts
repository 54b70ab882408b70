import { expect, test } from 'vitest'
import { fetchImmediateKeys } from '../../src/keys/immediate-sources.ts'
import { KEY, KEY_TEXT, keySettings } from '../support/keychains.ts'

// `chain.test.ts` tests that these sources are asked in order, and that one that fails ends the chain.

test('a variable, and a set source that fails, are answered synchronously', () => {
  const variable = fetchImmediateKeys(keySettings({ variable: KEY_TEXT }))
  expect(variable).toMatchObject({ source: 'variable', keys: { current: KEY } })
  const file = fetchImmediateKeys(keySettings({ file: '/nonexistent/key' }))
  expect(file).toMatchObject({ source: 'file', keys: undefined })
})

test('a source that has to be waited for gives no answer here', () => {
  expect(
    fetchImmediateKeys(keySettings({ command: `echo ${KEY_TEXT}`, credentialsDirectory: '/' })),
  ).toBeUndefined()
  expect(fetchImmediateKeys(keySettings({ source: 'kernel', variable: KEY_TEXT }))).toBeUndefined()
  expect(fetchImmediateKeys(keySettings({ source: 'auto' }))).toBeUndefined()
})

test('only the chosen source is asked', () => {
  expect(fetchImmediateKeys(keySettings({ source: 'systemd', variable: KEY_TEXT }))).toMatchObject({
    source: 'systemd',
    keys: undefined,
    considered: [{ state: 'not set' }],
  })
})
