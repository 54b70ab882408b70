import { once } from 'node:events'
import { connect } from 'node:tls'
import { expect, it } from 'vitest'
import { createAuthority } from '../support/pki.ts'
import { startTlsServer } from '../support/tls-server.ts'
import { startWitness } from '../support/witness.ts'

it.each([
  ['TLSv1.2', 'X25519'],
  ['TLSv1.3', 'X25519'],
  // The client first sends no key share of this group, so the server answers with a HelloRetryRequest.
  ['TLSv1.3', 'P-384'],
] as const)('the ServerHello shows whether a server resumes: %s with %s', async (version, ecdhCurve) => {
  const ca = await createAuthority()
  const server = await startTlsServer({ ...(await ca.issue()), version, ecdhCurve, kind: 'raw' })
  const witness = await startWitness(server.port)
  let session: Buffer | undefined
  for (const isResumed of [false, true]) {
    const options = { host: 'localhost', port: witness.port, ca: ca.cert, ...(session && { session }) }
    const socket = connect(options).resume()
    socket.on('session', (bytes) => (session = bytes))
    const closed = once(socket, 'close')
    await once(socket, 'secureConnect')
    expect(socket.isSessionReused()).toBe(isResumed)
    await closed
    expect(witness.answers()).toEqual([{ version, isResumed }])
  }
  await witness.close()
  await server.close()
})
