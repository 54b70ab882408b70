import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { COMPUTED, noteOptions, type Options, readTlsState } from '../../src/tls/call.ts'
import { textOf } from './kit.ts'

const caOf = (ca: unknown) => noteOptions({ ca }).ca

describe('what is noted of the options', () => {
  it('stays as it was, whatever becomes of buffers and arrays', () => {
    const buffer = Buffer.from('a bundle')
    const list = [buffer, 'text', [buffer]]
    const noted = caOf(list)
    buffer.write('A')
    list.pop()
    expect(noted).toEqual([
      Uint8Array.from(Buffer.from('a bundle')),
      'text',
      [Uint8Array.from(Buffer.from('a bundle'))],
    ])
  })

  it('has one copy of a bundle, however many connections are given it, and another once it has changed', () => {
    const buffer = Buffer.from('a bundle')
    const noted = () => (caOf([buffer]) as Uint8Array[])[0]!
    const [first, second] = [noted(), noted()]
    expect(first).toBe(second)
    buffer.write('A')
    expect(Buffer.from(noted()).toString()).toBe('A bundle')
    expect(Buffer.from(first).toString()).toBe('a bundle')
  })

  it('is what is inherited, too, as Node reads it', () => {
    const inherited = Object.create({ ca: 'x', allowPartialTrustChain: true }) as Options
    expect(noteOptions(inherited)).toMatchObject({ ca: 'x', allowPartialTrustChain: true })
  })

  it('goes by what was on Object.prototype during the call, and by nothing later', () => {
    const polluted = Object.prototype as { allowPartialTrustChain?: boolean }
    polluted.allowPartialTrustChain = true
    const during = noteOptions({})
    delete polluted.allowPartialTrustChain
    const after = noteOptions({})
    polluted.allowPartialTrustChain = true
    const [one, other] = [during.allowPartialTrustChain, after.allowPartialTrustChain]
    delete polluted.allowPartialTrustChain
    expect([one, other]).toEqual([true, undefined])
  })

  it('is neither a proxy, nor a getter of an array, nor memory that other threads write to', () => {
    const withGetter: unknown[] = ['x']
    Object.defineProperty(withGetter, 0, { get: () => 'x' })
    const shared = new Uint8Array(new SharedArrayBuffer(8))
    expect(caOf(new Proxy(['x'], {}))).toBe(COMPUTED)
    expect(caOf(withGetter)).toEqual([COMPUTED])
    expect(caOf(shared)).toBe(COMPUTED)
    expect(caOf([shared, new Proxy([], {})])).toEqual([COMPUTED, COMPUTED])
    const inherited = Object.setPrototypeOf([], { 0: 'x', map: Array.prototype.map }) as unknown[]
    inherited.length = 1
    expect(caOf(inherited)).toEqual([COMPUTED])
  })

  it('leaves other values as they are', () => {
    const checkServerIdentity = () => undefined
    const socket = {}
    expect(noteOptions({ checkServerIdentity, socket, port: 443 })).toMatchObject({
      checkServerIdentity,
      port: 443,
    })
    expect(noteOptions({ socket }).socket).toBe(socket)
  })
})

describe('what node:tls says', () => {
  const read = (
    change: object = {},
    withRoots = true,
    rootsWithExtra?: () => readonly string[] | undefined,
  ) => {
    const module = Object.create(tls, Object.getOwnPropertyDescriptors(change)) as typeof tls
    return readTlsState(module, textOf, withRoots, rootsWithExtra)
  }

  it('is read at each call', () => {
    expect(read({ DEFAULT_MIN_VERSION: 'TLSv1.3', DEFAULT_MAX_VERSION: 'x' })).toMatchObject({
      minVersion: 'TLSv1.3',
      maxVersion: 'x',
      replaced: undefined,
      fips: 0,
    })
    expect(read({ DEFAULT_CIPHERS: 'HIGH', DEFAULT_ECDH_CURVE: 'P-384' })).toMatchObject({
      ciphers: 'HIGH',
      ecdhCurve: 'P-384',
    })
  })

  it.each(['createSecureContext', 'getCACertificates'])(
    'names %s where a program has replaced it',
    (name) => {
      expect(read({ [name]: () => [] })).toMatchObject({ replaced: name, defaultRoots: undefined })
    },
  )

  it.each(['getPeerCertificate', 'isSessionReused'])('names %s where a program has replaced it', (name) => {
    const prototype = Object.create(tls.TLSSocket.prototype, { [name]: { value: () => ({}) } })
    expect(read({ TLSSocket: { prototype } })).toMatchObject({ replaced: name, defaultRoots: undefined })
  })

  it('lists the default CAs where they matter', () => {
    expect(read().defaultRoots).toHaveLength(tls.rootCertificates.length)
    expect(read({}, false).defaultRoots).toBeUndefined()
  })

  it('says of a Node that does not tell its CAs what NODE_EXTRA_CA_CERTS named when the process started', () => {
    const older = { getCACertificates: undefined }
    expect(read(older, true, () => undefined).defaultRoots).toBeUndefined()
    expect(read(older, true, () => ['roots', 'extra']).defaultRoots).toEqual(['roots', 'extra'])
    expect(read(older, true).defaultRoots).toEqual(tls.rootCertificates)
  })
})
