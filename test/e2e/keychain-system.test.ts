import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/missing.ts'
import { createAuthority } from '../support/pki.ts'
import { CLI } from '../support/places.ts'
import {
  createSandbox,
  exampleProgram,
  runCommand,
  runProgram,
  type Sandbox,
} from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

// The keychain of the user who runs this test: macOS Keychain, Windows Credential Manager or the Secret Service. The test makes
// and removes a key there, so it runs only on request.

const missing = process.env.TICKETKEEP_TEST_SYSTEM_KEYCHAIN
  ? undefined
  : 'TICKETKEEP_TEST_SYSTEM_KEYCHAIN is not set: this removes the key of the user'

describeWith(missing, 'with the keychain of this system', () => {
  let sandbox: Sandbox
  let server: TlsServer
  let ca: string
  beforeAll(async () => {
    const authority = await createAuthority()
    server = await startTlsServer({
      ...(await authority.issue({ names: ['localhost'] })),
      kind: 'http2',
      allowHTTP1: true,
    } as never)
    sandbox = createSandbox()
    ca = sandbox.write('ca.pem', authority.cert)
  })
  afterAll(async () => {
    await ticketkeep('purge')
    await server?.close()
    sandbox?.remove()
  })

  // The environment says where the keychain is.
  const environment = () => ({
    ...process.env,
    NODE_OPTIONS: undefined,
    TICKETKEEP_KEY: undefined,
    TICKETKEEP_DIR: sandbox.tickets,
    TICKETKEEP_KEY_SOURCE: 'keychain',
  })
  const ticketkeep = async (...args: string[]) => {
    const options = { sandbox, preload: false, env: environment() }
    const { status, stdout, stderr } = await runCommand(options, [process.execPath, CLI, ...args, '--json'])
    return { status, stderr, result: stdout && JSON.parse(stdout) }
  }

  it('a key is made there, encrypts the tickets by which the next run resumes, and is removed', async () => {
    await ticketkeep('purge')
    expect(await ticketkeep('init')).toMatchObject({ status: 0, stderr: '' })
    expect((await ticketkeep('status')).result.key).toMatchObject({ source: 'keychain', available: true })
    // A slow lookup, so that the key comes in time for the one connection.
    const file = exampleProgram('slow-lookup.cjs')
    const args = [`https://localhost:${server.port}/`]
    const { NODE_OPTIONS: _, ...env } = { ...environment(), NODE_EXTRA_CA_CERTS: ca }
    for (let i = 0; i < 2; i++) {
      expect(await runProgram({ sandbox, file, args, env })).toMatchObject({ status: 0, stderr: '' })
    }
    expect(server.handshakes.map(({ reused }) => reused)).toEqual([false, true])
    expect(await ticketkeep('purge')).toMatchObject({ status: 0, stderr: '' })
    expect((await ticketkeep('status')).result.key).toMatchObject({ available: false, creatable: true })
  })
})
