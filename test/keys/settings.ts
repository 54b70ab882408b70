import type { KeySettings } from '../../src/settings.ts'

/** Settings in which nothing is set, less what is given. */
export const keySettings = (given: Partial<KeySettings> = {}): KeySettings => ({
  source: 'auto',
  variable: undefined,
  file: undefined,
  command: undefined,
  credentialsDirectory: undefined,
  sessionBus: undefined,
  runtimeDirectory: undefined,
  ...given,
})

/** A key, and its text. */
export const KEY = Uint8Array.from({ length: 32 }, (_, i) => (i * 37 + 11) & 0xff)
export const KEY_TEXT = Buffer.from(KEY).toString('base64')
