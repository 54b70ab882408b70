import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { createAuthority } from '../../support/pki.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, inSandbox, LINES, ONE, run } from './kit.ts'

// What the sixth attack found.

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

let servers: Record<(typeof VERSIONS)[number], TlsServer>
let ca: string

beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  const identity = await authority.issue({ names: ['a.test'] })
  servers = {
    'TLSv1.2': await startTlsServer({ ...identity, kind: 'raw', version: 'TLSv1.2' }),
    'TLSv1.3': await startTlsServer({ ...identity, kind: 'raw', version: 'TLSv1.3' }),
  }
})
afterAll(async () => {
  for (const server of Object.values(servers ?? {})) await server.close()
})

/** Programs that refuse the server while the handshake is under way, before Node calls the socket authorized. */
const REFUSING: Record<string, string> = {
  'in an emit of its own, where the handshake is no resumption': `
    const own = socket.emit
    socket.emit = function (name, ...args) {
      if (name !== 'secure' || this.isSessionReused()) return own.call(this, name, ...args)
      const { issuerCertificate } = this.getPeerCertificate(true)
      if (issuerCertificate.raw) this.destroy(new Error('refused'))
      return true
    }`,
  'in a _finishInit of its own, likewise': `
    const own = tls.TLSSocket.prototype._finishInit
    tls.TLSSocket.prototype._finishInit = function (...args) {
      return this.isSessionReused() ? own.apply(this, args) : this.destroy(new Error('refused'))
    }`,
  'by a checkServerIdentity that it puts into the options of Node': `
    socket.on('ready', () => {
      const options = Object.getOwnPropertySymbols(socket).find((one) => one.description === 'connect-options')
      socket[options].checkServerIdentity = () => new Error('refused')
    })`,
}

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }
    for (const version of VERSIONS) {
      it.each(Object.entries(REFUSING))(
        `${version}: a program refuses a resumed server as well, %s`,
        (_how, refuse) =>
          inSandbox(async (sandbox) => {
            const input = { host: '127.0.0.1', port: servers[version].port, servername: 'a.test', ca }
            const program = `
            const socket = open(input)
            ${refuse}
            let end = 'none'
            socket.on('secureConnect', () => { end = 'accepted' })
            socket.on('error', () => { end = 'refused' })
            socket.on('data', () => {}).on('close', () => report([end, events.includes('offer')]))`
            await run<Attempt>(sandbox, ONE, input, node)
            const [end] = await run<string[]>(sandbox, program, input, { ...node, preload: false })
            expect(end).not.toBe('accepted')
            expect(await run(sandbox, program, input, node)).toEqual([end, true])
          }),
      )
    }
  })
}
