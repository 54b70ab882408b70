// THE PAGE OF ADMISSION. A connection is attended only where everything that decides its trust is of a kind listed here.
// All else is left alone, each for a reason of its own: nothing is offered, nothing is kept, and the connection is as
// without ticketkeep. To be read beside Node's `tls.connect` and `onConnectSecure` (lib/internal/tls/wrap.js, before
// Node 26 lib/_tls_wrap.js), `createSecureContext` (lib/internal/tls/common.js, lib/_tls_common.js) and
// `configSecureContext` (lib/internal/tls/secure-context.js).
//
// What decides trust, and where it is dealt with:
//
//   the process    flags, variables, OpenSSL's configuration    `process-admission.ts`, once a process
//   Node           its functions, known by their whole text     `node-functions.ts`, at each call
//   the call       the options, listed below                    here, at each call
//   the handshake  was it verified, by which chain, until when  `verified-handshake.ts`, once it is done
//
// Of an admitted call one thing is changed before it is made: which of the groups that it allows have a key share, and with
// OpenSSL 3.0 their order (`key-exchange-groups.ts`). The binding has what the call and the process say of groups.

import { hash } from 'node:crypto'
import { asBuffer } from '../common/bytes.ts'
import { canonical } from '../common/canonical.ts'
import { allowsHost, type HostRules } from '../host-rules.ts'
import { MAX_AGE } from '../ticket-entry.ts'
import { type Call, type CheckServerIdentity, COMPUTED, type Options, type TlsState } from './call.ts'
import { type ClientCertificate, describeClientCertificate } from './client-certificate.ts'
import { whyNoSessionIsWanted } from './opt-outs.ts'
import { defaultRoots, isOfficialBuild, rootsOf, type TrustedRoots } from './trusted-roots.ts'

/** The trust of one connection. */
export interface Admission {
  /** Whom Node verifies the server to be: `servername`, else `host` (`getSessionServerIdentity` in Node). */
  readonly name: string
  /** Digest of all that decides trust. A session is offered where it was made under the same binding, and nowhere else. */
  readonly binding: string
  readonly trusted: TrustedRoots
  /** `allowPartialTrustChain`. */
  readonly partial: boolean
  /** When the client's certificate ends: UNIX seconds. Undefined where the connection has none. */
  readonly clientCertificateEnds: number | undefined
  /** How long after a full handshake a session may be offered: seconds. */
  readonly maxAge: number
  readonly identityCheck: CheckServerIdentity
}

/** Why a connection is left alone, in words. */
export interface LeftAlone {
  readonly leftAlone: string
}

/** What an administrator or a user has set. */
export interface AdmissionSettings {
  /** `TICKETKEEP_CLIENT_CERT`, and the policy of the machine. */
  readonly clientCertificates: boolean
  /** By the policy. Default: every host. */
  readonly hosts?: HostRules
  /** How long after a full handshake a session may be offered: seconds. Default: 24 hours. */
  readonly maxAge?: number
}

// `test/tls/admission.test.ts` holds these three lists against the names that the sources of Node 20 to 26 read.

/** Options that nothing can be bound to. Where one of them is given, the connection is left alone. */
export const REFUSED = [
  'crl', // a list runs out, and is there to be asked each time
  'requestOCSP', // a listener decides, on what the server sends in a full handshake only
  'pskCallback', // the server has no certificate then
  'sessionIdContext', // OpenSSL refuses a session of another context
  'ticketKeys', // for servers
  'clientCertEngine', // native code that decides
  'privateKeyEngine', // likewise
  'privateKeyIdentifier', // likewise
]

/** Options that decide nothing about a server's identity. */
export const WITHOUT_EFFECT = [
  'singleUse', // when the context is freed
  'sessionTimeout', // how long a session lives: read from the session itself
  'honorCipherOrder', // for servers
  'dhparam', // for servers
  'certificateCompression', // how the chain is sent
  'lookup', // where the connection goes, not whom it must find there
  'socket', // likewise
  'port', // part of the peer under which a session is stored
  'session', // one that the program passes stays in its place; null may say that none is wanted (`opt-outs.ts`)
  'maxCachedSessions', // of the agents of `https`: says whether a session is wanted (likewise)
]

/** Options whose effective values `linesOf` puts into the binding, or which `admit` looks at itself. */
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

