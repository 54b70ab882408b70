import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GROUPS, groupsWith } from '../../src/tls/key-exchange-groups.ts'
import { groupsOf } from '../support/client-hello.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, type NodeLine, OLDER_NODES } from '../support/pinned.ts'
import { listen } from '../support/ports.ts'
import { askNode } from '../support/real-nodes.ts'

const NUMBERS = { 'P-256': 23, 'P-384': 24, 'P-521': 25, X448: 30 } as const
const X25519 = 29
const X25519MLKEM768 = 4588

const AUTO = { options: {}, state: { ecdhCurve: 'auto', maxVersion: 'TLSv1.3', fips: 0 } }
const call = (options: object, state: object = {}) =>
  ({ options, state: { ...AUTO.state, ...state } }) as unknown as Parameters<typeof groupsWith>[1]

let port: number
let hellos: Buffer[] = []
const server = createServer((socket) => {
  let received = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes])
    if (received.length < 5 + received.readUInt16BE(3)) return
    hellos.push(received)
    socket.destroy()
  })
})
beforeAll(async () => {
  port = await listen(server)
})
afterAll(() => new Promise<void>((done) => server.close(() => done())))

/** The ClientHello of a Node with each `ecdhCurve`, and the version of its OpenSSL. */
async function ask(line: NodeLine, curves: readonly (string | undefined)[]) {
  hellos = []
  const openssl = await askNode(
    line,
    `(async () => {
      for (const curve of ${JSON.stringify(curves)}) await new Promise((done) =>
        require('node:tls').connect({ port: ${port}, ...(curve && { ecdhCurve: curve }) }).on('error', done))
      process.stdout.write(process.versions.openssl)
    })()`,
  )
  return { openssl, hellos: hellos.map(groupsOf) }
}

for (const line of [...NODE_LINES, ...OLDER_NODES]) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    it('allows the same groups as by default and sends a key share of the given one', async () => {
      const { openssl, hellos } = await ask(line, [undefined])
      const usual = hellos[0]!
      const changed = await ask(
        line,
        GROUPS.map((group) => groupsWith(group, call({}), openssl)),
      )
      for (const [i, group] of GROUPS.entries()) {
        const { allowed, shares } = changed.hellos[i]!
        expect(allowed.toSorted()).toEqual(usual.allowed.toSorted())
        if (openssl.startsWith('3.0')) {
          const others = usual.allowed.filter((one) => one !== NUMBERS[group])
          expect([allowed, shares]).toEqual([[NUMBERS[group], ...others], [NUMBERS[group]]])
        } else {
          expect(allowed).toEqual(usual.allowed)
          expect(usual.shares).toEqual([X25519MLKEM768, X25519])
          expect(shares).toEqual([...usual.shares, NUMBERS[group]])
        }
      }
    }, 60_000)
  })
}

describe('the groups are left unchanged', () => {
  const left = (options: object, state: object = {}, openssl = '3.0.19') =>
    groupsWith('P-256', call(options, state), openssl)

  it.each([
    ['the program has chosen groups', { ecdhCurve: 'X25519:P-256' }, {}],
    ['the program has chosen a value that Node refuses', { ecdhCurve: null }, {}],
    ['tls.DEFAULT_ECDH_CURVE was set', {}, { ecdhCurve: 'P-256' }],
    ['the call has a context', { secureContext: {} }, {}],
    ['the call has a method', { secureProtocol: 'TLSv1_2_method' }, {}],
    ['the call allows no TLS 1.3', { maxVersion: 'TLSv1.2' }, {}],
    ['the process allows no TLS 1.3', {}, { maxVersion: 'TLSv1.2' }],
    ['OpenSSL is in FIPS mode', {}, { fips: 1 }],
  ])('if %s', (_why, options, state) => {
    expect(left({})).toMatch(/^P-256:X25519:/)
    expect(left(options, state)).toBeUndefined()
  })

  it('if the version of OpenSSL is unknown', () => {
    for (const version of ['1.1.1w', '3.1.0', '3.6.0', '4.0.0', '3.50.0'])
      expect(left({}, {}, version)).toBeUndefined()
  })
})
