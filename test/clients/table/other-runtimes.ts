import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DIST } from '../../support/places.ts'
import { ROOT_PACKAGE } from '../../support/registry.ts'
import { type Client, inRuntimes } from '../client.ts'
import { registryFiles } from './package-managers.ts'
import { fileOf } from './runners.ts'

const BUN = inRuntimes('@oven/bun-linux-x64/bin/bun')
const DENO = inRuntimes('@deno/linux-x64-glibc/deno')

const TICKETKEEP = JSON.stringify(pathToFileURL(join(DIST, 'index.js')).href)
/** Modules that run in Bun and in Deno. */
const PROGRAMS = {
  fetch: `
    import process from 'node:process'
    console.log(await (await fetch(process.env.TEST_URL)).text())`,
  'node:https': `
    import https from 'node:https'
    import process from 'node:process'
    https.get(process.env.TEST_URL, (response) => response.pipe(process.stdout))`,
  'the library': `
    import { readFileSync } from 'node:fs'
    import https from 'node:https'
    import process from 'node:process'
    import { connect, TicketAgent } from ${TICKETKEEP}
    const { TEST_URL: url, NODE_EXTRA_CA_CERTS: file } = process.env
    const ca = readFileSync(file, 'utf8')
    const { hostname: host, port } = new URL(url)
    const socket = connect({ host, port: Number(port), servername: host, ca }, () => {
      socket.end()
      https.get(url, { agent: new TicketAgent({ ca }) }, (response) => response.pipe(process.stdout))
    })`,
}

const runtime = (name: string, packageName: string, more: Partial<Client>): Client => ({
  name,
  speaks: 'https',
  oneServer: true,
  nodes: ['24'],
  isNative: true,
  package: { name: packageName, set: 'runtimes' },
  ...more,
})

const programsIn = (name: string, ...command: [string, ...string[]]) =>
  Object.entries(PROGRAMS).map(([what, source]) =>
    runtime(`${name} (${what})`, name.toLowerCase(), {
      files: fileOf('main.mjs', source),
      command: () => [...command, 'main.mjs'],
    }),
  )

export const OTHER_RUNTIMES: Client[] = [
  runtime('pnpm 12', 'pnpm', {
    speaks: 'registry',
    files: registryFiles,
    output: /dependencies:\n.*?1\.0\.0/s,
    command: () => [inRuntimes('@pnpm/exe.linux-x64/pnpm'), 'add', ROOT_PACKAGE],
  }),
  runtime('bun add', 'bun', {
    speaks: 'registry',
    files: registryFiles,
    output: /installed .*/s,
    command: () => [BUN, 'add', ROOT_PACKAGE],
  }),
  ...programsIn('Bun', BUN),
  ...programsIn('Deno', DENO, 'run', '--allow-all', '--quiet'),
]
