import { afterAll, beforeAll } from 'vitest'
import type { TlsVersion } from './nginx.ts'
import { type Authority, createAuthority, type Identity, type KeyType } from './pki.ts'
import { startTlsServer, type TlsServer, type TlsServerOptions } from './tls-server.ts'

// What the tests of a file share. A file calls one of these at its top. The object is filled before the first test runs.

export interface Issued {
  readonly ca: Authority
  /** A root that has issued nothing. */
  readonly otherCa: Authority
  /** A certificate that `ca` has issued, and its key. */
  readonly identity: Identity
}

/** The options of `tls.connect` by which a program reaches a server. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly servername: string
}

export interface OneServer extends Issued {
  readonly server: TlsServer
  readonly target: Target
}

export interface ServerOfEachVersion extends Issued {
  readonly servers: Readonly<Record<TlsVersion, TlsServer>>
  readonly targets: Readonly<Record<TlsVersion, Target>>
}

interface Options extends TlsServerOptions {
  /** Names in the certificate. The first one is the `servername` of targets. Default: this machine by all its names. */
  readonly names?: readonly string[]
  /** Of the certificate. Default: ECDSA on P-256. */
  readonly keyType?: KeyType
}

/** One server, which is closed after the last test of the file. */
export function useServer({ names, keyType, ...options }: Options = {}): OneServer {
  const given = {} as { -readonly [Key in keyof OneServer]: OneServer[Key] }
  beforeAll(async () => {
    Object.assign(given, await issue(names, keyType))
    given.server = await startTlsServer({ ...given.identity, ...options })
    given.target = targetOf(given.server, names)
  })
  afterAll(() => given.server?.close())
  return given
}

/** A server that speaks TLS 1.2 alone and one that speaks TLS 1.3 alone, with the same certificate. */
export function useServerOfEachVersion({ names, keyType, ...options }: Options = {}): ServerOfEachVersion {
  const given = {} as { -readonly [Key in keyof ServerOfEachVersion]: ServerOfEachVersion[Key] }
  beforeAll(async () => {
    Object.assign(given, await issue(names, keyType))
    given.servers = {
      'TLSv1.2': await startTlsServer({ ...given.identity, ...options, version: 'TLSv1.2' }),
      'TLSv1.3': await startTlsServer({ ...given.identity, ...options, version: 'TLSv1.3' }),
    }
    given.targets = {
      'TLSv1.2': targetOf(given.servers['TLSv1.2'], names),
      'TLSv1.3': targetOf(given.servers['TLSv1.3'], names),
    }
  })
  afterAll(async () => {
    for (const server of Object.values(given.servers ?? {})) await server.close()
  })
  return given
}

const targetOf = ({ port }: TlsServer, names?: readonly string[]): Target => ({
  host: '127.0.0.1',
  port,
  servername: names?.[0] ?? 'localhost',
})

async function issue(names?: readonly string[], keyType?: KeyType): Promise<Issued> {
  const ca = await createAuthority()
  const otherCa = await createAuthority({ commonName: 'another root' })
  return { ca, otherCa, identity: await ca.issue({ ...(names && { names }), ...(keyType && { keyType }) }) }
}
