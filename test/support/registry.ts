import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clientScript, nodeBinary } from './pinned.ts'
import { freePort, waitForPort } from './ports.ts'
import { createSandbox, environment, runCommand } from './run-program.ts'

export interface Registry {
  /** `http://address:port`. Tests put nginx in front, which adds TLS. */
  readonly url: string
  stop(): Promise<void>
}

/** The package that tests install. It depends on all the others. */
export const ROOT_PACKAGE = 'tk-root'
const DEPENDENCIES = Array.from({ length: 20 }, (_, i) => `tk-part-${i + 1}`)

/**
 * Verdaccio with a few packages that the npm client has published to it, and without access to another registry.
 * @param place.address the address to listen on
 * @param place.inside words before a command, which then runs in the namespace of that address
 */
export async function startRegistry(
  place: { readonly address: string; readonly inside: readonly string[] } = {
    address: '127.0.0.1',
    inside: [],
  },
): Promise<Registry> {
  const { address, inside } = place
  const sandbox = createSandbox()
  const port = await freePort()
  const url = `http://${address}:${port}`
  const words = (...command: string[]) => [...inside, ...command] as [string, ...string[]]
  const config = sandbox.write('verdaccio.yaml', CONFIG)
  const options = { sandbox, preload: false, env: { TICKETKEEP_DISABLE: '1' } }
  const [command, ...args] = words(
    nodeBinary('24'),
    clientScript('verdaccio/bin/verdaccio'),
    ...['--config', config, '--listen', `${address}:${port}`],
  )
  const verdaccio = spawn(command, args, {
    cwd: sandbox.directory,
    env: environment(options),
    stdio: 'ignore',
  })
  const ended = new Promise((done) => verdaccio.once('exit', done).once('error', done))
  const stop = async () => {
    verdaccio.kill('SIGTERM')
    await ended
    sandbox.remove()
  }
  if (!(await waitForPort(port, 30_000, address))) {
    await stop()
    throw new Error('Verdaccio did not start')
  }
  writeWorkspace(join(sandbox.directory, 'workspace'), `${address}:${port}`)
  const publish = await runCommand(
    { ...options, cwd: join(sandbox.directory, 'workspace'), timeoutMs: 120_000 },
    words(
      nodeBinary('24'),
      clientScript('npm/bin/npm-cli.js'),
      ...['publish', '--workspaces', '--loglevel=error'],
    ),
  )
  if (publish.status !== 0) {
    await stop()
    throw new Error(`npm could not publish the test's packages: ${publish.stderr}`)
  }
  return { url, stop }
}

function writeWorkspace(folder: string, registry: string) {
  const manifests = [
    ...DEPENDENCIES.map((name) => ({ name, version: '1.0.0' })),
    {
      name: ROOT_PACKAGE,
      version: '1.0.0',
      dependencies: Object.fromEntries(DEPENDENCIES.map((n) => [n, '1.0.0'])),
    },
  ]
  for (const manifest of manifests) {
    mkdirSync(join(folder, manifest.name), { recursive: true })
    writeFileSync(join(folder, manifest.name, 'package.json'), JSON.stringify(manifest))
    writeFileSync(
      join(folder, manifest.name, 'index.js'),
      `module.exports = '${manifest.name}'\n`.repeat(200),
    )
  }
  const workspaces = manifests.map(({ name }) => name)
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'tk-workspace', private: true, workspaces }),
  )
  // npm does not publish without a token. This Verdaccio lets everybody publish.
  writeFileSync(join(folder, '.npmrc'), `registry=http://${registry}/\n//${registry}/:_authToken=anybody\n`)
}

const CONFIG = `
storage: ./storage
uplinks: {}
packages:
  '**':
    access: $all
    publish: $all
publish:
  keep_readmes: latest
web:
  enable: false
log: { type: stdout, format: pretty, level: error }
`
