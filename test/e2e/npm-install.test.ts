import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import { startHelloLog } from '../support/hello-log.ts'
import { describeWith, missingClients, missingCommands, missingNode } from '../support/missing.ts'
import { type Nginx, startNginx, type TlsVersion } from '../support/nginx.ts'
import { clientScript, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { CLI } from '../support/places.ts'
import { type Registry, ROOT_PACKAGE, startRegistry } from '../support/registry.ts'
import { createSandbox, runCommand, type Sandbox } from '../support/run-program.ts'
import { POOL_PASSWORD, startValkey } from '../support/valkey.ts'

type Client = keyof typeof CLIENTS

const CLIENTS = {
  npm: [clientScript('npm/bin/npm-cli.js'), 'install', ROOT_PACKAGE],
  pnpm: [clientScript('pnpm/bin/pnpm.cjs'), 'add', ROOT_PACKAGE],
  yarn: [clientScript('yarn/bin/yarn.js'), 'add', ROOT_PACKAGE, '--non-interactive', '--no-progress'],
}

const needs = [missingCommands('nginx'), missingNode('24'), missingClients()]

describeWith(needs, 'a stock package manager resumes every connection of its second install', () => {
  let nginx: Nginx
  let proxy: ConnectProxy
  let registry: Registry
  let sandbox: Sandbox
  let cafile: string

  beforeAll(async () => {
    const ca = await createAuthority()
    registry = await startRegistry()
    nginx = await startNginx({ ...(await ca.issue({ keyType: 'rsa' })), upstream: registry.url })
    proxy = await startConnectProxy()
    sandbox = createSandbox()
    cafile = sandbox.write('ca.pem', ca.cert)
  })
  afterAll(async () => {
    await nginx?.stop()
    await proxy?.close()
    await registry?.stop()
    sandbox?.remove()
  })

  interface Case {
    client: Client
    version: TlsVersion
    line?: NodeLine
    proxied?: boolean
    /** The URL of a pool, for `ticketkeep run`, which itself has no preload. */
    pool?: string
  }

  /** Installs into an empty project with an empty cache. */
  async function installs({ client, version, line = '24', proxied, pool }: Case, tickets: string | false) {
    await nginx.requests()
    const before = proxy.tunnels.length
    const project = mkdtempSync(join(sandbox.directory, 'project-'))
    const home = join(project, '.home')
    mkdirSync(home)
    writeFileSync(join(project, 'package.json'), '{"name":"project","version":"1.0.0"}')
    const settings = [`registry=https://localhost:${nginx.ports[version]}/`, `cafile=${cafile}`]
    if (proxied) settings.push(`https-proxy=${proxy.url}`)
    writeFileSync(join(project, '.npmrc'), `${settings.join('\n')}\n`)
    const outcome = await runCommand(
      {
        sandbox,
        cwd: project,
        preload: tickets !== false && !pool,
        env: { HOME: home, TICKETKEEP_DIR: tickets || undefined, TICKETKEEP_POOL: pool },
        timeoutMs: 60_000,
      },
      [...(pool ? [nodeBinary(line), CLI, 'run', '--'] : []), nodeBinary(line), ...CLIENTS[client]],
    )
    expect(outcome).toMatchObject({ status: 0, signal: null })
    const connections = new Map<number, string>()
    for (const { connection, reused } of await nginx.requests(1)) connections.set(connection, reused)
    return {
      tree: treeOf(join(project, 'node_modules')),
      reused: [...connections.values()],
      tunnels: proxy.tunnels.length - before,
    }
  }

  const cases: Case[] = [
    { client: 'npm', version: 'TLSv1.2', line: '20' },
    { client: 'npm', version: 'TLSv1.3', line: '20' },
    { client: 'npm', version: 'TLSv1.2' },
    { client: 'npm', version: 'TLSv1.3' },
    { client: 'npm', version: 'TLSv1.3', proxied: true },
    { client: 'pnpm', version: 'TLSv1.2' },
    { client: 'pnpm', version: 'TLSv1.3' },
    { client: 'pnpm', version: 'TLSv1.3', proxied: true },
    { client: 'yarn', version: 'TLSv1.2' },
    { client: 'yarn', version: 'TLSv1.3' },
    { client: 'yarn', version: 'TLSv1.3', proxied: true },
  ]

  it.each(cases.map((one) => [describeCase(one), one] as const))('%s', async (name, one) => {
    const tickets = join(sandbox.directory, name.replaceAll(' ', '-'))
    const without = await installs(one, false)
    const first = await installs(one, tickets)
    const second = await installs(one, tickets)

    expect(Object.keys(without.tree).length).toBeGreaterThan(40)
    expect([first.tree, second.tree]).toEqual([without.tree, without.tree])
    expect(first.reused).toContain('.')
    expect(second.reused.length).toBeGreaterThan(one.client === 'npm' ? 10 : 1)
    expect(second.reused).toEqual(second.reused.map(() => 'r'))
    if (one.proxied) expect(second.tunnels).toBeGreaterThanOrEqual(second.reused.length)
  })

  for (const server of ['redis-server', 'valkey-server'] as const) {
    const missing = missingCommands(server)
    it.skipIf(missing)(
      `npm on the second of two runners with empty homes, through a pool on ${server}`,
      async () => {
        const ca = await createAuthority()
        const pool = await startValkey({ authority: ca, server })
        const place = `127.0.0.1:${pool.port}?ca=${sandbox.write('pool-ca.pem', ca.cert)}&budget=30000`
        const url = `valkeys://:${POOL_PASSWORD}@${place}`
        const one: Case = { client: 'npm', version: 'TLSv1.3', pool: url }
        const [first, second] = [
          await installs(one, join(sandbox.directory, `${server}-1`)),
          await installs(one, join(sandbox.directory, `${server}-2`)),
        ]
        await pool.stop()
        expect(second.tree).toEqual(first.tree)
        expect(first.reused).toContain('.')
        expect(second.reused.length).toBeGreaterThan(10)
        // As many as the first runner gave tickets for, since it made fewer full handshakes than connections.
        expect(second.reused[0]).toBe('r')
        const resumed = second.reused.filter((one) => one === 'r')
        expect(resumed.length).toBeGreaterThan(second.reused.length / 2)
      },
    )
  }
})

describeWith(needs, 'npm with a registry that allows P-256 alone', () => {
  it('needs one ClientHello for each connection of an install but the first', async () => {
    const ca = await createAuthority()
    const registry = await startRegistry()
    const identity = await ca.issue({ keyType: 'rsa' })
    const nginx = await startNginx({ ...identity, upstream: registry.url, groups: 'prime256v1' })
    const log = await startHelloLog(nginx.ports['TLSv1.3'])
    const sandbox = createSandbox()
    const project = join(sandbox.directory, 'project')
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), '{"name":"project","version":"1.0.0"}')
    const settings = [`registry=https://localhost:${log.port}/`, `cafile=${sandbox.write('ca.pem', ca.cert)}`]
    writeFileSync(join(project, '.npmrc'), `${settings.join('\n')}\n`)
    try {
      const hellos = async (preload: boolean) => {
        const env = { HOME: mkdtempSync(join(sandbox.directory, 'home-')) }
        const argv = [nodeBinary('24'), ...CLIENTS.npm]
        const outcome = await runCommand({ sandbox, cwd: project, preload, env, timeoutMs: 60_000 }, argv)
        expect(outcome).toMatchObject({ status: 0, signal: null })
        for (const made of ['node_modules', 'package-lock.json'])
          rmSync(join(project, made), { recursive: true })
        return log.take().map(({ length }) => length)
      }
      const without = await hellos(false)
      const [first, ...others] = await hellos(true)
      expect(without.length).toBeGreaterThan(10)
      expect(without).toEqual(without.map(() => 2))
      expect([first, others]).toEqual([2, others.map(() => 1)])
    } finally {
      await log.close()
      await nginx.stop()
      await registry.stop()
      sandbox.remove()
    }
  })
})

const describeCase = (one: { client: Client; version: TlsVersion; line?: NodeLine; proxied?: boolean }) =>
  `${one.client} ${one.version} on Node ${one.line ?? '24'}${one.proxied ? ' through a proxy' : ''}`

/** Every installed file with its mode and content, without the metadata of the clients, which has times and paths. */
function treeOf(folder: string): Record<string, string> {
  const notes = /(^|\/)\.(modules\.yaml|pnpm-workspace-state.*\.json|yarn-integrity)$/
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => !notes.test(name) && statSync(join(folder, name)).isFile())
    .sort()
  return Object.fromEntries(
    files.map((name) => {
      const path = join(folder, name)
      const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
      return [name, `${statSync(path).mode.toString(8)} ${digest}`]
    }),
  )
}
