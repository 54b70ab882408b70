// THE PAGE OF ADMISSION. A connection is attended only if everything that decides its trust is listed here. Every other
// connection is left alone, and the reason is reported: no session is offered, none is kept, and the connection behaves
// as it would without ticketkeep. Read this file next to Node's `tls.connect` and `onConnectSecure`
// (lib/internal/tls/wrap.js, before Node 26 lib/_tls_wrap.js), `createSecureContext` (lib/internal/tls/common.js,
// lib/_tls_common.js) and `configSecureContext` (lib/internal/tls/secure-context.js).
//
// What decides trust, and which file checks it:
//
//   the process    flags, variables, OpenSSL's configuration    `process-admission.ts`, once per process
//   Node           its functions, known by their full text      `node-functions.ts`, at each call
//   the call       the options, listed below                    here, at each call
//   the handshake  was it verified, by which chain, until when  `verified-handshake.ts`, after it completes
//
// One thing in an admitted call may be changed before it is made: which of its allowed key exchange groups get a key
// share and, with OpenSSL 3.0, the order of the groups (`key-exchange-groups.ts`). The binding contains the groups that
// the call and the process specify.

import { hash } from 'node:crypto'
import { asBuffer } from '../common/bytes.ts'
import { canonical } from '../common/canonical.ts'
import { allowsHost, type HostRules } from '../host-rules.ts'
import { MAX_AGE } from '../ticket-entry.ts'
import {
  type Call,
  type CallOptions,
  type CheckServerIdentity,
  COMPUTED,
  type Options,
  type TlsState,
} from './call.ts'
import { type ClientCertificate, describeClientCertificate } from './client-certificate.ts'
import { whyNoSessionIsWanted } from './opt-outs.ts'
import { defaultRoots, isOfficialBuild, rootsOf, type TrustedRoots } from './trusted-roots.ts'

/** The trust of one connection. */
export interface Admission {
  /** The name that Node verifies the server against: `servername`, else `host` (`getSessionServerIdentity` in Node). */
  readonly name: string
  /** Digest of everything that decides trust. A session is offered only under the binding that it was made under. */
  readonly binding: string
  readonly trusted: TrustedRoots
  /** `allowPartialTrustChain`. */
  readonly partial: boolean
  /** When the client certificate expires: UNIX seconds. Undefined if there is none. */
  readonly clientCertificateEnds: number | undefined
  /** How long after a full handshake a session may be offered: seconds. */
  readonly maxAge: number
  readonly identityCheck: CheckServerIdentity
}

/** Why a connection is left alone, as a phrase for people. */
export interface LeftAlone {
  readonly leftAlone: string
}

/** What an administrator or a user has set. */
export interface AdmissionSettings {
  /** `TICKETKEEP_CLIENT_CERT`, and the policy of the machine. */
  readonly clientCertificates: boolean
  /** The hosts that the policy allows. Default: every host. */
  readonly hosts?: HostRules
  /** How long after a full handshake a session may be offered: seconds. Default: 24 hours. */
  readonly maxAge?: number
}

// `test/tls/admission.test.ts` compares these three lists with the option names that the sources of Node 20 to 26 read.

/** Options that a binding cannot represent. If one of them is set, the connection is left alone. */
export const REFUSED = [
  'crl', // a revocation list expires, and must be checked at every connection
  'requestOCSP', // a listener decides, from data that the server sends only in a full handshake
  'pskCallback', // the server then has no certificate
  'sessionIdContext', // OpenSSL refuses a session with another session ID context
  'ticketKeys', // for servers
  'clientCertEngine', // native code decides
  'privateKeyEngine', // likewise
  'privateKeyIdentifier', // likewise
]

