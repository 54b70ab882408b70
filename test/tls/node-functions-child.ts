import tls from 'node:tls'
import { isNodesOwn, type NodeFunction, vouchFor } from '../../src/tls/node-functions.ts'

// Taken as the preload does, before anything can be patched.
const textOf = Function.prototype.call.bind(Function.prototype.toString) as (f: object) => string

type AnyFunction = (...args: unknown[]) => unknown
const functions = tls as unknown as Record<string, AnyFunction>
const methods = tls.TLSSocket.prototype as unknown as Record<string, AnyFunction>

/** Node's own functions. Not every Node has all of them. */
const OWN: Record<string, AnyFunction | undefined> = {
  checkServerIdentity: functions.checkServerIdentity,
  createSecureContext: functions.createSecureContext,
  getCACertificates: functions.getCACertificates,
  getPeerCertificate: methods.getPeerCertificate,
  isSessionReused: methods.isSessionReused,
}

const isOwn = (name: string, value: unknown) => isNodesOwn(name as NodeFunction, value, textOf)

function attacks(name: string, own: AnyFunction): Record<string, unknown> {
  const text = textOf(own)
  const wrapper = function (this: unknown, ...args: unknown[]) {
    return own.apply(this, args)
  }
  const named = Object.defineProperty((...args: unknown[]) => own(...args), 'name', { value: name })
  const disguised = Object.assign(() => undefined, { toString: () => text })
  class Methods {
    checkServerIdentity() {}
    createSecureContext() {}
    getCACertificates() {}
    getPeerCertificate() {}
    isSessionReused() {}
  }
  const evaluated = (source: string) => {
    try {
      return new Function(`return ${source}`)()
    } catch {
      return undefined
    }
  }
  return {
    'a wrapper': wrapper,
    'a wrapper of the same name': named,
    'a function with a toString of its own': disguised,
    'a bound function': own.bind(undefined),
    'a proxy': new Proxy(own, {}),
    'a method of a class': (Methods.prototype as unknown as Record<string, unknown>)[name],
    'a class': Methods,
    'the same text with an added comment': evaluated(text.replace('{', '{ /* */')),
    'the same text with an added space': evaluated(text.replace('{', '{ ')),
    'the same text, made asynchronous': evaluated(`async ${text}`),
    'an object': { toString: () => text },
    'the text itself': text,
    nothing: undefined,
    null: null,
    'another function of Node':
      own === functions.checkServerIdentity ? methods.getPeerCertificate : functions.checkServerIdentity,
  }
}

const result: Record<string, { own: boolean; mistaken: string[]; again: boolean; vouched: boolean }> = {}

// As tracing libraries do, whose wrappers pretend to be the wrapped function.
const theirs = Function.prototype.toString
const originals = new WeakMap<object, string>()
Function.prototype.toString = function () {
  return originals.get(this) ?? theirs.call(this)
}

for (const [name, own] of Object.entries(OWN)) {
  if (own === undefined) continue
  const others = attacks(name, own)
  for (const other of Object.values(others))
    if (typeof other === 'function') originals.set(other, textOf(own))
  const ours = () => undefined
  vouchFor(name as NodeFunction, ours)
  const isIt = isOwn(name, own)
  result[name] = {
    own: isIt,
    mistaken: Object.keys(others).filter((what) => isOwn(name, others[what])),
    again: isOwn(name, own),
    vouched:
      isOwn(name, ours) &&
      !isOwn(name === 'checkServerIdentity' ? 'createSecureContext' : 'checkServerIdentity', ours),
  }
}
console.log(JSON.stringify(result))
