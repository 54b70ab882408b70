// Sends a key share for the group that a server is known to want. This saves a TLS 1.3 round trip if the server would
// otherwise ask for the group by a HelloRetryRequest (RFC 8446, 4.1.4). The set of groups that the client allows does
// not change.
import type { TLSSocket } from 'node:tls'
import type { Call } from './call.ts'

/** Groups that may get a key share, by OpenSSL's names. Each is at least as strong as X25519, Node's default. */
export const GROUPS = ['P-256', 'P-384', 'P-521', 'X448'] as const

export type FirstGroup = (typeof GROUPS)[number]

/** Maps the names that `getEphemeralKeyInfo()` returns. */
const SHOWN_AS: Readonly<Record<string, FirstGroup>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
  X448: 'X448',
}

/** The group of a completed TLS 1.3 handshake, if it is listed in `GROUPS`. Undefined otherwise. */
export function groupOf(socket: TLSSocket): FirstGroup | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return undefined
  const { name } = (socket.getEphemeralKeyInfo() ?? {}) as { name?: string }
  return name === undefined ? undefined : SHOWN_AS[name]
}

/**
 * The groups that OpenSSL puts into the ClientHello if Node sets none (`ecdhCurve` is `auto`), in order, by OpenSSL
 * version. The tests compare these lists with the ClientHello of each Node. With an OpenSSL version that is not listed,
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
 * The value of `ecdhCurve` that adds a key share for this group to the ClientHello and changes nothing else it allows.
 * With OpenSSL 3.5 the list keeps its order and its two default key shares (`*`), and this group gets one too. With
 * OpenSSL 3.0 only the first group of the list has a key share, so this group moves to the front.
 *
 * @returns undefined if the groups must stay as they are: the program or the process chose its own
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

/** The groups that a call allows if neither the call nor the process chose any. Undefined otherwise. */
export function groupsOfNode(
  { options, state }: Pick<Call, 'options' | 'state'>,
  openssl = process.versions.openssl,
): readonly string[] | undefined {
  if (options.secureContext || options.secureProtocol || state.fips) return undefined
  if ((options.ecdhCurve === undefined ? state.ecdhCurve : options.ecdhCurve) !== 'auto') return undefined
  if ((options.maxVersion ?? state.maxVersion) !== 'TLSv1.3') return undefined
  return DEFAULT_GROUPS[openssl.split('.', 2).join('.')]
}
