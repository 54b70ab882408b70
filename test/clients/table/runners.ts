import { type Client, inLibraries, type Place } from '../client.ts'

// Each makes one request with `https.get`, in the process or thread in which the runner runs code.

const GET = `
const https = require('node:https')
const get = () => new Promise((done, fail) =>
  https.get(process.env.TEST_URL, (response) => response.on('data', (text) => done(String(text)))).on('error', fail))
`
const PRINT = `${GET}
get().then((text) => process.stdout.write(text))`
const JEST_TEST = `${GET}
it('gets', async () => expect(await get()).toBe('hello\\n'))`
const THROWING_TEST = `${GET}
it('gets', async () => { if ((await get()) !== 'hello\\n') throw new Error() })`
const VITEST_TEST = `
import { createRequire } from 'node:module'
import { expect, it } from '${inLibraries('vitest/dist/index.js')}'
const require = createRequire(import.meta.url)
${JEST_TEST}`
const IN_CLUSTER = `
const cluster = require('node:cluster')
${GET}
if (cluster.isPrimary) cluster.fork()
else get().then((text) => process.stdout.write(text, () => cluster.worker.disconnect()))`
const IN_WORKER = `
const { isMainThread, Worker } = require('node:worker_threads')
if (isMainThread) new Worker(__filename)
else {${PRINT}}`

/** A project with one file. */
export const fileOf = (name: string, body: string) => (_: Place) => ({ 'package.json': '{}', [name]: body })

const runner = (name: string, more: Partial<Client>, packageName = name): Client => ({
  name,
  speaks: 'https',
  oneServer: true,
  package: { name: packageName, set: 'libraries' },
  ...more,
})

const vitest = (pool: string) =>
  runner(
    `vitest (${pool})`,
    {
      output: /Tests {2}.*/,
      files: fileOf('one.test.mjs', VITEST_TEST),
      command: ({ node }) => [
        node,
        inLibraries('vitest/vitest.mjs'),
        'run',
        '--testTimeout=60000',
        `--pool=${pool}`,
      ],
    },
    'vitest',
  )

export const RUNNERS: Client[] = [
  runner('tsx', {
    files: fileOf('main.ts', PRINT),
    command: ({ node }) => [node, inLibraries('tsx/dist/cli.mjs'), 'main.ts'],
  }),
  runner('ts-node', {
    files: (place) => ({
      ...fileOf('main.ts', PRINT)(place),
      'tsconfig.json': '{ "compilerOptions": { "module": "commonjs", "moduleResolution": "node" } }',
    }),
    command: ({ node }) => [node, inLibraries('ts-node/dist/bin.js'), '--transpile-only', 'main.ts'],
  }),
  runner('mocha', {
    output: /\d+ passing/,
    files: fileOf('one.cjs', THROWING_TEST),
    command: ({ node }) => [node, inLibraries('mocha/bin/mocha.js'), '--timeout=60000', 'one.cjs'],
  }),
  runner('jest', {
    output: /Tests:.*/,
    files: fileOf('one.test.js', JEST_TEST),
    command: ({ node }) => [node, inLibraries('jest/bin/jest.js'), '--testTimeout=60000'],
  }),
  runner(
    'jest (workers)',
    {
      output: /Tests:.*/,
      files: () => ({ 'package.json': '{}', 'one.test.js': JEST_TEST, 'two.test.js': JEST_TEST }),
      command: ({ node }) => [node, inLibraries('jest/bin/jest.js'), '--testTimeout=60000', '--maxWorkers=2'],
    },
    'jest',
  ),
  vitest('forks'),
  vitest('threads'),
  {
    name: 'node --test',
    speaks: 'https',
    oneServer: true,
    output: /pass \d+/,
    files: fileOf('one.test.cjs', `const { it } = require('node:test')\n${THROWING_TEST}`),
    command: ({ node }) => [node, '--test'],
  },
  {
    name: 'node:cluster',
    speaks: 'https',
    oneServer: true,
    files: fileOf('main.cjs', IN_CLUSTER),
    command: ({ node }) => [node, 'main.cjs'],
  },
  {
    name: 'node:worker_threads',
    speaks: 'https',
    oneServer: true,
    files: fileOf('main.cjs', IN_WORKER),
    command: ({ node }) => [node, 'main.cjs'],
  },
  runner('pm2', {
    output: /hello/,
    files: fileOf('main.cjs', PRINT),
    // Its exit status is sometimes 0 and sometimes 2, even without ticketkeep.
    command: ({ node }) => [
      ...['sh', '-c', '"$@" || true', 'sh'],
      ...[node, inLibraries('pm2/bin/pm2-runtime'), 'start', 'main.cjs', '--no-autorestart'],
    ],
  }),
]
