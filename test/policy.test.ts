import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readDraft } from '../src/policy.ts'
import { scratch } from './support/directories.ts'

const folder = scratch()

function read(text: string) {
  const file = join(folder, 'policy.json')
  writeFileSync(file, text)
  return readDraft(file)
}

const problemOf = (policy: unknown) => {
  const { state, problem, rules } = read(JSON.stringify(policy))
  expect({ state, rules }).toEqual({ state: 'wrong', rules: {} })
  return problem
}

describe('a policy', () => {
  it('may set no field or every field', () => {
    expect(read('{}')).toMatchObject({ state: 'in force', rules: {} })
    const rules = {
      disable: false,
      keySources: ['keychain', 'file'],
      allowHosts: ['*.example.com', '192.0.2.1', '2001:db8::1'],
      denyHosts: [],
      maxAgeSeconds: 3600,
      cipher: 'aes-256-gcm',
      clientCertificates: false,
      pool: false,
      audit: { file: '/var/log/audit', maxBytes: 65_536 },
      metrics: true,
    }
    expect(read(JSON.stringify(rules)).rules).toEqual(rules)
  })

  it('has hosts in their canonical spelling', () => {
    const { rules } = read('{ "allowHosts": ["Example.COM.", "*.BÜCHER.example", "[0:0::1]"] }')
    expect(rules.allowHosts).toEqual(['example.com', '*.xn--bcher-kva.example', '::1'])
  })

  it('has a default audit file, and none without an audit', () => {
    const file = '/var/log/ticketkeep/audit.jsonl'
    expect(read('{ "audit": true }').rules.audit).toMatchObject({ file })
    expect(read('{ "audit": { "maxBytes": 4096 } }').rules.audit).toEqual({ file, maxBytes: 4096 })
    expect(read('{ "audit": false }').rules.audit).toBeUndefined()
  })

  it.each([
    [[], 'it is not an object'],
    [null, 'it is not an object'],
    [{ Disable: true }, '"Disable" is not a field of a policy'],
    [{ ['__proto__']: {} }, '"__proto__" is not a field of a policy'],
    [{ disable: 'yes' }, '"disable" is neither true nor false'],
    [{ disable: null }, '"disable" is neither true nor false'],
    [{ keySources: 'file' }, '"keySources" is not a list'],
    [{ keySources: ['files'] }, '"keySources": "files" is not one of variable, file'],
    [{ allowHosts: ['example.com:443'] }, '"allowHosts": "example.com:443" is not a host'],
    [{ allowHosts: ['https://example.com'] }, 'is not a host'],
    [{ allowHosts: ['*'] }, 'is not a host'],
    [{ allowHosts: ['*.*.example.com'] }, 'is not a host'],
    [{ denyHosts: ['*.192.0.2.1'] }, 'is not a host'],
    [{ denyHosts: [1] }, 'is not a host'],
    [{ maxAgeSeconds: 0 }, '"maxAgeSeconds" is not a whole number from 1 to 86400'],
    [{ maxAgeSeconds: 86_401 }, '"maxAgeSeconds" is not a whole number'],
    [{ maxAgeSeconds: '60' }, '"maxAgeSeconds" is not a whole number'],
    [{ cipher: 'rot13' }, '"cipher": "rot13" is not one of'],
    [{ audit: 'on' }, '"audit" is not an object'],
    [{ audit: { file: 'audit.jsonl' } }, '"file" is not an absolute path'],
    [{ audit: { path: '/x' } }, '"path" is not a field of "audit"'],
  ])('%j is refused: %s', (policy, words) => {
    expect(problemOf(policy)).toContain(words)
  })
})
