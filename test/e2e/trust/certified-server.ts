import { afterAll, beforeAll, expect } from 'vitest'
import { PRELOAD } from '../../support/places.ts'
import type { RunOptions, Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Certified, certify } from './differential/certificates.ts'
import { type Attempt, offered, run } from './kit.ts'

export interface CertifiedServer {
  readonly root: Certified
  /** It has issued nothing. */
  readonly otherRoot: Certified
  /** Issued by `root`. The server sends it with its own certificate. */
  readonly intermediate: Certified
  readonly server: TlsServer
  readonly target: { readonly host: string; readonly port: number; readonly servername: string }
}

/** A server of `a.test` below an intermediate CA, for all tests of a file. The object is filled before the first of them. */
export function useCertifiedServer(): CertifiedServer {
  const given = {} as { -readonly [Key in keyof CertifiedServer]: CertifiedServer[Key] }
  beforeAll(async () => {
    given.root = await certify({ subject: 'root' })
    given.otherRoot = await certify({ subject: 'another root' })
    given.intermediate = await certify({ subject: 'intermediate', issuer: given.root })
    const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: given.intermediate })
    const cert = leaf.cert + given.intermediate.cert
    given.server = await startTlsServer({ kind: 'raw', cert, key: leaf.key })
    given.target = { host: '127.0.0.1', port: given.server.port, servername: 'a.test' }
  })
  afterAll(() => given.server?.close())
  return given
}

/** How a program is run. `nodeOptions` are its own, beside those that load the preload. */
export type Ways = Partial<RunOptions> & { readonly nodeOptions?: string }

/** A program connects, and Node accepts the server. */
export async function accepts(sandbox: Sandbox, body: string, input: object, ways: Ways): Promise<void> {
  const { seen } = await connect(sandbox, body, input, ways)
  expect(seen).toEqual({ authorized: true, text: expect.stringContaining('hello') })
}

/** A program fails with the tickets of other programs as it fails without ticketkeep, and it offers none of them. */
export async function isRefused(sandbox: Sandbox, body: string, input: object, ways: Ways): Promise<void> {
  const without = await connect(sandbox, body, input, ways, false)
  expect(without.seen.error).toBeDefined()
  const attacked = await connect(sandbox, body, input, ways)
  expect([attacked.seen, offered(attacked), attacked.reused ?? false]).toEqual([without.seen, false, false])
}

function connect(
  sandbox: Sandbox,
  body: string,
  input: object,
  ways: Ways,
  preload = true,
): Promise<Attempt> {
  const { nodeOptions, ...options } = ways
  if (nodeOptions === undefined) return run(sandbox, body, input, { ...options, preload })
  const NODE_OPTIONS = preload ? `--require ${JSON.stringify(PRELOAD)} ${nodeOptions}` : nodeOptions
  return run(sandbox, body, input, { ...options, preload: false, env: { ...options.env, NODE_OPTIONS } })
}
