import tls from 'node:tls'
import { type Admission, admit, type LeftAlone } from '../../src/tls/admission.ts'
import {
  type Call,
  CONTEXT_OPTIONS,
  noteOptions,
  type Options,
  readTlsState,
  type TlsState,
} from '../../src/tls/call.ts'

export const textOf = (f: object): string => Function.prototype.toString.call(f)

export const state = readTlsState(tls, textOf, true, undefined)

/** The options as Node passes them on for `tls.connect({ host, port, servername })`. */
export const ordinary: Options = {
  host: 'a.test',
  port: 443,
  servername: 'a.test',
  rejectUnauthorized: true,
  checkServerIdentity: tls.checkServerIdentity,
  ciphers: tls.DEFAULT_CIPHERS,
  minDHSize: 1024,
  singleUse: true,
}

/** How one call differs from the ordinary one. */
export interface Change {
  readonly options?: Options
  readonly state?: Partial<TlsState>
  /** Options of a secure context that the program has made and passes. */
  readonly context?: Options
  /** What `node:tls` said when that was made; default: the same as at the call. */
  readonly contextState?: Partial<TlsState>
  readonly isIntact?: boolean
  readonly identityCheck?: undefined
  readonly agent?: { readonly maxCachedSessions?: unknown }
  readonly keepsSessions?: boolean
  /** Default: true. */
  readonly clientCertificates?: boolean
}

/** The verdict of `admission.ts` on a call. */
export function look(change: Change = {}): Admission | LeftAlone {
  const called = { ...state, ...change.state }
  const secureContext = change.context && {}
  const call: Call = {
    options: noteOptions({ ...ordinary, ...(secureContext && { secureContext }), ...change.options }),
    state: called,
    context: change.context && {
      options: noteOptions(change.context, CONTEXT_OPTIONS),
      state: { ...called, ...change.contextState },
      isIntact: () => change.isIntact ?? true,
    },
    isUnchanged: () => true,
    isGroupChosen: false,
    beforeHandshake: undefined,
    identityCheck: 'identityCheck' in change ? undefined : tls.checkServerIdentity,
    agent: change.agent && { maxCachedSessions: undefined, ...change.agent },
    keepsSessions: () => change.keepsSessions,
  }
  return admit(call, { clientCertificates: change.clientCertificates ?? true })
}

export const reasonOf = (change: Change): string => (look(change) as LeftAlone).leftAlone

/** @throws where the call is left alone */
export function admitted(change: Change = {}): Admission {
  const admission = look(change)
  if ('leftAlone' in admission) throw new Error(admission.leftAlone)
  return admission
}
