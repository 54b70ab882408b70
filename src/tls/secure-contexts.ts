import type tls from 'node:tls'
import { type ConnectOptions, isNodesOwn, noteOptions, type TlsDefaults, vouchFor } from './node-tls.ts'

/** What a secure context was made from. */
export interface ContextOrigin {
  readonly options: ConnectOptions
  readonly defaults: TlsDefaults
}

/** All that a binding asks about, by the names that Node reads. */
const CONTEXT_OPTIONS = [
  ...['ca', 'allowPartialTrustChain', 'crl', 'cert', 'key', 'pfx', 'ciphers', 'sigalgs', 'ecdhCurve'],
  ...['minVersion', 'maxVersion', 'secureProtocol', 'secureOptions', 'sessionIdContext', 'ticketKeys'],
  ...['clientCertEngine', 'privateKeyEngine', 'privateKeyIdentifier'],
]

const origins = new WeakMap<object, ContextOrigin>()

/** What `context` was made from; undefined if we did not see it made, or saw it changed since. */
export function contextOrigin(context: unknown): ContextOrigin | undefined {
  return typeof context === 'object' && context !== null ? origins.get(context) : undefined
}

/**
 * From now on remembers what each context is made from (grpc and mysql2 hand over contexts of their own).
 * One whose native half is touched afterwards (`context.addCACert(...)`) is forgotten. Where the program has
 * put a function of its own in the place of Node's, nothing is known of what it makes.
 */
export function watchSecureContexts(readDefaults: () => TlsDefaults): void {
  const module = require('node:tls') as { createSecureContext: typeof tls.createSecureContext }
  const original = module.createSecureContext
  if (!isNodesOwn('createSecureContext', original)) return
  const wrapper = function createSecureContext(this: unknown, ...args: Parameters<typeof original>) {
    const context = original.apply(this as never, args)
    try {
      remember(context, args[0], readDefaults())
    } catch {}
    return context
  }
  vouchFor(wrapper)
  module.createSecureContext = wrapper
}

const nativeToContext = new WeakMap<object, object>()
let watching = false

function remember(
  context: tls.SecureContext,
  options: tls.SecureContextOptions | undefined,
  defaults: TlsDefaults,
): void {
  // Node reads each by its name, inherited ones and getters too, which a spread would not see.
  const read = Object.fromEntries(CONTEXT_OPTIONS.map((name) => [name, (options as ConnectOptions)?.[name]]))
  origins.set(context, { options: noteOptions(read), defaults })
  nativeToContext.set(context.context, context)
  if (!watching) watchNativeMethods(Object.getPrototypeOf(context.context))
  watching = true
}

/** Everything that changes a context goes through a method of its native half; Node has no event for it. */
function watchNativeMethods(prototype: Record<string, unknown>): void {
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const { value: method, writable } = Object.getOwnPropertyDescriptor(prototype, name)!
    if (name === 'constructor' || typeof method !== 'function' || !writable || /^(get|close$)/.test(name))
      continue
    prototype[name] = function (this: object, ...args: unknown[]) {
      const context = nativeToContext.get(this)
      if (context) origins.delete(context)
      return method.apply(this, args)
    }
  }
}
