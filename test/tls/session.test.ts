import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  cutCertificate,
  isSameSession,
  putCertificate,
  readSession,
  unwrapSession,
} from '../../src/tls/session.ts'
import { useBundle } from '../support/children.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, OLDER_NODES } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { realNodes, runInNode } from '../support/real-nodes.ts'
import { startTlsServer } from '../support/tls-server.ts'
import { mutate, mutateFields, random } from './mutations.ts'
import {
  changed,
  element,
  type Field,
  fieldsOf,
  integer,
  octets,
  sequenceOf,
  withTag,
} from './session-fields.ts'
import { type RecordedSession, recordSessions } from './sessions.ts'

let recorded: RecordedSession[]
let ders: Uint8Array[]
/** One of each version. */
let tls12: Uint8Array
let tls13: Uint8Array

beforeAll(async () => {
  recorded = await recordSessions(realNodes())
  ders = recorded.map(({ bytes }) => unwrapSession(bytes))
  tls12 = ders[recorded.findIndex(({ protocol }) => protocol === 'TLSv1.2')]!
  tls13 = ders[recorded.findIndex(({ protocol }) => protocol === 'TLSv1.3')]!
})

const now = () => Math.floor(Date.now() / 1000)

describe('the sessions of every Node', () => {
  it('are read', () => {
    expect(recorded).toHaveLength(realNodes().length * 4)
    for (const [i, { protocol, certificate }] of recorded.entries()) {
      const session = readSession(ders[i]!)!
      expect(session).toMatchObject({
        protocol,
        extendedMasterSecret: true,
        timeout: 7200,
      })
      expect(Buffer.from(session.certificate.der)).toEqual(certificate)
      expect(Math.abs(session.startedAt - now())).toBeLessThan(300)
      expect(session.lifetimeHint).toBe(7200)
    }
  })

  it('can be split and joined again, byte for byte', () => {
    for (const [i, { certificate }] of recorded.entries()) {
      const cut = cutCertificate(ders[i]!)
      expect(Buffer.from(cut).includes(certificate.subarray(0, 100))).toBe(false)
      expect(readSession(cut)).toBeUndefined()
      expect(Buffer.from(putCertificate(cut, certificate))).toEqual(Buffer.from(ders[i]!))
    }
  })

  it('can be split and joined again after any change that leaves them readable', () => {
    const below = random(11)
    let readable = 0
    for (let i = 0; i < 20_000; i++) {
      const change = below(2) === 0 ? mutate : mutateFields
      const der = change(ders[below(ders.length)]!, ders[below(ders.length)]!, below)
      const session = readSession(der)
      if (!session) continue
      readable++
      expect(Buffer.from(putCertificate(cutCertificate(der), session.certificate.der)).equals(der)).toBe(true)
    }
    expect(readable).toBeGreaterThan(1000)
  })
})

describe('bytes that are not a session', () => {
  it('are not read, split or joined, without an exception', () => {
    const below = random(12)
    for (let i = 0; i < 2000; i++) {
      const junk = Uint8Array.from({ length: below(200) }, () => below(256))
      expect(readSession(junk)).toBeUndefined()
      putCertificate(cutCertificate(junk), junk)
    }
  })

  it('include a session of Node that is still wrapped', () => {
    for (const { bytes } of recorded) {
      if (bytes[0] === 0) expect(readSession(bytes)).toBeUndefined()
    }
  })
})

