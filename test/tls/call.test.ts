import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { COMPUTED, noteOptions, type Options, readTlsState } from '../../src/tls/call.ts'
import { textOf } from './kit.ts'

const caOf = (ca: unknown) => noteOptions({ ca }).ca

describe('the note of the options', () => {
  it('does not change with the buffers and arrays of the program', () => {
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

  it('shares one copy of a bundle between connections, and has another once the bundle has changed', () => {
    const buffer = Buffer.from('a bundle')
    const noted = () => (caOf([buffer]) as Uint8Array[])[0]!
    const [first, second] = [noted(), noted()]
    expect(first).toBe(second)
    buffer.write('A')
    expect(Buffer.from(noted()).toString()).toBe('A bundle')
    expect(Buffer.from(first).toString()).toBe('a bundle')
  })

  it('includes inherited options, as Node reads them', () => {
    const inherited = Object.create({ ca: 'x', allowPartialTrustChain: true }) as Options
    expect(noteOptions(inherited)).toMatchObject({ ca: 'x', allowPartialTrustChain: true })
  })

  it('includes Object.prototype as it was during the call', () => {
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

  it('marks proxies, getters of arrays, shared memory and views of other types as computed', () => {
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

  it('has what Node reads, even if a buffer or an array has own methods and properties', () => {
    const buffer = Buffer.from('a bundle')
    for (const name of ['byteLength', 'byteOffset', 'length', 'buffer']) {
      Object.defineProperty(buffer, name, { value: 1, configurable: true })
    }
    const list = Object.assign(['x'], { map: () => ['y'], toJSON: () => ['z'] })
    expect(Buffer.from(caOf(buffer) as Uint8Array).toString()).toBe('a bundle')
    expect(caOf(list)).toEqual(['x'])
  })

  it('has other values unchanged', () => {
    const checkServerIdentity = () => undefined
    const socket = {}
    expect(noteOptions({ checkServerIdentity, socket, port: 443 })).toMatchObject({
      checkServerIdentity,
      port: 443,
    })
    expect(noteOptions({ socket }).socket).toBe(socket)
  })
})

describe('the state of node:tls', () => {
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

  it.each(['createSecureContext', 'getCACertificates'])('names %s if a program has replaced it', (name) => {
    expect(read({ [name]: () => [] })).toMatchObject({ replaced: name, defaultRoots: undefined })
  })

  it.each(['getPeerCertificate', 'isSessionReused'])('names %s if a program has replaced it', (name) => {
    const prototype = Object.create(tls.TLSSocket.prototype, { [name]: { value: () => ({}) } })
    expect(read({ TLSSocket: { prototype } })).toMatchObject({ replaced: name, defaultRoots: undefined })
  })

  it('lists the default CAs only if they are needed', () => {
    expect(read()).toMatchObject({ defaultRoots: tls.rootCertificates, bundledRoots: tls.rootCertificates })
    expect(read({}, false)).toMatchObject({ defaultRoots: undefined, bundledRoots: [] })
  })

  it('includes the extra CAs of a Node that does not list them only if they are known', () => {
    const older = { getCACertificates: undefined }
    expect(read(older, true, () => undefined).defaultRoots).toBeUndefined()
    expect(read(older, true, () => ['x']).defaultRoots).toEqual(['x'])
    expect(read(older).defaultRoots).toEqual(tls.rootCertificates)
  })
})