/** Options that do not affect the check of the server's identity. */
export const WITHOUT_EFFECT = [
  'singleUse', // decides when the context is freed
  'sessionTimeout', // how long a session lives, which is read from the session itself
  'honorCipherOrder', // for servers
  'dhparam', // for servers
  'certificateCompression', // how the chain is encoded
  'lookup', // decides where the connection goes, not who must answer there
  'socket', // likewise
  'port', // part of the peer that a session is stored under
  'session', // the program's own session is used as it is; null may mean that none is wanted (`opt-outs.ts`)
  'maxCachedSessions', // set by `https` agents: says whether a session is wanted (likewise)
]

/** Options whose effective values `linesOf` puts into the binding, or which `admit` checks itself. */
export const BOUND = [
  ...[
    'host',
    'servername',
    'rejectUnauthorized',
    'checkServerIdentity',
    'secureContext',
    'minDHSize',
    'ALPNProtocols',
  ],
  ...['ca', 'allowPartialTrustChain', 'cert', 'key', 'passphrase', 'pfx', 'ciphers', 'sigalgs', 'ecdhCurve'],
  ...['minVersion', 'maxVersion', 'secureProtocol', 'secureOptions'],
]

/** Decides whether one call of `tls.connect` is attended. */
export function admit(call: Call, settings: AdmissionSettings): Admission | LeftAlone {
  const { options, state } = call
  if (state.replaced) return no(`tls ${state.replaced} is not Node's own`)
  const optOut = whyNoSessionIsWanted(call)
  if (optOut) return no(optOut)
  // With neither option, Node verifies the server as `socket._host` or `localhost`, whatever server the socket reached.
  const name = given(options.servername) ?? given(options.host)
  if (typeof name !== 'string')
    return no('the call names no server: over a socket without host and servername Node verifies localhost')
  // Check both: one is the name that Node verifies, the other is where the connection goes.
  const { hosts = {} } = settings
  if (![name, given(options.host) ?? name].every((host) => allowsHost(hosts, String(host))))
    return no('the policy of this machine leaves this host alone')
  // If the option is absent, `tls.connect` sets it from NODE_TLS_REJECT_UNAUTHORIZED. If it is present but undefined,
  // as got passes it, Node verifies the certificate whatever that variable says.
  if (![true, undefined].includes(options.rejectUnauthorized as boolean | undefined))
    return no('certificate verification is disabled')
  if (!call.identityCheck) return no('the program checks the identity itself (checkServerIdentity)')
  if (options.secureContext && !call.context)
    return no('the secureContext was made before ticketkeep could see it')
  if (call.context && !call.context.isIntact()) return no('the secureContext was changed after it was made')

  // What the context was made from. If the call passes no context, Node makes one from the call's own options.
  const made = call.context ?? { options, state }
  const refused = REFUSED.find((option) => isGiven(options[option]) || isGiven(made.options[option]))
  if (refused) return no(`the option ${refused} is set`)
  const trusted = trustedBy(made.options, made.state)
  if ('leftAlone' in trusted) return trusted
  const client = clientCertificate(made.options, settings)
  if (client && 'leftAlone' in client) return client
  const lines = linesOf(name, call, made, trusted, client?.description)
  const binding = bindingOf(lines)
  if (binding === undefined) return no('an option is not plain text or bytes')
  return {
    name,
    binding,
    trusted,
    partial: Boolean(made.options.allowPartialTrustChain),
    clientCertificateEnds: client?.notAfter,
    maxAge: settings.maxAge ?? MAX_AGE,
    identityCheck: call.identityCheck,
  }
}

type Line = readonly [what: string, ...values: unknown[]]

