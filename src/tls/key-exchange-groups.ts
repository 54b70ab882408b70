// The group that a server asks for, offered at once. TLS 1.3 saves a round trip by that where the server would ask for it
// by a HelloRetryRequest (RFC 8446, 4.1.4). What the client allows stays the same.
import type { TLSSocket } from 'node:tls'
import type { Call } from './call.ts'

/** Groups that may be offered at once, by OpenSSL's names. Each is as strong as X25519, which Node offers, or stronger. */
export const GROUPS = ['P-256', 'P-384', 'P-521', 'X448'] as const

export type FirstGroup = (typeof GROUPS)[number]

/** By the names that `getEphemeralKeyInfo()` gives them. */
const SHOWN_AS: Readonly<Record<string, FirstGroup>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
  X448: 'X448',
}

/** The group of a handshake that is done, if it is one of ours; undefined for all others, and before TLS 1.3. */
export function groupOf(socket: TLSSocket): FirstGroup | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return undefined
  const { name } = (socket.getEphemeralKeyInfo() ?? {}) as { name?: string }
  return name === undefined ? undefined : SHOWN_AS[name]
}

/**
 * What OpenSSL allows where Node sets no groups (`ecdhCurve` is `auto`), in its order, as it is in the ClientHello, by
 * OpenSSL's version. The tests hold these lists against the ClientHello of each Node. Of a version that is not here
 * nothing is changed.
 */
const DEFAULT_GROUPS: Readonly<Record<string, readonly string[]>> = {
  '3.0': [
    ...['X25519', 'P-256', 'X448', 'P-521', 'P-384'],
    ...['ffdhe2048', 'ffdhe3072', 'ffdhe4096', 'ffdhe6144', 'ffdhe8192'],
  ],
  '3.5': [
    ...['*X25519MLKEM768', '*X25519', 'P-256', 'X448', 'P-384', 'P-521'],
    ...['ffdhe2048', 'ffdhe3072'],
  ],
}

/**
 * The value of `ecdhCurve` with which a ClientHello offers this group at once, and differs in nothing else. With OpenSSL 3.5
 * the list and its order stay, and so do the two key shares of the default (`*`): this group's is added to them. With
 * OpenSSL 3.0 the first group of the list has the only key share, so this group goes to its front.
 *
 * @returns undefined where the groups are to be left as they are: the program or the process has chosen its own
 */
export function groupsWith(
  group: FirstGroup,
  call: Pick<Call, 'options' | 'state'>,
  openssl = process.versions.openssl,
): string | undefined {
  const groups = groupsOfNode(call, openssl)
  if (!groups) return undefined
  const hasMarks = groups.some((one) => one.startsWith('*'))
  const list = hasMarks
    ? groups.map((one) => (one === group ? `*${one}` : one))
    : [group, ...groups.filter((one) => one !== group)]
  return list.join(':')
}

/** The groups that a call allows where neither it nor the process has chosen any; undefined otherwise. */
export function groupsOfNode(
  { options, state }: Pick<Call, 'options' | 'state'>,
  openssl = process.versions.openssl,
): readonly string[] | undefined {
  if (options.secureContext || options.secureProtocol || state.fips) return undefined
  if ((options.ecdhCurve === undefined ? state.ecdhCurve : options.ecdhCurve) !== 'auto') return undefined
  if ((options.maxVersion ?? state.maxVersion) !== 'TLSv1.3') return undefined
  return DEFAULT_GROUPS[openssl.split('.', 2).join('.')]
}
