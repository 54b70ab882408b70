import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { REASON_CODES, reasonOf } from '../../../src/cli/summary/reasons.ts'
import { ROOT } from '../../support/places.ts'

/** The reasons that these files give, with a sample in place of each inserted value. */
const FILES = {
  'tls/admission.ts': /no\(\s*[`'](.+?)[`'],?\s*\)/g,
  'tls/process-admission.ts': /(?:return|\?|:) [`']((?:\S+ ){2}.+?|worker thread: .+?)[`']$/gm,
  'tls/opt-outs.ts': /return '(.+?)'/g,
  'tls/offered-session.ts': /(?:return |undefined : )'(.+?)'/g,
  'tls/failing-servers.ts': /return '(.+?)'/g,
  'store/failure-log.ts': /return `(the .+?)`/g,
  'tls/connection.ts': /^const (?:NO_TICKET|TOO_LATE) = '(.+?)'/gm,
  'runtime/attendant.ts':
    /(?:TOO_LATE = |Stored\(|Disabled\(|: )[`']((?:nothing|not saved|process\.version).+?)[`']/g,
  'clients/attend.ts': /[?:] '((?:it|Bun) .+?)'/g,
  'settings.ts': /['`](disabled .+?)['`]/g,
}
const NOT_KEPT = {
  'tls/connection.ts': /return '(the .+?)'/g,
  'tls/verified-handshake.ts': /return '(.+?)'/g,
  'tls/ticket.ts': /return '(.+?)'/g,
}

function texts(files: Record<string, RegExp>): string[] {
  return Object.entries(files).flatMap(([file, pattern]) => {
    const found = [...readFileSync(join(ROOT, 'src', file), 'utf8').matchAll(pattern)]
    expect(found.length, file).toBeGreaterThan(0)
    return found.map(([, text = '']) => text.replaceAll(/\$\{.*?\}/g, (value) => INSTEAD[value] ?? 'x1'))
  })
}
const INSTEAD: Record<string, string> = { '${name}': 'OPENSSL_CONF', '${major}': '28' }

it('each reason in the sources has a code', () => {
  const all = [...texts(FILES), ...texts(NOT_KEPT).map((text) => `not kept: ${text}`)]
  expect(all.length).toBeGreaterThan(40)
  expect(all.filter((text) => reasonOf(text).code === 'other')).toEqual([])
})

it('each code is documented', () => {
  const page = readFileSync(join(ROOT, 'docs/command.md'), 'utf8')
  expect(REASON_CODES.filter((code) => !page.includes(`| \`${code}\` |`))).toEqual([])
})

it('each reason has a short text for users', () => {
  const words = (text: string) => reasonOf(text).words
  expect(words('not kept: the session has no ticket, or cannot be read')).toBe('the server gives no tickets')
  expect(words('failed: ECONNRESET')).toBe('the connection failed (ECONNRESET)')
  expect(words('the flag --use-openssl-ca may decide trust')).toBe(
    'the flag --use-openssl-ca may decide trust',
  )
  expect(words('not kept: the session has no extended master secret (RFC 7627)')).toBe(
    'the session has no extended master secret (RFC 7627)',
  )
  expect(reasonOf('something new')).toEqual({ code: 'other', words: 'something new' })
})
