// Whether a process still has the default CAs of its start. No module of Node's is loaded here: the preload uses this
// file before any TLS connection is made.

type Properties = Record<PropertyKey, unknown>

/** The calls of `tls.setDefaultCACertificates`. */
export interface CaCalls {
  /** Undefined: `node:tls` was loaded without our seeing it, and so may calls have been. */
  count: number | undefined
}

/** The part of the module `tls` that is about default CAs; Nodes before 22.19 and 24.5 have no such functions. */
export interface CaFunctions {
  readonly getCACertificates?: (type: 'default' | 'bundled' | 'extra') => readonly string[]
  readonly setDefaultCACertificates?: unknown
}

/** The Nodes that have the function and whose way of loading `tls` has been looked at: the first of each line. */
const LOOKED_AT: Readonly<Record<number, number>> = { 22: 19, 24: 5, 26: 0 }

/**
 * Counts the calls of `tls.setDefaultCACertificates`, those too that are made by a reference which the program has
 * taken before its first connection (`import { setDefaultCACertificates } from 'node:tls'`). For that the function
 * must be wrapped before the program sees it, and to load `tls` for it would cost every process milliseconds.
 *
 * While Node loads `tls` it asks for `EventEmitter.captureRejectionSymbol`, which everyone can see, and then puts the
 * function into the module. No code but Node's own runs in between, nor sees what waits there.
 */
export function watchDefaultCa(eventEmitter: object): CaCalls {
  const calls: CaCalls = { count: undefined }
  // The line by its two digits: every process pays for this, and those of Node 20 for no more.
  if (!(process.version.slice(1, 3) in LOOKED_AT)) return calls
  const events = eventEmitter as Properties
  const symbol = events.captureRejectionSymbol
  const settle = (value: unknown) => define(events, 'captureRejectionSymbol', value)
  // All the rest is for those who ask.
  Object.defineProperty(events, 'captureRejectionSymbol', {
    configurable: true,
    enumerable: true,
    get() {
      try {
        if (isTlsLoading()) {
          settle(symbol)
          if (isLookedAt()) awaitFunction(calls)
        }
      } catch {}
      return symbol
    },
    set: settle,
  })
  return calls
}

function isTlsLoading(): boolean {
  const { moduleLoadList: loaded } = process as unknown as { moduleLoadList: string[] }
  // Of what `tls` loads that is the last before it asks.
  return loaded.includes('NativeModule internal/js_stream_socket') && !loaded.includes('NativeModule tls')
}

function isLookedAt(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return minor >= LOOKED_AT[major]!
}

const NAME = 'setDefaultCACertificates'

function awaitFunction(calls: CaCalls): void {
  const objects = Object.prototype as unknown as Properties
  const giveUp = () => Reflect.deleteProperty(objects, NAME)
  Object.defineProperty(objects, NAME, {
    configurable: true,
    set(original: (certificates: unknown) => void) {
      giveUp()
      calls.count = 0
      // Of the same name, which a function of its own would lose in a minified bundle.
      const { [NAME]: counted } = {
        [NAME]: function (this: unknown, certificates: unknown) {
          calls.count!++
          return original.call(this, certificates)
        },
      }
      define(this, NAME, counted)
    },
  })
  process.nextTick(giveUp)
}

const define = (object: object, name: string, value: unknown) =>
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })

/**
 * What changes whenever the default CAs do: 0 as long as they are Node's own for certain. Where not all calls are
 * counted, by the list that Node makes of them, which is another one after each call; to make it costs half a
 * millisecond.
 */
export function caGenerations(tls: CaFunctions, calls: CaCalls): () => number {
  const { getCACertificates, setDefaultCACertificates } = tls
  if (calls.count !== undefined) return () => calls.count!
  if (!getCACertificates || !setDefaultCACertificates) return () => 0
  let last: readonly string[] | undefined
  let generation = 0
  return () => {
    const list = getCACertificates('default')
    if (list !== last) generation++
    last = list
    return generation
  }
}
