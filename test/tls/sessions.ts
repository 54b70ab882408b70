import { X509Certificate } from 'node:crypto'
import type { NodeLine } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { askNode } from '../support/real-nodes.ts'
import { startTlsServer } from '../support/tls-server.ts'

/** A session as the `'session'` event of Node gives it. */
export interface RecordedSession {
  readonly line: NodeLine
  readonly protocol: 'TLSv1.2' | 'TLSv1.3'
  readonly bytes: Buffer
  /** The server's certificate, DER. */
  readonly certificate: Buffer
}

const CONNECT = `
  const [port, ca] = JSON.parse(process.argv[1])
  const socket = require('node:tls').connect({ host: '127.0.0.1', port, servername: 'a.test', ca })
  socket.on('session', (session) => { console.log(session.toString('base64')); socket.destroy() })`

/** Sessions of each of these Nodes for `a.test`: TLS 1.2 and 1.3, each with ECDSA and RSA. */
export async function recordSessions(lines: readonly NodeLine[]): Promise<RecordedSession[]> {
  const ca = await createAuthority()
  const sessions: RecordedSession[] = []
  for (const protocol of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const keyType of ['ecdsa', 'rsa'] as const) {
      const identity = await ca.issue({ names: ['a.test', '*.b.test', '127.0.0.1'], keyType })
      const server = await startTlsServer({ ...identity, version: protocol })
      for (const line of lines) {
        const args = [JSON.stringify([server.port, ca.cert])]
        const stdout = await askNode(line, CONNECT, { args })
        const bytes = Buffer.from(stdout.split('\n')[0]!, 'base64')
        sessions.push({ line, protocol, bytes, certificate: new X509Certificate(identity.cert).raw })
      }
      await server.close()
    }
  }
  return sessions
}
