import { it } from 'vitest'
import { createAuthority } from '../../support/pki.ts'
import { startTlsServer } from '../../support/tls-server.ts'
import { inSandbox, run } from './kit.ts'
it('x', async () => {
  const ca = await createAuthority(); const other = await createAuthority()
  const server = await startTlsServer({ ...(await ca.issue({ names: ['a.test'] })), kind: 'raw' })
  await inSandbox(async (sb) => {
    const input = { ca: ca.cert, other: other.cert, o: { host: '127.0.0.1', port: server.port, servername: 'a.test', ca: ca.cert } }
    console.log(JSON.stringify(await run(sb, 'report([await attempt(input.o)])', input)))
    console.log(JSON.stringify(await run(sb, `const own = tls.createSecureContext; tls.createSecureContext = (options) => own({ ...options, ca: input.other }); report([await attempt(input.o),await attempt(input.o)])`, input), null, 1))
  })
  await server.close()
})
