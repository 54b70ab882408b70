import { expect, test } from 'vitest'
import { fetchImmediateKeys } from '../../src/keys/immediate-sources.ts'
import { KEY, KEY_TEXT, keySettings } from '../support/keychains.ts'

// That these sources are asked in their order, and that one that fails ends the chain: `chain.test.ts`.

test('a variable, and what fails although it is set, are told at once', () => {
  const variable = fetchImmediateKeys(keySettings({ variable: KEY_TEXT }))
  expect(variable).toMatchObject({ source: 'variable', keys: { current: KEY } })
  const file = fetchImmediateKeys(keySettings({ file: '/nonexistent/key' }))
  expect(file).toMatchObject({ source: 'file', keys: undefined })
})

test('a source that has to be waited for is left to those who can wait', () => {
  expect(
    fetchImmediateKeys(keySettings({ command: `echo ${KEY_TEXT}`, credentialsDirectory: '/' })),
  ).toBeUndefined()
  expect(fetchImmediateKeys(keySettings({ source: 'kernel', variable: KEY_TEXT }))).toBeUndefined()
  expect(fetchImmediateKeys(keySettings({ source: 'auto' }))).toBeUndefined()
})

test('only the source that was asked for', () => {
  expect(fetchImmediateKeys(keySettings({ source: 'systemd', variable: KEY_TEXT }))).toMatchObject({
    source: 'systemd',
    keys: undefined,
    considered: [{ state: 'not set' }],
  })
})
