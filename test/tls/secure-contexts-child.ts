import { readFileSync } from 'node:fs'
import tls, { type SecureContextOptions } from 'node:tls'
import { onContextChange } from '../../src/runtime/node-internals.ts'
import { readTlsState, type TlsState } from '../../src/tls/call.ts'
import { isNodesOwn } from '../../src/tls/node-functions.ts'
import { SecureContexts } from '../../src/tls/secure-contexts.ts'

// Prints what is known of secure contexts that are made in different ways.
const ca = readFileSync(process.argv[2]!, 'utf8')
const textOf = (f: object) => Function.prototype.toString.call(f)

const before = tls.createSecureContext({ ca })
const described = (f: object) => [
  Object.keys(f),
  (f as { name: string }).name,
  (f as { length: number }).length,
]
const original = tls.createSecureContext
const contexts = new SecureContexts(onContextChange)
let withRoots: boolean | undefined
contexts.watch(tls, (roots: boolean): TlsState => {
  withRoots = roots
  return readTlsState(tls, textOf, roots, undefined)
})

type Native = Record<string, (...args: unknown[]) => unknown>
const nativeOf = (context: tls.SecureContext) => context.context as Native
const isIntact = (context: tls.SecureContext) => contexts.originOf(context)?.isIntact()

/** What is known of a context after a change. */
function after(change: (context: tls.SecureContext, native: Native) => void): boolean | undefined {
  const context = tls.createSecureContext({ ca })
  try {
    change(context, nativeOf(context))
  } catch {}
  return isIntact(context)
}

const methods = [...methodsOf(nativeOf(before))]
function* methodsOf(native: object): Iterable<string> {
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(native))) {
    const { value } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(native), name) ?? {}
    if (typeof value === 'function' && name !== 'constructor') yield name
  }
}

const made = tls.createSecureContext({ ca, ciphers: 'HIGH' })
const needed = [withRoots]
const byDefault = tls.createSecureContext()
needed.push(withRoots)
const inherited = tls.createSecureContext(Object.create({ ca }))
const byGetter = Object.create({}, { ca: { get: () => ca } })
const withGetter = tls.createSecureContext(byGetter)
const withInheritedGetter = tls.createSecureContext(Object.create(byGetter))
const { checkServerIdentity, DEFAULT_CIPHERS: ciphers } = tls
/** As `tls.connect` passes them. */
const connecting = { rejectUnauthorized: true, ciphers, checkServerIdentity, minDHSize: 1024, ca }
const ofConnect = tls.createSecureContext(connecting as SecureContextOptions)
const { rejectUnauthorized: _, ...alike } = connecting
const withMinDHSize = tls.createSecureContext(alike as SecureContextOptions)
/** Calls a method by its name, but not the native one, since Node aborts on wrong arguments. */
function callHarmlessly(native: Native, name: string): void {
  const prototype = Object.getPrototypeOf(native) as Native
  const own = prototype[name]!
  prototype[name] = () => undefined
  native[name]!()
  prototype[name] = own
}

const failure = (call: () => unknown) => {
  try {
    return String(call())
  } catch (error) {
    return String(error)
  }
}

console.log(
  JSON.stringify({
    before: contexts.originOf(before) === undefined,
    others: [undefined, null, 1, {}, 'x'].every((value) => contexts.originOf(value) === undefined),
    made: { ...contexts.originOf(made)?.options },
    state: contexts.originOf(made)?.state.minVersion,
    needed,
    defaultRoots: contexts.originOf(byDefault)?.state.defaultRoots?.length,
    roots: tls.rootCertificates.length,
    inherited: contexts.originOf(inherited)?.options.ca === ca,
    withGetter: contexts.originOf(withGetter) === undefined,
    withInheritedGetter: contexts.originOf(withInheritedGetter) === undefined,
    proxy: contexts.originOf(tls.createSecureContext(new Proxy({ ca }, {}))) === undefined,
    ofConnect: contexts.originOf(ofConnect) === undefined,
    withMinDHSize: contexts.originOf(withMinDHSize) !== undefined,
    untouched: after(() => {}),
    closed: after((_, native) => native.close?.()),
    replaced: after((context) => {
      context.context = nativeOf(tls.createSecureContext())
    }),
    methods,
    changed: methods.filter((name) => after((_, native) => callHarmlessly(native, name)) === false),
    added: after((_, native) => native.addCACert!(ca)),
    isOwn: isNodesOwn('createSecureContext', tls.createSecureContext, textOf),
    looksAlike: JSON.stringify(described(original)) === JSON.stringify(described(tls.createSecureContext)),
    failures: ['x', 1, { ca: 1 }, { minVersion: 'x' }, { cert: 'x' }].map((options) => [
      failure(() => original(options as never)),
      failure(() => tls.createSecureContext(options as never)),
    ]),
  }),
)
