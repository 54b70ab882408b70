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
 * Remembers what each secure context is made from, because grpc and mysql2 pass contexts of their own to `tls.connect`.
 * Contexts made before `watch` was called have an unknown origin.
 */
export class SecureContexts {
  readonly #origins = new WeakMap<object, ContextOrigin>()
  readonly #calls = new WeakMap<object, CallOptions>()
  readonly #withGroups = new WeakSet<object>()
  readonly #onChange: (context: tls.SecureContext, changed: () => void) => void

  /** @param onChange watches a context, and calls back when anything is added to it later */
  constructor(onChange: (context: tls.SecureContext, changed: () => void) => void) {
    this.#onChange = onChange
  }

  /** What a context was made from. Undefined if that is not known. */
  originOf(context: unknown): ContextOrigin | undefined {
    return typeof context === 'object' && context !== null ? this.#origins.get(context) : undefined
  }

  /**
   * The arguments of a call of `tls.connect`, recorded before any code of the program, such as a `lookup`, could run.
   * Undefined if the call was given a context, since then nothing was recorded.
   *
   * @param options Node's own copy
   */
  callOf(options: object): CallOptions | undefined {
    return this.#calls.get(options)
  }

  /** Whether the context of this call was made with groups that we chose. @param options Node's own copy */
  hasGroups(options: object): boolean {
    return this.#withGroups.has(options)
  }

  /**
   * Whether the context of a call was passed by the program, or made from the call's own options while we watched. It
   * was not if a wrapper replaced `createSecureContext` for the time of this call.
   *
   * @param options Node's own copy
   */
  hasSeen(options: Options): boolean {
    return Boolean(options.secureContext) || this.#calls.has(options)
  }

  /** Records the arguments of a call of `tls.connect`, from within that call. */
  noteCall(given: Options, readState: (withRoots: boolean) => TlsState): void {
    const options = noteOptions(given)
    this.#calls.set(given, { options, state: readState(!options.ca && !options.secureContext) })
  }

  /**
   * Wraps `tls.createSecureContext`, a public function that every connection goes through.
   *
   * @param readState reads the current state of `node:tls`, including the default CAs if `withRoots`
   * @param groupsFor the `ecdhCurve` to use instead of Node's default in a call of `tls.connect`; undefined keeps the
   *   default
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
    // Declared as a property so that the function keeps its name, which a bundler may otherwise change. Not a method,
    // because programs also call it with `new`.
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
    // The native context is a plain property, which the program may have replaced.
    const isIntact = () => !changed && context.context === native
    this.#origins.set(context, { options, state, isIntact })
  }
}

/**
 * Whether `tls.connect` makes the context, for that connection alone. It passes its own copy of the options, which begins with
 * its defaults in this order. A program that makes a context may set `minDHSize` too.
 */
const isOfConnect = (given: Options) =>
  Object.keys(given).slice(0, DEFAULTS_OF_CONNECT.length).join() === DEFAULTS_OF_CONNECT.join()

const DEFAULTS_OF_CONNECT = ['rejectUnauthorized', 'ciphers', 'checkServerIdentity', 'minDHSize']

/** Whether the options may have had other values when Node read them, before us. */
function isComputed(options: Options): boolean {
  const { isProxy } = process.getBuiltinModule('node:util').types
  for (let at: object | null = options; at; at = Object.getPrototypeOf(at) as object | null) {
    if (isProxy(at)) return true
    for (const name of CONTEXT_OPTIONS) if (Object.getOwnPropertyDescriptor(at, name)?.get) return true
  }
  return false
}