describe('a session is refused', () => {
  const [VERSION, PROTOCOL, SUITE, ID, SECRET] = [0, 1, 2, 3, 4]

  it.each<[string, (der: Uint8Array, other: Uint8Array) => Uint8Array]>([
    ['of another format than version 1', (der) => changed(der, VERSION, integer('02'))],
    ['of TLS 1.1', (der) => changed(der, PROTOCOL, integer('0302'))],
    ['of DTLS', (der) => changed(der, PROTOCOL, integer('00fefd'))],
    [
      'of a cipher suite that not every build of OpenSSL has',
      (der) => changed(der, SUITE, { ...octets(2), contents: Buffer.from('c0ae', 'hex') }),
    ],
    ['of a cipher suite of the other version', (der, other) => changed(der, SUITE, fieldsOf(other)[SUITE])],
    ['with a cipher suite of three bytes', (der) => changed(der, SUITE, octets(3))],
    ['with a session id that is too long', (der) => changed(der, ID, octets(33))],
    ['with a secret of another length', (der) => changed(der, SECRET, octets(47))],
    ['with an empty secret', (der) => changed(der, SECRET, octets(0))],
    ['without a start time', (der) => withTag(der, 1)],
    ['with a negative start time', (der) => withTag(der, 1, integer('ff'))],
    ['with a start time that is not in its shortest form', (der) => withTag(der, 1, integer('0001'))],
    ['with a start time beyond safe integers', (der) => withTag(der, 1, integer('7fffffffffffffff'))],
    ['without a timeout', (der) => withTag(der, 2)],
    ['without a certificate', (der) => withTag(der, 3)],
    ['with junk as its certificate', (der) => withTag(der, 3, { tag: 0x30, contents: Buffer.alloc(9) })],
    ['with a context that is too long', (der) => withTag(der, 4, octets(33))],
    ['that was not verified', (der) => withTag(der, 5, integer('12'))],
    ['with a verify result beyond 32 bits', (der) => withTag(der, 5, integer('0100000000'))],
    ['with a pre-shared key hint', (der) => withTag(der, 7, octets(4))],
    ['with a pre-shared key', (der) => withTag(der, 8, octets(4))],
    ['without a ticket', (der) => withTag(der, 10)],
    ['with an empty ticket', (der) => withTag(der, 10, octets(0))],
    ['with compression', (der) => withTag(der, 11, octets(1))],
    ['with the name of an SRP user', (der) => withTag(der, 12, octets(4))],
    ['with an age beyond 32 bits', (der) => withTag(der, 14, integer('0100000000'))],
    ['with early data beyond 32 bits', (der) => withTag(der, 15, integer('0100000000'))],
    ['with a raw public key', (der) => withTag(der, 20, octets(4))],
    ['with an unknown field', (der) => withTag(der, 23, octets(1))],
    ['with a field of another type', (der) => withTag(der, 9, octets(2))],
    [
      'with two values in one field',
      (der) =>
        changed(
          der,
          -1,
          { tag: 0xa2, contents: Buffer.concat([element(2, Buffer.of(1)), element(2, Buffer.of(1))]) },
          2,
        ),
    ],
    [
      'with a field twice',
      (der) => sequenceOf(fieldsOf(der).flatMap((one) => (one.tag === 0xa2 ? [one, one] : [one]))),
    ],
    [
      'with fields in another order',
      (der) => sequenceOf([...fieldsOf(der).slice(0, 5), ...fieldsOf(der).slice(5).reverse()]),
    ],
    ['with trailing bytes', (der) => Buffer.concat([der, Buffer.of(0)])],
    ['with its last byte missing', (der) => der.subarray(0, -1)],
  ])('%s', (_name, change) => {
    for (const [der, other] of [
      [tls12, tls13],
      [tls13, tls12],
    ] as const) {
      expect(readSession(sequenceOf(fieldsOf(der)))).toBeDefined()
      expect(readSession(change(der, other))).toBeUndefined()
    }
  })

  it('of TLS 1.2 with the secret of TLS 1.3', () => {
    expect(readSession(changed(tls12, SECRET, octets(32)))).toBeUndefined()
    expect(readSession(changed(tls13, SECRET, octets(32)))).toBeDefined()
  })
})

it('a TLS 1.2 session says whether it has an extended master secret, and a TLS 1.3 session needs none', () => {
  for (const [hex, has] of [
    ['00', false],
    ['02', false],
    ['01', true],
    ['03', true],
  ] as const) {
    expect(readSession(withTag(tls12, 13, integer(hex)))?.extendedMasterSecret).toBe(has)
  }
  expect(readSession(withTag(tls12, 13))?.extendedMasterSecret).toBe(false)
  expect(readSession(withTag(tls13, 13))?.extendedMasterSecret).toBe(true)
})

it('a session has its server name if the server has acknowledged it', () => {
  const name = { tag: 0x04, contents: Buffer.from('a.test') }
  expect(readSession(withTag(tls13, 6, name))).toMatchObject({ serverName: 'a.test' })
  expect(readSession(withTag(tls13, 6))).toMatchObject({ serverName: undefined })
})

it('a session without a lifetime hint has no lifetime', () => {
  expect(readSession(withTag(tls13, 9))).toMatchObject({ lifetimeHint: undefined })
})

const LINES = [...NODE_LINES, ...OLDER_NODES]
const folder = scratch()

describe('OpenSSL', () => {
  const child = useBundle(new URL('./session-child.ts', import.meta.url))
  beforeAll(async () => {
    mkdirSync(join(folder, 'fuzz'))
  })

  for (const line of LINES) {
    describeWith(missingNode(line), `of Node ${line}`, () => {
      it('accepts every mutated session that ticketkeep accepts, of 20,000', async () => {
        const file = join(folder, 'fuzz', line)
        const sessions = ders.map((der) => Buffer.from(der).toString('base64'))
        writeFileSync(file, JSON.stringify({ seed: LINES.indexOf(line), count: 20_000, sessions }))
        const { accepted, refused, untouched } = JSON.parse(
          await runInNode(line, child.path, { args: [file] }),
        )
        expect(refused).toEqual([])
        expect(accepted).toBeGreaterThan(1000) // otherwise OpenSSL was hardly tested
        expect(untouched).toEqual(ders.map(() => [true, true]))
      }, 120_000)
    })
  }
})