/** The binding, line by line: the effective value of everything that decides whether a full handshake is accepted. */
const linesOf = (
  name: string,
  { options: call, state: atCall }: CallOptions,
  { options: context, state }: CallOptions,
  trusted: TrustedRoots,
  client: string | undefined,
): Line[] => [
  ['name', name],
  ['server name indication', given(call.servername)],
  ['trusted certificates', trusted.digest],
  ['a partial chain is enough', Boolean(context.allowPartialTrustChain)],
  // OpenSSL's compile-time settings, such as its security level, can be told only from the build of Node.
  ['Node and its OpenSSL', process.version, isOfficialBuild() ? 'official' : process.execPath],
  ['FIPS mode', state.fips, atCall.fips],
  ['lowest version', context.minVersion ?? state.minVersion],
  ['highest version', context.maxVersion ?? state.maxVersion],
  ['method', given(context.secureProtocol)],
  ['ciphers and security level', context.ciphers || state.ciphers],
  ['signature algorithms', given(context.sigalgs)],
  ['groups', context.ecdhCurve ?? state.ecdhCurve],
  ['smallest Diffie-Hellman group', call.minDHSize],
  ['options of OpenSSL', context.secureOptions],
  ['ALPN', protocolsOf(call.ALPNProtocols)],
  ['client certificate', client],
]

/** The digest of all lines. Undefined if a line contains a value that `isPlain` rejects. */
function bindingOf(lines: readonly Line[]): string | undefined {
  if (last && areSame(lines, last.lines)) return last.binding
  if (!lines.every(isPlain)) return undefined
  const binding = hash('sha256', canonical(lines.map(spell)), 'base64url')
  last = { lines, binding }
  return binding
}

/** The last result. A burst of connections to one server produces identical lines. */
let last: { readonly lines: readonly Line[]; readonly binding: string } | undefined

/** Plain loops: in a short-lived process the cost of function calls is noticeable. */
function areSame(some: readonly Line[], others: readonly Line[]): boolean {
  if (some.length !== others.length) return false
  for (let i = 0; i < some.length; i++) {
    const [line, other] = [some[i]!, others[i]!]
    if (line.length !== other.length) return false
    for (let n = 0; n < line.length; n++) if (line[n] !== other[n]) return false
  }
  return true
}

/** Whether all values are primitives, which have exactly one spelling in the binding. */
const isPlain = ([, ...values]: Line) =>
  values.every(
    (value) => value === null || ['undefined', 'string', 'number', 'boolean'].includes(typeof value),
  )

const spell = ([what, ...values]: Line) =>
  canonical([what, ...values.map((value) => `${typeof value} ${value}`)])

function trustedBy({ ca }: Options, state: TlsState): TrustedRoots | LeftAlone {
  if (!ca) {
    return state.defaultRoots
      ? defaultRoots(state.defaultRoots, state.bundledRoots)
      : no('the file of NODE_EXTRA_CA_CERTS may have changed since the process started')
  }
  const all = Array.isArray(ca) ? ca : [ca]
  return all.every(isText) ? rootsOf(all) : no('the option ca is not text or bytes')
}

function clientCertificate(
  made: Options,
  settings: AdmissionSettings,
): ClientCertificate | undefined | LeftAlone {
  if (![made.cert, made.key, made.pfx].some(isGiven)) return undefined
  if (!settings.clientCertificates)
    return no('client certificate (TICKETKEEP_CLIENT_CERT is not set, or the policy does not allow it)')
  return (
    describeClientCertificate(made) ??
    no('client certificate that is not one certificate with one matching key')
  )
}

/** Accepts a list of names, or bytes in the encoding of RFC 7301. */
function protocolsOf(value: unknown): unknown {
  if (!isGiven(value)) return undefined
  if (value instanceof Uint8Array) return asBuffer(value).toString('hex')
  const isList = Array.isArray(value) && value.every((one) => typeof one === 'string')
  return isList ? canonical(value) : COMPUTED
}

const isText = (value: unknown): value is string | Uint8Array =>
  typeof value === 'string' || value instanceof Uint8Array

/** Node treats null, undefined, false and the empty string as "not given". */
const given = (value: unknown) => (isGiven(value) ? value : undefined)
const isGiven = (value: unknown) => value !== undefined && value !== null && value !== '' && value !== false

const no = (leftAlone: string): LeftAlone => ({ leftAlone })
