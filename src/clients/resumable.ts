import type { SecureClientSessionOptions } from 'node:http2'
import { isIP, type NetConnectOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { TicketkeepError } from '../errors.ts'
import { makeAttended } from './attend.ts'
import { splitOptions, type TicketOptions } from './options.ts'

/**
 * Options for `http2.connect` with which it resumes sessions of earlier processes: yours, and a `createConnection`. Where the
 * server is no `https:` one, they change nothing.
 *
 * `tls.connect` has no public way from its options to its socket. Its counterpart is `connect`.
 *
 * @typeParam T the type of your options and of the result
 * @param options those of `http2.connect` (Node's documentation) except `createConnection`, and those of {@link TicketOptions}
 * @returns a copy of your options without those of {@link TicketOptions}, with a `createConnection`. Use it for any number
 *   of sessions
 * @throws {TicketkeepError} `ERR_INVALID_SETTING` if an option of {@link TicketOptions} has an invalid value, or there is a
 *   `createConnection`
 * @example http2.connect('https://api.example', resumable())
 */
export function resumable<T extends SecureClientSessionOptions>(
  options: T & TicketOptions = {} as T,
): Omit<T, keyof TicketOptions> & Required<Pick<SecureClientSessionOptions, 'createConnection'>> {
  if (options.createConnection !== undefined)
    throw new TicketkeepError('ERR_INVALID_SETTING', 'createConnection is what resumable adds: leave it out')
  const { given, own } = splitOptions(options)
  // With the options that Node has: the program may have added to ours.
  const createConnection = (
    authority: URL,
    { createConnection: _ours, ...options }: SecureClientSessionOptions = given,
  ): Duplex => {
    const all = optionsOf(authority, options)
    if (authority.protocol === 'http:')
      return process.getBuiltinModule('node:net').connect(all as NetConnectOpts)
    const { connect } = process.getBuiltinModule('node:tls')
    return makeAttended({ ...all, ALPNProtocols: protocolsOf(options) }, own, (one) => connect(one))
  }
  return { ...given, createConnection }
}

/** Where `http2.connect` itself connects to, and as whom it verifies the server. */
function optionsOf(authority: URL, given: SecureClientSessionOptions) {
  const { hostname, protocol } = authority
  // Node takes any object that has these.
  const host = hostname?.startsWith('[') ? hostname.slice(1, -1) : hostname || authority.host || 'localhost'
  const port = Number(authority.port || (protocol === 'http:' ? 80 : 443))
  return { host, port, ...given, ...(given.servername || isIP(host) ? {} : { servername: host }) }
}

/** As in Node's `initializeTLSOptions`. */
const protocolsOf = (given: SecureClientSessionOptions & { readonly allowHTTP1?: boolean }) => [
  'h2',
  ...(given.allowHTTP1 === true ? ['http/1.1'] : []),
]
