import { TicketkeepError } from './errors.ts'

/** One peer, in its one spelling: what {@link hostPort} returned. */
export interface HostPort {
  /** A DNS name in lower-case ASCII without a trailing dot, an IPv4 address, or an IPv6 address (RFC 5952). */
  readonly host: string
  /** 1 to 65535. */
  readonly port: number
}

/**
 * The one spelling of a peer: `Example.COM.` is `example.com`, `bücher.example` is `xn--bcher-kva.example`,
 * `[0:0::1]` is `::1`.
 *
 * An IPv6 address with a zone (`fe80::1%eth0`) is refused, since the zone means something else on the next
 * network. So is any name that resolvers read as an IPv4 address although it is not written as one (`127.1`,
 * `0x7f000001`).
 *
 * @param host a DNS name or an IP address, at most 1,024 characters
 * @param port 1 to 65535
 * @returns the peer, as a new object
 * @throws {TicketkeepError} `ERR_INVALID_HOST`, `ERR_INVALID_PORT`
 * @example hostPort('Registry.Example.', 443) // { host: 'registry.example', port: 443 }
 */
export function hostPort(host: string, port: number): HostPort {
  if (port === 0) throw invalidPort()
  return peerOf(host, port)
}

/**
 * The same, where port 0 stands for "port unknown": a tunnel over a socket that somebody else connected.
 * @internal
 */
export function peerOf(host: string, port: number): HostPort {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw invalidPort()
  return { host: canonicalHost(host), port }
}

/** One string for each peer, as the key of a `Map`. */
export const peerKey = ({ host, port }: HostPort): string => `${host} ${port}`

export const isSamePeer = (a: HostPort, b: HostPort) => a.host === b.host && a.port === b.port

function canonicalHost(host: unknown): string {
  if (typeof host !== 'string' || host.length > 1024) throw invalidHost()
  if (isPlainName(host)) return host
  const name = host.includes(':') ? ipv6(host) : isAscii(host) ? host.toLowerCase() : toAscii(host)
  if (name.includes(':')) return name
  if (IPV4.test(name)) return name
  const dotless = name.endsWith('.') ? name.slice(0, -1) : name
  if (dotless.length > 253 || !DNS_NAME.test(dotless) || ENDS_IN_A_NUMBER.test(dotless)) throw invalidHost()
  return dotless
}

/**
 * Whether it is a DNS name in its one spelling already, as most are, and plainly no address: its last label
 * begins with a letter. So that a short process need not compile the regular expressions below.
 */
export function isPlainName(host: string): boolean {
  let length = 0
  let isLetter = false
  for (let i = 0; i < host.length; i++) {
    const c = host.charCodeAt(i)
    if (c === 0x2e && length > 0) length = 0
    else {
      const letter = c >= 0x61 && c <= 0x7a
      if (!letter && !(c >= 0x30 && c <= 0x39) && c !== 0x2d && c !== 0x5f) return false
      if (length === 0) isLetter = letter
      if (++length > 63) return false
    }
  }
  return isLetter && length > 0 && host.length <= 253
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/
// Underscores and hyphens anywhere: names like `_dmarc.example` and `r3---sn.example` are in use.
const DNS_NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/
// The WHATWG URL standard's test for "this would be taken for an IPv4 address".
const ENDS_IN_A_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false
  return true
}

function toAscii(host: string): string {
  // Of ASCII, only what a name may hold: the URL parser behind domainToASCII would unescape `%41` and cut at `/`.
  if (/[^a-z0-9_.\u0080-\uffff-]/i.test(host)) throw invalidHost()
  // An address in full-width digits comes out as one, and is refused: it was not written as one.
  const name = parseAsUrlHost(host)
  if (IPV4.test(name)) throw invalidHost()
  return name
}

function ipv6(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  if (!/^[0-9a-f:.]+$/i.test(bare)) throw invalidHost()
  return parseAsUrlHost(`[${bare}]`).slice(1, -1)
}

// Not net.isIP: its regular expressions take milliseconds to compile in a process that never dialled.
function parseAsUrlHost(host: string): string {
  const { domainToASCII } = require('node:url') as typeof import('node:url')
  const parsed = domainToASCII(host)
  if (parsed === '') throw invalidHost()
  return parsed
}

const invalidHost = () =>
  new TicketkeepError('ERR_INVALID_HOST', 'the host is not a DNS name or an IP address')
const invalidPort = () =>
  new TicketkeepError('ERR_INVALID_PORT', 'the port is not an integer from 1 to 65535')
