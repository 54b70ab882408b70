import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import { type Nginx, startNginx, type TlsVersion } from '../support/nginx.ts'
import { NODE_LINES, type NodeLine, nodeBinary, OLDER_NODES } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { PRELOAD } from '../support/places.ts'
import {
  createSandbox,
  exampleProgram,
  type Outcome,
  runProgram,
  type Sandbox,
} from '../support/run-program.ts'

const PROGRAMS: Record<string, string> = {
  'https.get': 'https-get.cjs',
  'https.get with a synchronous lookup': 'own-lookup.cjs',
  'https.get with all emitters instrumented': 'wrapped-emitters.cjs',
  'global fetch': 'fetch.cjs',
  'import { connect } from node:tls': 'named-import.mjs',
  http2: 'http2.cjs',
  'https.get through a CONNECT proxy by https-proxy-agent': 'proxy-agent.mjs',
  'https.get through a CONNECT proxy by its own code': 'proxy-by-hand.cjs',
  undici: 'undici.mjs',
  got: 'got.mjs',
  axios: 'axios.cjs',
}

describeWith(missingCommands('nginx'), 'an unchanged program resumes in its second run', () => {
  let nginx: Nginx
  let proxy: ConnectProxy
  let place: Sandbox
  let authority: string
  let env: Record<string, string>

  beforeAll(async () => {
    const ca = await createAuthority()
    nginx = await startNginx(await ca.issue({ keyType: 'rsa' }))
    proxy = await startConnectProxy()
    place = createSandbox()
    authority = ca.cert
    env = { NODE_EXTRA_CA_CERTS: place.write('ca.pem', ca.cert) }
  })
  afterAll(async () => {
    await nginx?.stop()
    await proxy?.close()
    place?.remove()
  })

  /** Runs a program and returns what it printed and what nginx logged. */
  async function run(sandbox: Sandbox, line: NodeLine, program: string, version: TlsVersion, preload = true) {
    await nginx.requests() // what a failed test may have left
    const tunnels = proxy.tunnels.length
    const url = `https://localhost:${nginx.ports[version]}/${program}`
    const outcome = await runProgram({
      sandbox,
      preload,
      node: nodeBinary(line),
      file: exampleProgram(program),
      args: [url, proxy.url],
      env,
    })
    const requests = await nginx.requests(1)
    const log = requests.map(({ reused, protocol }) => `${reused} ${protocol}`)
    return { outcome, log, tunnels: proxy.tunnels.length - tunnels }
  }

  const hello: Outcome = { status: 0, signal: null, stdout: '200 hello\n', stderr: '' }

  const preload = pathToFileURL(PRELOAD).href

  for (const line of [...NODE_LINES, ...OLDER_NODES]) {
    describeWith(missingNode(line), `Node ${line}`, () => {
      it.each([
        ['-r', ['-r', PRELOAD], ''],
        ['--import', ['--import', preload], ''],
        ['an import in the program', [], `import '${preload}'`],
      ])('when the preload is loaded by %s', async (_name, flags, first) => {
        const sandbox = createSandbox()
        try {
          await nginx.requests()
          const source = `${first}
            import { get } from 'node:https'
            get(process.argv[2], { ca: process.argv[3] }, (response) => response.resume())`
          // On Node 20 NODE_EXTRA_CA_CERTS counts only where NODE_OPTIONS loads the preload, since Node has then read it.
          const args = [`https://localhost:${nginx.ports['TLSv1.3']}/`, authority]
          const program = {
            sandbox,
            node: nodeBinary(line),
            module: 'mjs',
            source,
            args,
            flags,
          } as const
          const outcomes = [await runProgram({ ...program, preload: false })]
          outcomes.push(await runProgram({ ...program, preload: false }))
          expect(outcomes).toMatchObject(outcomes.map(() => ({ status: 0, stdout: '', stderr: '' })))
          expect((await nginx.requests(2)).map(({ reused }) => reused)).toEqual(['.', 'r'])
        } finally {
          sandbox.remove()
        }
      })

      describe.each<TlsVersion>(['TLSv1.2', 'TLSv1.3'])('%s', (version) => {
        it.each(Object.entries(PROGRAMS))('%s', async (_name, program) => {
          const sandbox = createSandbox()
          try {
            const first = await run(sandbox, line, program, version)
            const second = await run(sandbox, line, program, version)
            expect([first.outcome, second.outcome]).toEqual([hello, hello])
            expect([...first.log, ...second.log]).toEqual([`. ${version}`, `r ${version}`])
            expect(first.tunnels + second.tunnels).toBe(program.startsWith('proxy') ? 2 : 0)
          } finally {
            sandbox.remove()
          }
        })
      })
    })
  }

  describeWith(missingNode('24'), 'without ticketkeep', () => {
    it('each run makes a full handshake', async () => {
      const runs = [
        await run(place, '24', 'https-get.cjs', 'TLSv1.3', false),
        await run(place, '24', 'https-get.cjs', 'TLSv1.3', false),
      ]
      expect(runs.flatMap(({ log }) => log)).toEqual(['. TLSv1.3', '. TLSv1.3'])
    })
  })
})
