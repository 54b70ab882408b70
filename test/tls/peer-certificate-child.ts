import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import tls, { type DetailedPeerCertificate, type TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import { showChain } from '../../src/tls/peer-certificate.ts'

// Connects to itself with a full and with a resumed handshake, and prints what a program sees of the server's certificate.
const { cert, key, ca, maxVersion } = JSON.parse(readFileSync(process.argv[2]!, 'utf8'))

const whole = (value: unknown) => inspect(value, { depth: 20, maxArrayLength: null, maxStringLength: null })

function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let one: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
  while (one?.raw) {
    chain.push(new Uint8Array(one.raw))
    one = one.issuerCertificate === one ? undefined : one.issuerCertificate
  }
  return chain
}

/** Everything that the two functions return. */
function seen(socket: TLSSocket) {
  // The order matters: up to Node 24 reading the certificate as an X509Certificate removes it from the connection.
  const short = whole(socket.getPeerCertificate())
  const detailed = whole(socket.getPeerCertificate(true))
  const x509: string[] = []
  for (let one = socket.getPeerX509Certificate(); one; one = one.issuerCertificate) {
    x509.push(whole([one, one.toString(), one.checkHost('a.test')]))
  }
  return { short, detailed, x509 }
}

const server = tls.createServer({ cert, key, maxVersion }, (socket) =>
  socket.on('error', () => {}).write('hello'),
)
server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address() as AddressInfo
  const options = { host: '127.0.0.1', port, servername: 'a.test', ca }
  const connect = async (session?: Buffer) => {
    const socket = tls.connect({ ...options, ...(session && { session }) })
    const sessions = once(socket, 'session')
    await once(socket, 'secureConnect')
    return { socket, session: session ? undefined : ((await sessions)[0] as Buffer) }
  }
  const full = await connect()
  const chain = chainOf(full.socket)
  const before = seen(full.socket)
  const watched = await connect()
  showChain(
    watched.socket,
    chain.at(-1)!,
    () => [],
    () => true,
  )
  const fullShown = seen(watched.socket)

  const resumed = await connect(full.session)
  const empty = whole([resumed.socket.getPeerCertificate(), resumed.socket.getPeerX509Certificate()])
  let isResumed = false
  showChain(
    resumed.socket,
    chain[0]!,
    () => chain.slice(1),
    () => isResumed,
  )
  const notResumed = whole([resumed.socket.getPeerCertificate(), resumed.socket.getPeerX509Certificate()])
  isResumed = true
  const shown = seen(resumed.socket)
  const written = resumed.socket.getPeerCertificate(true)
  written.subject.CN = 'written by the program'
  written.raw.fill(0)
  delete (written as Partial<DetailedPeerCertificate>).issuerCertificate
  const shownLater = seen(resumed.socket)
  const keys = Object.keys(resumed.socket).filter((name) => name.startsWith('getPeer'))
  resumed.socket.destroy()
  const gone = whole([resumed.socket.getPeerCertificate(), resumed.socket.getPeerX509Certificate()])
  resumed.socket.destroy()
  const { socket } = await connect()
  socket.destroy()
  const goneWithoutUs = whole([socket.getPeerCertificate(), socket.getPeerX509Certificate()])
  console.log(
    JSON.stringify({
      length: chain.length,
      before,
      fullShown,
      empty,
      notResumed,
      shown,
      shownLater,
      keys,
      gone,
      goneWithoutUs,
    }),
  )
  process.exit()
})
