import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import { setSession, unwrapSession } from '../../src/tls/session.ts'
import { isInForce } from '../../src/tls/verified-handshake.ts'

// Connects, with a session if one is given. Prints whether it was resumed, whether that very session is in force, and the new
// session in base64.
const { port, ca, session } = JSON.parse(readFileSync(process.argv[2]!, 'utf8'))
let next: string | undefined
const socket = tls.connect({ host: '127.0.0.1', port, servername: 'a.test', ca })
if (session) setSession(socket, Buffer.from(session, 'base64'), 'a.test')
socket.on('session', (bytes) => {
  next ??= Buffer.from(unwrapSession(bytes)).toString('base64')
})
socket.on('secureConnect', () => {
  const isReused =
    socket.isSessionReused() && isInForce(socket, Buffer.from(session, 'base64'), socket.getSession)
  setTimeout(() => {
    console.log(JSON.stringify({ isReused, session: next }))
    process.exit()
  }, 50)
})
