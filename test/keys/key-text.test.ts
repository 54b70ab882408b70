import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readKeyContent, readKeyText } from '../../src/keys/key-text.ts'
import { KEY, KEY_TEXT } from '../support/keychains.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')

test('reads canonical base64 of any 32 bytes with white space around it', () => {
  const random = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/)
  fc.assert(
    fc.property(random, space, space, (key, before, after) => {
      const text = before + Buffer.from(key).toString('base64') + after
      expect(readKeyText(bytes(text))).toEqual(key)
    }),
  )
})

test('refuses text that only resembles a key without quoting it', () => {
  for (const text of [
    '',
    ' \n',
    KEY_TEXT.slice(0, 40),
    `${KEY_TEXT}A`,
    KEY_TEXT.replace(/.$/, 'A'),
    KEY_TEXT.replace('=', '-'),
    `${KEY_TEXT.slice(0, 20)} ${KEY_TEXT.slice(21)}`,
    `${KEY_TEXT.slice(0, 20)}-${KEY_TEXT.slice(21)}`,
    // the last character has bits beyond the 32 bytes, so this would be a second spelling of the same key
    `${KEY_TEXT.slice(0, 42)}${String.fromCharCode(KEY_TEXT.charCodeAt(42) + 1)}=`,
    Buffer.from(KEY).toString('hex'),
  ]) {
    const refusal = readKeyText(bytes(text))
    expect(refusal, text).toBeTypeOf('string')
    if (text.trim() !== '') expect(refusal).not.toContain(text.trim().slice(0, 8))
  }
})

test('counts what it refuses', () => {
  expect(readKeyText(bytes('x'))).toBe('it has 1 character, but base64 of 32 bytes has 44')
  expect(readKeyText(bytes('xy'))).toBe('it has 2 characters, but base64 of 32 bytes has 44')
})

test('takes 32 raw bytes from a file, but not 32 printable characters', () => {
  expect(readKeyContent(KEY)).toEqual(KEY)
  expect(readKeyContent(bytes('d41d8cd98f00b204e9800998ecf8427e'))).toBeTypeOf('string')
  expect(readKeyContent(bytes(`${KEY_TEXT}\n`))).toEqual(KEY)
})
