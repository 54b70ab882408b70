import { describe, expect, test } from 'vitest'
import { readSettings, summaryFileOf } from '../src/settings.ts'

describe('a setting that makes resumption less strict', () => {
  test.each(['TICKETKEEP_REUSE', 'TICKETKEEP_CLIENT_CERT'] as const)(
    'is not switched on by a word for "no": %s',
    (name) => {
      const isOn = (value: string | undefined) => {
        const { reuse, clientCertificates } = readSettings({ [name]: value })
        return name === 'TICKETKEEP_REUSE' ? reuse : clientCertificates
      }
      expect([undefined, '', '0', 'no', 'No', 'off', 'false', 'FALSE'].filter(isOn)).toEqual([])
      expect(['1', 'yes', 'true'].filter(isOn)).toHaveLength(3)
    },
  )
})

test('TICKETKEEP_DISABLE disables with any word but one for "no"', () => {
  const disabled = (value: string) => readSettings({ TICKETKEEP_DISABLE: value }).disabled
  expect(['', '0', 'no', 'No', 'off', 'false', 'FALSE'].filter(disabled)).toEqual([])
  expect(['1', 'yes', 'true', 'on', '00'].filter(disabled)).toHaveLength(5)
})

describe('a word for "no"', () => {
  const WORDS = ['', '0', 'no', 'No', 'off', 'false', 'FALSE']
  const NAMES = ['DIR', 'KEY_SOURCE', 'KEY', 'KEY_FILE', 'KEY_COMMAND', 'CIPHER']
  const others = ['DISABLE', 'REUSE', 'CLIENT_CERT']

  test.each([...NAMES, ...others])('in TICKETKEEP_%s counts as not set', (name) => {
    const unset = readSettings({})
    for (const word of WORDS) expect(readSettings({ [`TICKETKEEP_${name}`]: word })).toEqual(unset)
  })
})

test('a word for "no" names no file for the summary', () => {
  expect(['0', 'no', ''].map((word) => summaryFileOf({ TICKETKEEP_SUMMARY_FILE: word }))).toEqual(Array(3))
  expect(summaryFileOf({ TICKETKEEP_SUMMARY_FILE: '/tmp/x' })).toBe('/tmp/x')
})

test('a relative XDG_RUNTIME_DIR counts as not set, as its specification says', () => {
  const read = (XDG_RUNTIME_DIR: string) => readSettings({ XDG_RUNTIME_DIR }).key.runtimeDirectory
  expect(['', 'run', './run'].map(read)).toEqual([undefined, undefined, undefined])
  expect(read('/run/user/1000')).toBe('/run/user/1000')
})

test('AUBE_DISABLE_TLS_TICKET_CACHE disables with any value, as in its own project', () => {
  for (const value of ['', '0', 'false', '1'])
    expect(readSettings({ AUBE_DISABLE_TLS_TICKET_CACHE: value }).disabled).toBe(true)
})

describe.each(['TICKETKEEP_DIR', 'TICKETKEEP_KEY_FILE'])('%s', (name) => {
  test.each(['~/tickets', '~', 'tickets', './tickets', '../tickets'])(
    'refuses %s without quoting it',
    (value) => {
      let error: unknown
      try {
        readSettings({ [name]: value })
      } catch (thrown) {
        error = thrown
      }
      expect(error).toMatchObject({
        code: 'ERR_INVALID_SETTING',
        message: expect.stringMatching(new RegExp(`^${name} must be an absolute path`)),
      })
      expect((error as Error).message).not.toContain('tickets')
    },
  )

  test('accepts an absolute path, and an empty value counts as not set', () => {
    const read = (value: string) => {
      const { directory, key } = readSettings({ [name]: value })
      return name === 'TICKETKEEP_DIR' ? directory : key.file
    }
    expect(read('/srv/ticketkeep')).toBe('/srv/ticketkeep')
    expect(read('')).toBeUndefined()
  })
})
