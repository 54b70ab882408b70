import { describe, expect, test } from 'vitest'
import { readSettings } from '../src/settings.ts'

describe('what makes resumption less strict', () => {
  test.each(['TICKETKEEP_REUSE', 'TICKETKEEP_CLIENT_CERT'] as const)(
    '%s: no word for "no" switches it on',
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

test('any word switches tickets off, but for the empty one and 0', () => {
  const disabled = (value: string) => readSettings({ TICKETKEEP_DISABLE: value }).disabled
  expect(['', '0', '1', 'no', 'false'].map(disabled)).toEqual([false, false, true, true, true])
})
