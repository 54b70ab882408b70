import { hash } from 'node:crypto'
import { type ConnectOptions, isNodesOwn, type TlsDefaults } from './node-tls.ts'
import { contextOrigin } from './secure-contexts.ts'

/** What a connection is to be held to, beyond its own options. */
export interface Surroundings {
  /**
   * The default CA set in a word (`describeDefaultCa`), as it was in this generation (`TlsDefaults`); undefined:
   * unreadable, or replaced since.
   */
  readonly defaultCa: (generation: number) => string | undefined
  /** OpenSSL's set-up in a word (`describeOpenssl`); undefined: unreadable. */
  readonly openssl: string | undefined
  /** The security level where nothing sets one; 2 where that is not known. */
  readonly securityLevel: 1 | 2
  /** `TICKETKEEP_CLIENT_CERT`: sessions that a client certificate made may be kept. */
  readonly clientCertificates: boolean
}

/**
 * The trust of one connection: a digest of everything that decided it. A stored session may be offered
 * where its binding is the connection's own, and nowhere else.
 */
export interface Binding {
  /** The name that the server's certificate has to bear. */
  readonly name: string
  /** What a session is stored under if its handshake would pass at security level 2 as well. */
  readonly strong: string
  /** What it is stored under otherwise; undefined where level 2 is in force and no such handshake passes. */
  readonly weak: string | undefined
}

/** Why a connection is left alone: no offer, no harvest. Words for `NODE_DEBUG` and for diagnostics. */
export type LeftAlone = { readonly leftAlone: string }

/** Options whose mere presence puts a connection beyond what a binding can express. */
const UNREADABLE = [
  // A list runs out (its nextUpdate), and its point is to be asked every time.
  'crl',
  'requestOCSP',
  'pskCallback',
  'sessionIdContext',
  'clientCertEngine',
  'privateKeyEngine',
  'privateKeyIdentifier',
  'ticketKeys',
] as const

const CLIENT_CERTIFICATE = ['cert', 'key', 'pfx'] as const

const SECURITY_LEVEL = '@SECLEVEL='

/** @param options Node's own copy of what `tls.connect` was called with */
export function bindingOf(
  options: ConnectOptions,
  defaults: TlsDefaults,
  surroundings: Surroundings,
): Binding | LeftAlone {
  const name = given(options.servername) ?? given(options.host)
  if (typeof name !== 'string') return { leftAlone: 'no readable host' }
  if (options.rejectUnauthorized !== true) return { leftAlone: 'not verified' }
  if (!isNodesOwn('checkServerIdentity', options.checkServerIdentity)) {
    return { leftAlone: 'custom checkServerIdentity' }
  }
  if (!isNodesOwn('createSecureContext', defaults.createSecureContext)) {
    return { leftAlone: 'createSecureContext replaced' }
  }
  const context = options.secureContext ? contextOrigin(options.secureContext) : { options, defaults }
  if (!context) return { leftAlone: 'secureContext of unknown origin' }
  const made = context.options
  for (const option of UNREADABLE) {
    if (given(options[option]) !== undefined || given(made[option]) !== undefined) {
      return { leftAlone: option }
    }
  }
  const withCertificate = CLIENT_CERTIFICATE.some((option) => given(made[option]) !== undefined)
  if (withCertificate && !surroundings.clientCertificates) return { leftAlone: 'client certificate' }
  const ca = made.ca
    ? `given ${contentDigest(made.ca)}`
    : surroundings.defaultCa(context.defaults.caGeneration as number)
  if (ca === undefined) return { leftAlone: 'default CA store not readable' }
  if (surroundings.openssl === undefined)
    return { leftAlone: 'worker thread, or OpenSSL configuration not readable' }

  const ciphers = String(made.ciphers || context.defaults.ciphers)
  const lines = [
    ['name', name],
    ['server name indication', given(options.servername)],
    ['trusted', ca],
    ['partial chain', Boolean(made.allowPartialTrustChain)],
    ['from version', made.minVersion ?? context.defaults.minVersion],
    ['to version', made.maxVersion ?? context.defaults.maxVersion],
    ['method', given(made.secureProtocol)],
    ['ciphers', ciphers],
    ['signatures', given(made.sigalgs)],
    ['groups', made.ecdhCurve ?? context.defaults.ecdhCurve],
    ['smallest DH group', options.minDHSize],
    ['OpenSSL options', made.secureOptions || 0],
    ['OpenSSL', surroundings.openssl, defaults.fips],
    ['ALPN', given(options.ALPNProtocols) && contentDigest(options.ALPNProtocols)],
    // That the key fits the certificate Node has seen to.
    ['client certificate', given(made.cert) && contentDigest(made.cert), Boolean(made.key)],
    ['client certificate in PKCS #12', given(made.pfx) && contentDigest(made.pfx)],
  ]
  const at = ciphers.indexOf(SECURITY_LEVEL)
  const level = at < 0 ? surroundings.securityLevel : Number(ciphers[at + SECURITY_LEVEL.length])
  const digest = (chain: string) => hash('sha256', JSON.stringify([chain, lines]), 'base64url')
  return { name, strong: digest('strong'), weak: level >= 2 ? undefined : digest('weak') }
}

/** Node takes null, undefined and the empty string for "not given". */
const given = (value: unknown) => (value === null || value === '' || value === false ? undefined : value)

/**
 * A digest of the bytes in an option, whatever its shape: a string, a buffer, an array of them, an array of
 * objects `{buf, passphrase}`. Strings of a bundle are hashed once a process.
 */
function contentDigest(value: unknown): string {
  if (typeof value === 'string') {
    let known = digests.get(value)
    if (known === undefined) {
      known = hash('sha256', value, 'base64url')
      if (value.length > 512 && digests.size < 1024) digests.set(value, known)
    }
    return known
  }
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value
    return hash('sha256', new Uint8Array(buffer, byteOffset, byteLength), 'base64url')
  }
  if (Array.isArray(value)) {
    const [only, ...others] = value
    return others.length === 0 ? contentDigest(only) : contentDigest(value.map(contentDigest).join(' '))
  }
  if (typeof value === 'object' && value !== null) {
    return contentDigest(
      Object.entries(value)
        .map(([key, inner]) => `${key} ${contentDigest(inner)}`)
        .sort(),
    )
  }
  return contentDigest(String(value))
}

const digests = new Map<string, string>()
