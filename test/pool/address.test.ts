import { expect, it } from 'vitest'
import { readPoolAddress } from '../../src/pool/address.ts'

const read = (url: string, from: '--pool' | 'TICKETKEEP_POOL' = 'TICKETKEEP_POOL') =>
  readPoolAddress(url, from)

it('a URL names one server, a cluster or sentinels', () => {
  expect(read('valkeys://ann:s%40cret@pool.example/2')).toMatchObject({
    ...{ kind: 'single', nodes: [{ host: 'pool.example', port: 6379 }], tls: {} },
    ...{ username: 'ann', password: 's@cret', database: 2, prefix: 'ticketkeep:', budget: 200, tls12: false },
  })
  expect(read('rediss://a:1,b:2,[2001:db8::1]:3?cluster=yes')).toMatchObject({
    kind: 'cluster',
    nodes: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
      { host: '2001:db8::1', port: 3 },
    ],
  })
  const sentinel = read('valkeys://:pw@a,b?sentinel=main')
  expect(sentinel).toMatchObject({ kind: 'sentinel', primary: 'main', username: 'default', password: 'pw' })
  expect(sentinel.nodes[0]).toEqual({ host: 'a', port: 26_379 })
})

it.each([
  'valkey://localhost',
  'redis://127.0.0.1:6380',
  'valkey://[::1]',
  'valkey://pool.example?plaintext=yes',
])('a URL may go without TLS: %s', (url) => expect(read(url).tls).toBeUndefined())

it.each([
  ['valkey://pool.example', /without TLS/],
  ['valkey://127.0.0.1.example', /without TLS/],
  // These refer to other machines.
  ['valkey://localhost?cluster=yes', /without TLS/],
  ['valkey://localhost?sentinel=main', /without TLS/],
  ['http://pool.example', /is not of the form/],
  ['valkeys://', /is not of the form/],
  ['valkeys://u:hunter2@ab@pool.example', /is not of the form/],
  ['valkeys://u:hunter2%@pool.example', /spelled %25/],
  ['valkeys://u:hunter2@a,b', /several servers/],
  ['valkeys://u:hunter2@a b', /not HOST/],
  ['valkeys://u:hunter2@a:0', /not HOST/],
  ['valkeys://u:hunter2@a?tls=no', /does not know/],
  ['valkeys://u:hunter2@a?tls12=maybe', /yes or no/],
  ['valkeys://u:hunter2@a?budget=0', /number/],
  ['valkeys://u:hunter2@a?prefix={x}', /prefix/],
  ['valkeys://u:hunter2@a/1?cluster=yes', /database/],
  ['valkeys://u:hunter2@a?ca=ca.pem', /absolute/],
  ['valkeys://u:hunter2@a?ca=/nowhere/hunter2', /ENOENT/],
])('an invalid URL is refused and no part of it is quoted: %s', (url, why) => {
  expect(() => read(url)).toThrow(why)
  expect(() => read(url)).not.toThrow(/hunter2/)
})

it('a password is not taken from an argument list', () => {
  expect(() => read('valkeys://u:hunter2@a', '--pool')).toThrow(/TICKETKEEP_POOL.*password-file/)
  expect(() => read('valkeys://u:hunter2@a', '--pool')).not.toThrow(/hunter2/)
  expect(read('valkeys://u@a', '--pool').username).toBe('u')
})
