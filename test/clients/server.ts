import type { TlsVersion } from '../support/nginx.ts'
import type { Identity } from '../support/pki.ts'
import type { Running } from './daemon.ts'

/** The protocol over TLS. `https` servers answer each request with `hello`. `registry` is HTTPS to a package registry. */
export type Protocol =
  | 'https'
  | 'h2'
  | 'registry'
  | 'websocket'
  | 'grpc'
  | 'postgres'
  | 'mysql'
  | 'redis'
  | 'mqtt'
  | 'smtp'
  | 'ldap'
  | 'mongodb'

export interface Server {
  readonly name: string
  readonly speaks: readonly Protocol[]
  /** The command that the server needs, and its Debian package. */
  readonly needs?: readonly [command: string, debianPackage: string]
  start(setup: Setup): Promise<Running>
}

export interface Setup {
  readonly version: TlsVersion
  readonly identity: Pick<Identity, 'cert' | 'key'>
  /** Where to pass requests on to, `http://host:port`, instead of answering them. */
  readonly upstream?: string | undefined
}
