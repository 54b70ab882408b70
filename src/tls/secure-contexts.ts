import type tls from 'node:tls'
import { types } from 'node:util'
import {
  CONTEXT_OPTIONS,
  type ConnectOptions,
  isNodesOwn,
  noteOptions,
  type TlsDefaults,
  vouchFor,
} from './node-tls.ts'

/** What a secure context was made from. */
export interface ContextOrigin {
  readonly options: ConnectOptions
  readonly defaults: TlsDefaults
}

const origins = new WeakMap<object, ContextOrigin>()

/** What `context` was made from; undefined if we did not see it made, or saw it changed since. */
export function contextOrigin(context: unknown): ContextOrigin | undefined {
  if (typeof context !== 'object' || context === null) return undefined
  // The native half is a plain property: another may have been put there.
  const isWhole = nativeToContext.get((context as tls.SecureContext).context) === context
  return isWhole ? origins.get(context) : undefined
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
  // Of the same name, which a function of its own would lose in a minified bundle.
  const { createSecureContext } = {
    createSecureContext: function (this: unknown, options: Parameters<typeof original>[0]) {
      const context = unwatched(() => original.call(this as never, options))
      try {
        remember(context, options, readDefaults())
      } catch {}
      return context
    },
  }
  vouchFor(createSecureContext)
  module.createSecureContext = createSecureContext
}

/** Whether the options may say something else at each reading: Node has read them before us. */
function isComputed(options: object | null | undefined): boolean {
  for (let at = options; at; at = Object.getPrototypeOf(at) as object | null) {
    if (types.isProxy(at)) return true
    for (const name of CONTEXT_OPTIONS) if (Object.getOwnPropertyDescriptor(at, name)?.get) return true
  }
  return false
}

const nativeToContext = new WeakMap<object, object>()

function remember(
  context: tls.SecureContext,
  options: tls.SecureContextOptions | undefined,
  defaults: TlsDefaults,
): void {
  if (isComputed(options)) return
  origins.set(context, { options: noteOptions((options ?? {}) as ConnectOptions, CONTEXT_OPTIONS), defaults })
  nativeToContext.set(context.context, context)
  if (watched.length === 0) watchNativeMethods(Object.getPrototypeOf(context.context))
}

interface Watched {
  readonly prototype: Record<string, unknown>
  readonly name: string
  readonly method: unknown
  readonly watching: unknown
}

const watched: Watched[] = []

/** Everything that changes a context goes through a method of its native half; Node has no event for it. */
function watchNativeMethods(prototype: Record<string, unknown>): void {
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const { value: method, writable } = Object.getOwnPropertyDescriptor(prototype, name)!
    if (name === 'constructor' || typeof method !== 'function' || !writable || /^(get|close$)/.test(name))
      continue
    // Of the same name.
    const { [name]: watching } = {
      [name]: function (this: object, ...args: unknown[]) {
        const context = nativeToContext.get(this)
        if (context) origins.delete(context)
        return method.apply(this, args)
      },
    }
    prototype[name] = watching
    watched.push({ prototype, name, method, watching })
  }
}

let making = 0

/** A context in the making is nobody's yet, and what goes wrong in it is shown with the code that called. */
function unwatched<T>(make: () => T): T {
  if (making++ === 0) swap('watching', 'method')
  try {
    return make()
  } finally {
    if (--making === 0) swap('method', 'watching')
  }
}

/** Not where the program has put a function of its own there since. */
function swap(from: 'method' | 'watching', to: 'method' | 'watching'): void {
  for (const one of watched) if (one.prototype[one.name] === one[from]) one.prototype[one.name] = one[to]
}