describe('a session that is passed to a socket', () => {
  const child = useBundle(new URL('./session-resume-child.ts', import.meta.url))

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`resumes ${version} on every Node, whichever Node made it`, async () => {
      const ca = await createAuthority()
      const server = await startTlsServer({ ...(await ca.issue({ names: ['a.test'] })), version })
      const file = join(folder, version)
      let session: string | undefined
      const lines = realNodes()
      for (const line of [...lines, ...lines.toReversed()]) {
        writeFileSync(file, JSON.stringify({ port: server.port, ca: ca.cert, session }))
        const result = JSON.parse(await runInNode(line, child.path, { args: [file] }))
        expect([line, result.isReused]).toEqual([line, session !== undefined])
        session = result.session ?? session
      }
      expect(server.handshakes.map(({ reused }) => reused)).toEqual([
        false,
        ...Array(lines.length * 2 - 1).fill(true),
      ])
      await server.close()
    })
  }
})

describe('unwrapping', () => {
  const wrapped = (name: string, der: Uint8Array) =>
    Buffer.concat([
      Buffer.from('\0nodejs:tls:session:1\0'),
      Buffer.of(0, name.length),
      Buffer.from(name),
      der,
    ])

  it('returns the DER that newer Nodes wrap, and the DER of older Nodes unchanged', () => {
    expect(unwrapSession(wrapped('a.test', tls13))).toEqual(Buffer.from(tls13))
    expect(unwrapSession(tls13)).toBe(tls13)
    expect(recorded.filter(({ bytes }) => bytes[0] === 0).length).toBeGreaterThanOrEqual(4)
  })

  it('returns bytes unchanged that only resemble a wrapper', () => {
    for (const bytes of [
      wrapped('', tls13).subarray(1),
      wrapped('', Buffer.alloc(0)).subarray(0, -1),
      Buffer.alloc(0),
    ]) {
      expect(unwrapSession(bytes)).toBe(bytes)
    }
    expect(unwrapSession(wrapped('long'.repeat(20), Buffer.alloc(0)).subarray(0, 30))).toHaveLength(0)
  })
})

describe('two sessions are the same', () => {
  const suite = (id: string): Field => ({ tag: 0x04, contents: Buffer.from(id, 'hex') })

  it('if they are equal byte for byte', () => {
    for (const der of ders) expect(isSameSession(der, Uint8Array.from(der))).toBe(true)
    expect(isSameSession(tls12, tls13)).toBe(false)
  })

  it.each<[string, (der: Uint8Array) => Uint8Array]>([
    ['another ticket', (der) => withTag(der, 10, octets(99))],
    ['another session id', (der) => changed(der, 3, octets(32))],
    ['another lifetime', (der) => withTag(der, 9, integer('0e10'))],
    ['no lifetime', (der) => withTag(der, 9)],
    ['another start', (der) => withTag(der, 1, integer('6b07debc'))],
    ['another timeout', (der) => withTag(der, 2, integer('0e10'))],
  ])('in TLS 1.2 if they differ by %s, but not in TLS 1.3', (_, change) => {
    expect(isSameSession(tls12, change(tls12))).toBe(true)
    expect(isSameSession(tls13, change(tls13))).toBe(false)
  })

  it('in TLS 1.3 if they differ by the cipher suite, but not in TLS 1.2', () => {
    expect(isSameSession(tls13, changed(tls13, 2, suite('1303')))).toBe(true)
    expect(isSameSession(tls12, changed(tls12, 2, suite('c02f')))).toBe(false)
  })

  it.each<[string, (der: Uint8Array) => Uint8Array]>([
    ['secret', (der) => changed(der, 4, octets(48))],
    ['certificate', (der) => withTag(der, 3, octets(48))],
    ['name', (der) => withTag(der, 6, octets(9))],
    ['flags', (der) => withTag(der, 13, integer('02'))],
    ['version', (der) => changed(der, 1, integer('0302'))],
  ])('never if they differ by the %s', (_, change) => {
    for (const der of [tls12, tls13]) expect(isSameSession(der, change(der))).toBe(false)
  })

  it('never if one of them is not a session', () => {
    for (const junk of [new Uint8Array(), Uint8Array.of(0x30), Buffer.from('junk')]) {
      for (const other of [tls12, tls13, Uint8Array.of(0x30, 0)])
        expect(isSameSession(junk, other)).toBe(false)
    }
  })
})
