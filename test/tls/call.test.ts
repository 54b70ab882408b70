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

  it('is neither a proxy, nor a getter of an array, nor memory that other threads write to, nor any other view than of bytes', () => {
    const withGetter: unknown[] = ['x']
    Object.defineProperty(withGetter, 0, { get: () => 'x' })
    const shared = new Uint8Array(new SharedArrayBuffer(8))
    expect(caOf(new Proxy(['x'], {}))).toBe(COMPUTED)
    expect(caOf(withGetter)).toEqual([COMPUTED])
    expect(caOf(shared)).toBe(COMPUTED)
    expect(caOf([shared, new Proxy([], {})])).toEqual([COMPUTED, COMPUTED])
    expect(caOf(new Array(1))).toEqual([COMPUTED])
    expect(caOf(new DataView(new ArrayBuffer(8)))).toBe(COMPUTED)
    expect(caOf(new Uint16Array(8))).toBe(COMPUTED)
  })

  it('is what Node reads, whatever methods and properties a buffer or a list has of its own', () => {
    const buffer = Buffer.from('a bundle')
    for (const name of ['byteLength', 'byteOffset', 'length', 'buffer']) {
      Object.defineProperty(buffer, name, { value: 1, configurable: true })
    }
    const list = Object.assign(['x'], { map: () => ['y'], toJSON: () => ['z'] })
    expect(Buffer.from(caOf(buffer) as Uint8Array).toString()).toBe('a bundle')
    expect(caOf(list)).toEqual(['x'])
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
  const read = (change: object = {}, withRoots = true, withExtra?: () => string[] | undefined) => {
    const module = Object.create(tls, Object.getOwnPropertyDescriptors(change)) as typeof tls
    return readTlsState(module, textOf, withRoots, withExtra)
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
    expect(read()).toMatchObject({ defaultRoots: tls.rootCertificates, bundledRoots: tls.rootCertificates })
    expect(read({}, false)).toMatchObject({ defaultRoots: undefined, bundledRoots: [] })
  })

  it('does not say which extra CAs a Node has taken that does not tell, unless that is known', () => {
    const older = { getCACertificates: undefined }
    expect(read(older, true, () => undefined).defaultRoots).toBeUndefined()
    expect(read(older, true, () => ['x']).defaultRoots).toEqual(['x'])
    expect(read(older).defaultRoots).toEqual(tls.rootCertificates)
  })
})
