import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createAuthority } from '../support/pki.ts'
import { CLI, ROOT } from '../support/places.ts'
import { createSandbox, runCommand, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

// Programs that are killed once their work is done, as Vitest ends its forks by SIGTERM. No exit event comes, and ticketkeep
// does not listen for signals, since a listener would change what a signal does.

/** Over both versions the forks, which are killed. */
const POOLS = {
  'TLSv1.2': ['forks'],
  'TLSv1.3': ['forks', ...(process.platform === 'linux' ? ['threads'] : [])],
}

let identity: { cert: string; key: string }
let ca: string
beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  identity = await authority.issue({ names: ['localhost'] })
})

let sandbox: Sandbox
beforeEach(() => {
  sandbox = createSandbox()
})
afterEach(() => sandbox.remove())

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
  let server: TlsServer
  let env: Record<string, string>
  beforeAll(async () => {
    server = await startTlsServer({ ...identity, version })
  })
  afterAll(() => server.close())
  beforeEach(() => {
    server.requests.length = 0
    env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca), URL: `https://localhost:${server.port}/` }
  })
  const resumptions = () => server.requests.map(({ reused }) => reused)

  it('a program that is killed as soon as it has printed its answer resumes in its next run', async () => {
    const source = `require('node:https').get(process.env.URL, (response) => {
      response.on('data', () => require('node:fs').writeSync(1, 'answer'))
    })
    setInterval(() => {}, 1000)`
    for (let i = 0; i < 3; i++) {
      const outcome = await runProgram({
        sandbox,
        source,
        env,
        onStart: (child) => void child.stdout!.once('data', () => child.kill('SIGTERM')),
      })
      expect(outcome).toMatchObject({ signal: 'SIGTERM', stdout: 'answer', stderr: '' })
    }
    expect(resumptions()).toEqual([false, true, true])
  })

  it.each(POOLS[version])(
    'Vitest with pool %s resumes in its next run and appears in the summary',
    async (pool) => {
      const folder = join(sandbox.directory, 'project')
      mkdirSync(folder)
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
      sandbox.write(
        'project/one.test.mjs',
        `import { readFileSync } from 'node:fs'
      import { get } from 'node:https'
      import { it } from 'vitest'
      const ca = readFileSync(process.env.NODE_EXTRA_CA_CERTS)
      it('asks', () => new Promise((done) => get(process.env.URL, { ca }, (response) => response.resume().on('end', done))))`,
      )
      const vitest = [process.execPath, join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', `--pool=${pool}`]
      const command = [process.execPath, CLI, 'run', '--summary', '--', ...vitest, '--root', folder]
      const summaries: string[] = []
      for (let i = 0; i < 2; i++) {
        const { status, stderr } = await runCommand({ sandbox, env, preload: false, cwd: folder }, command)
        expect(status).toBe(0)
        summaries.push(stderr.match(/\d+ connection.* resumed/)?.[0] ?? stderr)
      }
      expect(resumptions()).toEqual([false, true])
      const connections = `1 connection to localhost:${server.port}`
      expect(summaries).toEqual([`${connections}: 0 resumed`, `${connections}: 1 resumed`])
    },
  )
})
