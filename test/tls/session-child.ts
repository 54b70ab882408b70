import { readFileSync } from 'node:fs'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { readSession, setSession } from '../../src/tls/session.ts'
import { mutate, mutateFields, random } from './mutations.ts'

// Mutates sessions, and prints as hexadecimal those that `readSession` accepts and OpenSSL refuses.
const { seed, count, sessions } = JSON.parse(readFileSync(process.argv[2]!, 'utf8'))
const ders = (sessions as string[]).map((base64) => Buffer.from(base64, 'base64'))

/** Whether OpenSSL accepts these bytes as a session, on a socket that is not connected. */
function isOpensslSession(der: Uint8Array): boolean {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const options = { isServer: false, servername: 'a.test' }
  const socket = new tls.TLSSocket(stream as never, options as never)
  socket.on('error', () => {})
  setSession(socket, der, 'a.test')
  const taken = socket.getSession() !== undefined
  socket.destroy()
  return taken
}

async function main() {
  const below = random(seed)
  const refused: string[] = []
  let accepted = 0
  for (let i = 0; i < count; i++) {
    const change = below(2) === 0 ? mutate : mutateFields
    const der = change(ders[below(ders.length)]!, ders[below(ders.length)]!, below)
    if (!readSession(der)) continue
    accepted++
    if (!isOpensslSession(der)) refused.push(Buffer.from(der).toString('hex'))
    if (accepted % 200 === 0) await new Promise((done) => setImmediate(done))
  }
  const untouched = ders.map((der) => [readSession(der) !== undefined, isOpensslSession(der)])
  console.log(JSON.stringify({ accepted, refused, untouched }))
}
void main()
