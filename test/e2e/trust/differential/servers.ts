import { createServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket, TlsOptions } from 'node:tls'
import type { TlsVersion } from '../../../support/nginx.ts'
import { listen } from '../../../support/ports.ts'
import { type Certified, certify, revoke } from './certificates.ts'
import { missingNginx, startMutualNginx } from './mutual-nginx.ts'

// The servers that programs accept or refuse: one for each shape of certificates.

export type ServerName = (typeof SERVERS)[number]

export const SERVERS = [
  'plain',
  'named',
  'wildcard',
  'address',
  'tunnel',
  'mutual',
  'mutual nginx',
  'weak leaf',
  'weak intermediate',
  'weak root',
  'SHA-1',
  'hidden weak root',
  'hidden old root',
  'cross-signed',
  'spare intermediate',
  'DHE',
] as const

export const NOT_OVER_A_SOCKET: readonly ServerName[] = SERVERS.filter((name) => name !== 'tunnel')

/** What programs know of a server and of its certificates; in their source it is `w`. */
export interface World {
  readonly version: TlsVersion
  /** Options of `tls.connect` under which a program accepts the server. */
  readonly base: Record<string, unknown>
  /** The root, in PEM; and a second one that will do too, where there is one. */
  readonly ca: string
  readonly secondCa?: string
  /** A root that has nothing to do with the server. */
  readonly other: string
  /** A root of the same name as the right one, with another key. */
  readonly namesake: string
  readonly leaf: string
  /** What has signed the leaf. */
  readonly issuer: string
  readonly issuerName: string
  /** Fingerprints of the leaf, and of every certificate above it that a program may want to refuse. */
  readonly leafFingerprint: string
  readonly above: readonly string[]
  /** Revocation lists of all authorities: the server's leaf is on one of these, and nobody on the others. */
  readonly crls: readonly string[]
  readonly emptyCrls: readonly string[]
  /** Certificates for clients of this server, their keys, and a key that fits neither. */
  readonly alice: { readonly cert: string; readonly key: string }
  readonly bob: { readonly cert: string; readonly key: string }
  readonly strayKey: string
}

export interface RunningServer {
  readonly name: ServerName
  readonly port: number
  readonly world: World
  /** Environment of every program that speaks to it. */
  readonly env: Readonly<Record<string, string>>
  close(): Promise<void>
}

/** The certificates of a server. */
interface Shape {
  readonly leaf: Certified
  /** What the server sends after the leaf. */
  readonly sent: readonly Certified[]
  /** Those that lead from the leaf to the root, the leaf's issuer first. */
  readonly above: readonly Certified[]
  readonly secondRoot?: Certified
  readonly options?: TlsOptions
  /** How a program that accepts it calls `tls.connect`, beyond port and CA. */
  readonly base: Record<string, unknown>
  readonly env?: Record<string, string>
}

/** `DEFAULT` is what follows where nothing is said. */
const LEVEL_0 = { ciphers: 'DEFAULT:@SECLEVEL=0' }
const AT_A = { host: '127.0.0.1', servername: 'a.test' }
const MINUTES = 60
const HOURS = 60 * MINUTES

async function plain(names: readonly string[], base: Record<string, unknown> = AT_A): Promise<Shape> {
  const root = await certify({ subject: 'plain root' })
  const intermediate = await certify({ subject: 'plain intermediate', issuer: root })
  const leaf = await certify({ subject: names[0]!, names, issuer: intermediate })
  return { leaf, sent: [intermediate], above: [intermediate, root], base }
}

async function weak(bits: { root?: number; intermediate?: number; leaf?: number }): Promise<Shape> {
  const root = await certify({ subject: 'root', ...(bits.root && { bits: bits.root }) })
  const intermediate = await certify({
    subject: 'intermediate',
    issuer: root,
    ...(bits.intermediate && { bits: bits.intermediate }),
  })
  const leaf = await certify({
    subject: 'a.test',
    names: ['a.test'],
    issuer: intermediate,
    ...(bits.leaf && { bits: bits.leaf }),
  })
  const base = { ...AT_A, ...LEVEL_0 }
  return { leaf, sent: [intermediate], above: [intermediate, root], base, options: LEVEL_0 }
}

