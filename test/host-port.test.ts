import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hostPort, peerOf } from '../src/host-port.ts'

const spelled = (host: string) => hostPort(host, 443).host

describe('one spelling per host', () => {
  test.each([
    ['EXAMPLE.com', 'example.com'],
    ['example.com.', 'example.com'],
    ['localhost', 'localhost'],
    ['_service.example', '_service.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['bu\u0308cher.example', 'xn--bcher-kva.example'],
    ['XN--BCHER-KVA.example', 'xn--bcher-kva.example'],
    ['bücher。example。', 'xn--bcher-kva.example'],
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['[::1]', '::1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:DB8::0:1', '2001:db8::1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['a'.repeat(63), 'a'.repeat(63)],
  ])('%s is spelled %s', (host, canonical) => expect(spelled(host)).toBe(canonical))

  test.each([
    '',
    '.',
    '..',
    'example..com',
    '.example',
    'example.com..',
    'a b',
    'a/b',
    'a@b',
    'a%41',
    'bü/cher',
    'b%C3%BCcher',
    'bü%41',
    'a:1',
    'example.com:443',
    '[example]',
    '[::1',
    '::1]',
    ':',
    ':::',
    '1:2',
    'fe80::1%eth0',
    '[fe80::1%25eth0]',
    '127.1',
    '0x7f000001',
    '0x',
    '2130706433',
    '127.0.0.01',
    '256.0.0.1',
    '127.0.0.1.',
    '1.2.3.4.5',
    'a.0x1',
    '\u{ff11}27.0.0.1',
    'a'.repeat(64),
    `${'a.'.repeat(127)}a`,
    `${'ü'.repeat(60)}.example`,
    'a\0b',
    'a\nb',
    ' a',
    '\ud800',
    'x'.repeat(1_000_000),
    'ü'.repeat(1_000_000),
  ])('%j is not a host', (host) => {
    expect(() => spelled(host)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_HOST' }))
  })

  test.each([undefined, null, 1, {}, ['a'], new String('a')])(
    '%j is not a host at run time either',
    (host) => {
      expect(() => spelled(host as string)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_HOST' }))
    },
  )

  test('canonicalising twice changes nothing, and any string is canonicalised or refused', () => {
    const text = fc.oneof(
      fc.domain(),
      fc.ipV4Extended(),
      fc.ipV6(),
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('a', '1', '.', ':', '-', '[', ']', '0x', 'ü', '%', 'xn--', '。') }),
    )
    fc.assert(
      fc.property(text, (host) => {
        let once: string
        try {
          once = spelled(host)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_INVALID_HOST' })
          return
        }
        expect(spelled(once)).toBe(once)
        expect(once).toMatch(/^[a-z0-9_.:-]{1,253}$/)
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('ports', () => {
  test.each([1, 443, 65_535])('%d is a port', (port) => expect(hostPort('a', port).port).toBe(port))

  test.each([0, -1, 65_536, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '443', undefined, null])(
    '%j is not a port',
    (port) => {
      expect(() => hostPort('a', port as number)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_PORT' }),
      )
    },
  )

  test('port 0 stands for an unknown port inside the package', () => {
    expect(peerOf('A.', 0)).toEqual({ host: 'a', port: 0 })
  })
})
