import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readPoolAddress } from '../src/pool/address.ts'
import { blocksOf } from './support/blocks.ts'
import { pathWithCommands } from './support/commands.ts'
import { describeWith, missingCommands } from './support/missing.ts'
import { createAuthority } from './support/pki.ts'
import { type Step, stepsOf } from './support/recipes.ts'
import { createSandbox, runCommand, TEST_KEY } from './support/run-program.ts'
import { expectShape } from './support/shape.ts'
import { startTlsServer, type TlsServer } from './support/tls-server.ts'
import { POOL_PASSWORD, startValkey, type Valkey } from './support/valkey.ts'

// What docs/fleet.md has for a shell, for build systems and for the server, which is a real one that is configured as the page
// says. Each recipe is run as two jobs on two machines, whose homes are empty: the second one resumes.

const blocks = blocksOf('test/docs-fleet.test.ts')
const shape = blocks.find(({ heading }) => heading === 'pool')
const written = (language: string) => blocks.filter((block) => block.language === language)

it('each block is for one of these tests', () =>
  expect(blocks.map(({ language }) => language)).toEqual([
    'json',
    'sh',
    'text',
    'conf',
    'yaml',
    'yaml',
    'yaml',
  ]))

it('the form of the URL is read, with all that is in brackets and without', () => {
  const form = written('text')[0]!.text.trim()
  let shortest = form
  while (shortest.includes('[')) shortest = shortest.replace(/\[[^[\]]*\]/g, '')
  expect(readPoolAddress(shortest, 'TICKETKEEP_POOL')).toMatchObject({
    nodes: [{ host: 'host', port: 6379 }],
  })
  const values = {
    ':PORT': ':1',
    '/DATABASE': '/2',
    ',HOST…': ',HOST2',
    'NAME=VALUE&…': 'cluster=yes&batches=3',
  }
  let longest = form.replace(/[[\]]/g, '')
  for (const [name, value] of Object.entries(values)) longest = longest.replace(name, value)
  expect(readPoolAddress(longest.replace('/2', ''), 'TICKETKEEP_POOL')).toMatchObject({
    nodes: [
      { host: 'host', port: 1 },
      { host: 'host2', port: 6379 },
    ],
    ...{ username: 'USER', password: 'PASSWORD', kind: 'cluster', batches: 3 },
  })
  // A cluster has one database only.
  const single = longest.replace(',HOST2', '').replace('cluster=yes&', '')
  expect(readPoolAddress(single, 'TICKETKEEP_POOL')).toMatchObject({ kind: 'single', database: 2 })
})

describeWith(missingCommands('redis-server'), 'docs/fleet.md', () => {
  let valkey: Valkey
  let server: TlsServer
  let authority: string
  beforeAll(async () => {
    const created = await createAuthority()
    authority = created.cert
    server = await startTlsServer(await created.issue({ names: ['localhost'] }))
    const users = ['ticketkeep', 'ci'].map((name) => `user ${name} on >${POOL_PASSWORD} ~ticketkeep:* +@all`)
    valkey = await startValkey({ authority: created, config: [written('conf')[0]!.text, ...users] })
  })
  afterAll(async () => {
    await server?.close()
    await valkey?.stop()
  })

  /** One job on a machine of its own: what the server sees of its connections, and what it says. */
  async function job(steps: readonly Step[]): Promise<{ reused: boolean[]; said: string }> {
    const sandbox = createSandbox()
    const secrets = join(sandbox.directory, 'secrets')
    const fleet = join(secrets, 'fleet')
    mkdirSync(fleet, { recursive: true })
    const passwordFile = sandbox.write('secrets/pool-password', POOL_PASSWORD)
    sandbox.write('secrets/fleet/pool-password', POOL_PASSWORD)
    const ca = sandbox.write('secrets/fleet/ca.pem', authority)
    const key = sandbox.write('secrets/fleet/key', TEST_KEY)
    chmodSync(key, 0o600)
    const here = (text: string) =>
      text
        .replace(/(pool\.internal|valkey\.ci\.svc)(:6379)?\?/g, `localhost:${valkey.port}?budget=10000&`)
        .replaceAll('/run/secrets', secrets)
        .replaceAll('$POOL_PASSWORD_FILE', passwordFile)
        .replace(/\$\{\{ secrets\.(\w+) \}\}/g, (_, name) =>
          name === 'TICKETKEEP_KEY' ? TEST_KEY : POOL_PASSWORD,
        )
    const githubEnv = join(sandbox.directory, 'github-env')
    const before = server.handshakes.length
    let said = ''
    const env: Record<string, string | undefined> = {
      HOME: sandbox.home,
      PATH: pathWithCommands(sandbox, `https://localhost:${server.port}/`),
      NODE_EXTRA_CA_CERTS: ca,
      RUNNER_TEMP: sandbox.directory,
      GITHUB_ENV: githubEnv,
      TICKETKEEP_DIR: undefined,
      TICKETKEEP_KEY: undefined,
      TICKETKEEP_KEY_FILE: key,
    }
    for (const step of steps) {
      const own = Object.entries(step.env).map(([name, value]) => [name, here(value)])
      const ran = await runCommand({ sandbox, preload: false, env: { ...env, ...Object.fromEntries(own) } }, [
        ...['bash', '-euo', 'pipefail', '-c'],
        here(step.script),
      ])
      expect({ status: ran.status, stderr: ran.status === 0 ? '' : ran.stderr }).toEqual({
        status: 0,
        stderr: '',
      })
      said += ran.stdout + ran.stderr
      for (const line of existsSync(githubEnv) ? readFileSync(githubEnv, 'utf8').split('\n') : []) {
        const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? []
        if (name !== undefined) env[name] = value
      }
    }
    sandbox.remove()
    return { reused: server.handshakes.slice(before).map(({ reused }) => reused), said }
  }

  const recipes: [string, Step[]][] = [...written('sh'), ...written('yaml')].map(
    ({ heading, language, text }) => [
      heading,
      language === 'sh' ? [{ script: text, env: {} }] : stepsOf(text),
    ],
  )

  it.each(recipes)('%s', async (_, steps) => {
    await valkey.send('FLUSHALL')
    expect((await job(steps)).reused[0]).toBe(false)
    const { reused, said } = await job(steps)
    expect(reused[0], said).toBe(true)
  })

  it('`pool status --json` has the shape that docs/command.md shows, and nothing to warn of', async () => {
    const [, url = ''] = /TICKETKEEP_POOL='(.*)'/.exec(written('sh')[0]!.text) ?? []
    const { said } = await job([{ script: 'ticketkeep pool status --json', env: { TICKETKEEP_POOL: url } }])
    expectShape(JSON.parse(said), JSON.parse(shape!.text), 'pool')
    expect(JSON.parse(said)).toMatchObject({ warnings: [], eviction: 'volatile-ttl', appendOnly: false })
  })
})