/** The server sends a root of the right name that it has made itself; OpenSSL takes the one that the program trusts. */
async function hidden(root: Certified, base: Record<string, unknown>): Promise<Shape> {
  // OpenSSL takes no issuer for one that could not have made the signature.
  const forged = await certify({ subject: root.subject, keyIdOf: root, ...(isRsa(root) && { bits: 2048 }) })
  const intermediate = await certify({ subject: 'intermediate', issuer: root })
  const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: intermediate })
  return { leaf, sent: [intermediate, forged], above: [intermediate, root], base, options: LEVEL_0 }
}

const isRsa = ({ keys }: Certified) => keys.publicKey.algorithm.name.startsWith('RSA')

const SHAPES: Record<ServerName, () => Promise<Shape>> = {
  plain: () => plain(['a.test']),
  named: () => plain(['a.test'], { host: 'a.test' }),
  wildcard: () => plain(['*.wild.test'], { host: 'www.wild.test' }),
  address: () => plain(['127.0.0.1'], { host: '127.0.0.1' }),
  tunnel: () => plain(['localhost'], { over: true }),
  async mutual() {
    const shape = await plain(['a.test'])
    const options = { requestCert: true, rejectUnauthorized: false }
    return { ...shape, options, env: { TICKETKEEP_CLIENT_CERT: '1' } }
  },
  // Of a resumed connection it knows who made the first one, and gives it new tickets.
  'mutual nginx': () => SHAPES.mutual(),
  'weak leaf': () => weak({ leaf: 1024 }),
  'weak intermediate': () => weak({ intermediate: 1024 }),
  'weak root': () => weak({ root: 1024 }),
  async 'SHA-1'() {
    const root = await certify({ subject: 'root' })
    const intermediate = await certify({ subject: 'intermediate', issuer: root, signedWith: 'SHA-1' })
    const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: intermediate })
    const base = { ...AT_A, ...LEVEL_0 }
    return { leaf, sent: [intermediate], above: [intermediate, root], base, options: LEVEL_0 }
  },
  async 'hidden weak root'() {
    return hidden(await certify({ subject: 'hidden root', bits: 1024 }), { ...AT_A, ...LEVEL_0 })
  },
  async 'hidden old root'() {
    return hidden(await certify({ subject: 'hidden root', until: 45 * MINUTES }), AT_A)
  },
  async 'cross-signed'() {
    const root = await certify({ subject: 'new root' })
    const oldRoot = await certify({ subject: 'old root' })
    const cross = await certify({
      subject: 'new root',
      keys: root.keys,
      issuer: oldRoot,
      until: 45 * MINUTES,
    })
    const intermediate = await certify({ subject: 'intermediate', issuer: root })
    const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: intermediate })
    const sent = [intermediate, cross]
    return { leaf, sent, above: [intermediate, root, cross, oldRoot], secondRoot: oldRoot, base: AT_A }
  },
  async 'spare intermediate'() {
    const shape = await plain(['a.test'])
    const [intermediate, root] = shape.above
    const spare = await certify({
      subject: intermediate!.subject,
      issuer: root!,
      keys: intermediate!.keys,
      from: -3 * HOURS,
      until: -1 * HOURS,
    })
    return { ...shape, sent: [...shape.sent, spare] }
  },
  async DHE() {
    const root = await certify({ subject: 'root', bits: 2048 })
    const leaf = await certify({ subject: 'a.test', names: ['a.test'], issuer: root, bits: 2048 })
    const options = { ciphers: 'DHE-RSA-AES128-GCM-SHA256', dhparam: 'auto' }
    const base = { ...AT_A, ciphers: 'DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256' }
    return { leaf, sent: [], above: [root], options, base }
  },
}