/** Looks at one call of `tls.connect`. */
export function admit(call: Call, settings: AdmissionSettings): Admission | LeftAlone {
  const { options, state } = call
  if (state.replaced) return no(`tls ${state.replaced} is not Node's own`)
  const optOut = whyNoSessionIsWanted(call)
  if (optOut) return no(optOut)
  // Without both, Node verifies the server as `socket._host` or `localhost`, which says nothing of where it went.
  const name = given(options.servername) ?? given(options.host)
  if (typeof name !== 'string')
    return no('the call names no server: over a socket without host and servername Node verifies localhost')
  // Both: one says whom Node verifies, the other where it goes.
  const { hosts = {} } = settings
  if (![name, given(options.host) ?? name].every((host) => allowsHost(hosts, String(host))))
    return no('the policy of this machine leaves this host alone')
  // `tls.connect` puts its default in where the option is absent; one that is given as undefined verifies
  // (got's does), whatever NODE_TLS_REJECT_UNAUTHORIZED says.
  if (![true, undefined].includes(options.rejectUnauthorized as boolean | undefined))
    return no('certificate verification is disabled')
  if (!call.identityCheck) return no('the program checks the identity itself (checkServerIdentity)')
  if (options.secureContext && !call.context)
    return no('the secureContext was made before ticketkeep could see it')
  if (call.context && !call.context.isIntact()) return no('the secureContext was changed after it was made')

  // What the context was made from: of a context of its own, the call's own options.
  const made = call.context ?? { options, state }
  const refused = REFUSED.find((option) => isGiven(options[option]) || isGiven(made.options[option]))
  if (refused) return no(`the option ${refused} is set`)
  const trusted = trustedBy(made.options, made.state)
  if ('leftAlone' in trusted) return trusted
  const client = clientCertificate(made.options, settings)
  if (client && 'leftAlone' in client) return client
  const binding = bindingOf(linesOf(name, options, made.options, made.state, trusted, client?.description))
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
  call: Options,
  context: Options,
  state: TlsState,
  trusted: TrustedRoots,
  client: string | undefined,
): Line[] => [
  ['name', name],
  ['server name indication', given(call.servername)],
  ['trusted certificates', trusted.digest],
  ['a partial chain is enough', Boolean(context.allowPartialTrustChain)],
  // With what OpenSSL was compiled, its security level for one, only the build of Node tells.
  ['Node and its OpenSSL', process.version, isOfficialBuild() ? 'official' : process.execPath],
  ['FIPS mode', state.fips],
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

/** The digest of all lines; undefined where one of them cannot be spelled. */
function bindingOf(lines: readonly Line[]): string | undefined {
  if (last && areSame(lines, last.lines)) return last.binding
  if (!lines.every(isPlain)) return undefined
  const binding = hash('sha256', canonical(lines.map(spell)), 'base64url')
  last = { lines, binding }
  return binding
}

/** A burst of connections to one server has the same lines, value by value. */
let last: { readonly lines: readonly Line[]; readonly binding: string } | undefined

/** By loops: in a short process each call of a function counts. */
function areSame(some: readonly Line[], others: readonly Line[]): boolean {
  if (some.length !== others.length) return false
  for (let i = 0; i < some.length; i++) {
    const [line, other] = [some[i]!, others[i]!]
    if (line.length !== other.length) return false
    for (let n = 0; n < line.length; n++) if (line[n] !== other[n]) return false
  }
  return true
}

/** Of what a binding may consist: what is spelled in one way only. */
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
      : no('what NODE_EXTRA_CA_CERTS names may have changed since the process started')
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
    no('client certificate of another kind than one certificate with its one key')
  )
}

/** A list of names, or bytes in the form of RFC 7301. */
function protocolsOf(value: unknown): unknown {
  if (!isGiven(value)) return undefined
  if (value instanceof Uint8Array) return asBuffer(value).toString('hex')
  const isList = Array.isArray(value) && value.every((one) => typeof one === 'string')
  return isList ? canonical(value) : COMPUTED
}

const isText = (value: unknown): value is string | Uint8Array =>
  typeof value === 'string' || value instanceof Uint8Array

/** Node takes null, undefined, false and the empty string for "not given". */
const given = (value: unknown) => (isGiven(value) ? value : undefined)
const isGiven = (value: unknown) => value !== undefined && value !== null && value !== '' && value !== false

const no = (leftAlone: string): LeftAlone => ({ leftAlone })
