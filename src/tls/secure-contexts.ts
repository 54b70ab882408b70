import type tls from 'node:tls'
import {
  type CallOptions,
  CONTEXT_OPTIONS,
  type ContextOrigin,
  noteOptions,
  type Options,
  type TlsState,
} from './call.ts'
import { vouchFor } from './node-functions.ts'

/**
 * Remembers what each secure context is made from, since grpc and mysql2 pass contexts of their own to `tls.connect`.
 * Contexts that were made before are of unknown origin.
 */
export class SecureContexts {
  readonly #origins = new WeakMap<object, ContextOrigin>()
  readonly #calls = new WeakMap<object, CallOptions>()
  readonly #withGroups = new WeakSet<object>()
  readonly #onChange: (context: tls.SecureContext, changed: () => void) => void

  /** @param onChange calls back when anything is added to a context after this call */
  constructor(onChange: (context: tls.SecureContext, changed: () => void) => void) {
    this.#onChange = onChange
  }

  /** What a context was made from; undefined where that is not known. */
  originOf(context: unknown): ContextOrigin | undefined {
    return typeof context === 'object' && context !== null ? this.#origins.get(context) : undefined
  }

  /**
   * What a call of `tls.connect` was given, noted before any code of the program could run, a `lookup` for one. Undefined
   * where it was not noted: the call was given a context.
   *
   * @param options Node's own copy
   */
  callOf(options: object): CallOptions | undefined {
    return this.#calls.get(options)
  }

  /** Whether the context of this call was made with groups of ours. @param options Node's own copy */
  hasGroups(options: object): boolean {
    return this.#withGroups.has(options)
  }

  /**
   * Whether the context of a call is one that the program passed, or was made from its options. It is not where a wrapper has
   * stood in between for this call.
   *
   * @param options Node's own copy
   */
  hasSeen(options: Options): boolean {
    return Boolean(options.secureContext) || this.#calls.has(options)
  }

  /** Notes what a call of `tls.connect` was given, from within that call. */
  noteCall(given: Options, readState: (withRoots: boolean) => TlsState): void {
    const options = noteOptions(given)
    this.#calls.set(given, { options, state: readState(!options.ca && !options.secureContext) })
  }

  /**
   * Wraps `tls.createSecureContext`, a public function that every connection goes through.
   *
   * @param readState what `node:tls` says now, the default CAs among it where `withRoots`
   * @param groupsFor the `ecdhCurve` for a call of `tls.connect`, in the place of Node's default; undefined: as it is
   */
  watch(
    module: typeof tls,
    readState: (withRoots: boolean) => TlsState,
    groupsFor: (given: Options) => string | undefined = () => undefined,
  ): void {
    const original = module.createSecureContext
    const note = (context: tls.SecureContext, options: Options) => this.#note(context, options, readState)
    const withGroups = (options: tls.SecureContextOptions | undefined) => {
      try {
        if (!options || !isOfConnect(options as Options)) return options
        const ecdhCurve = groupsFor(options as Options)
        if (ecdhCurve === undefined) return options
        this.#withGroups.add(options)
        return { ...options, ecdhCurve }
      } catch {
        return options
      }
    }
    // Of the same name, which a function of its own would lose in a bundle. Not a method: programs call it by `new`, too.
    const { createSecureContext } = {
      createSecureContext: function (this: unknown, options?: tls.SecureContextOptions) {
        const context = original.call(this as never, withGroups(options))
        try {
          note(context, (options ?? {}) as Options)
        } catch {}
        return context
      },
    }
    vouchFor('createSecureContext', createSecureContext)
    ;(module as { createSecureContext: unknown }).createSecureContext = createSecureContext
  }

  #note(context: tls.SecureContext, given: Options, readState: (withRoots: boolean) => TlsState): void {
    if (isOfConnect(given)) {
      this.noteCall(given, readState)
      return
    }
    if (isComputed(given)) return
    const options = noteOptions(given, CONTEXT_OPTIONS)
    const state = readState(!options.ca)
    const native: unknown = context.context
    let changed = false
    this.#onChange(context, () => {
      changed = true
    })
    // The native half is a plain property: another one may have been put there.
    const isIntact = () => !changed && context.context === native
    this.#origins.set(context, { options, state, isIntact })
  }
}

/**
 * Whether `tls.connect` makes the context, for that connection alone. It passes its own copy of the options, which begins with
 * its defaults in this order. A program that makes a context may set a `minDHSize` as well, and `{ ...options }` of it.
 */
const isOfConnect = (given: Options) =>
  Object.keys(given).slice(0, DEFAULTS_OF_CONNECT.length).join() === DEFAULTS_OF_CONNECT.join()

const DEFAULTS_OF_CONNECT = ['rejectUnauthorized', 'ciphers', 'checkServerIdentity', 'minDHSize']

/** Whether options may have said something else to Node, which has read them before us. */
function isComputed(options: Options): boolean {
  const { isProxy } = process.getBuiltinModule('node:util').types
  for (let at: object | null = options; at; at = Object.getPrototypeOf(at) as object | null) {
    if (isProxy(at)) return true
    for (const name of CONTEXT_OPTIONS) if (Object.getOwnPropertyDescriptor(at, name)?.get) return true
  }
  return false
}