/** Whether it can be had. TLS 1.3 has no cipher suite that says how keys are agreed. */
export function speaks(name: ServerName, version: TlsVersion): boolean {
  if (name === 'mutual nginx') return missingNginx() === undefined
  return name !== 'DHE' || version === 'TLSv1.2'
}

/** Servers that ask for a client certificate, and greet the client by its name. */
export const isMutual = (name: ServerName) => name.startsWith('mutual')

export async function startServer(name: ServerName, version: TlsVersion): Promise<RunningServer> {
  const shape = await SHAPES[name]()
  const root = shape.above.find(({ subject }) => /root/.test(subject))!
  const clients = await certify({ subject: 'clients', bits: 2048 })
  // Of two kinds, so that a program can have both.
  const alice = await certify({ subject: 'alice', client: true, issuer: clients, bits: 2048 })
  const bob = await certify({ subject: 'bob', client: true, issuer: clients })
  const { port, close } =
    name === 'mutual nginx'
      ? await listenWithNginx({ ...identityOf(shape), clientCa: clients.cert, version })
      : await listenWith({ ...optionsOf(shape), ca: clients.cert, minVersion: version, maxVersion: version })
  const issuer = shape.above[0]!
  const signers = [...new Set([issuer, root])]
  const identity = isMutual(name) ? { cert: alice.cert, key: alice.key } : {}
  return {
    name,
    port,
    close,
    env: shape.env ?? {},
    world: {
      version,
      base: { port, ...shape.base, ca: root.cert, ...identity },
      ca: root.cert,
      ...(shape.secondRoot && { secondCa: shape.secondRoot.cert }),
      other: (await certify({ subject: 'another root' })).cert,
      namesake: (await certify({ subject: root.subject })).cert,
      leaf: shape.leaf.cert,
      issuer: issuer.cert,
      issuerName: issuer.subject,
      leafFingerprint: shape.leaf.fingerprint,
      above: shape.above.map(({ fingerprint }) => fingerprint),
      crls: await Promise.all(signers.map((one) => (one === issuer ? revoke(one, shape.leaf) : revoke(one)))),
      emptyCrls: await Promise.all(signers.map((one) => revoke(one))),
      alice: { cert: alice.cert, key: alice.key },
      bob: { cert: bob.cert, key: bob.key },
      strayKey: issuer.key,
    },
  }
}

const identityOf = ({ leaf, sent }: Shape) => ({
  cert: [leaf, ...sent].map(({ cert }) => cert).join(''),
  key: leaf.key,
})

const optionsOf = (shape: Shape): TlsOptions => ({
  // Where a clock is set forward, it is not for this that tickets are not used.
  sessionTimeout: 24 * HOURS,
  ALPNProtocols: ['http/1.1', 'x-test'],
  ecdhCurve: 'X25519:P-256:P-384',
  ...identityOf(shape),
  ...shape.options,
})

async function listenWithNginx(given: Parameters<typeof startMutualNginx>[0]) {
  const { port, stop } = await startMutualNginx(given)
  return { port, close: stop }
}

/** An HTTPS server that greets its clients by the names in their certificates. */
async function listenWith(options: TlsOptions): Promise<Pick<RunningServer, 'port' | 'close'>> {
  const server = createServer(options, (request, response) => {
    const socket = request.socket as TLSSocket
    // A server of Node calls a resumed connection of TLS 1.3 authorized, without a certificate too.
    const who = socket.authorized ? socket.getPeerCertificate()?.subject?.CN : undefined
    response.end(`hello ${who ?? 'nobody'}\n`)
  })
  const open = new Set<Duplex>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket)).on('error', () => {})
  })
  server.on('tlsClientError', () => {})
  const port = await listen(server)
  return {
    port,
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((done) => server.close(() => done()))
    },
  }
}
