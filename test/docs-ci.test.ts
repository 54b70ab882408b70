import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Block, blocksOf } from './support/blocks.ts'
import { pathWithCommands } from './support/commands.ts'
import { createAuthority } from './support/pki.ts'
import { stepsOf } from './support/recipes.ts'
import { createSandbox, runCommand, type Sandbox, TEST_KEY } from './support/run-program.ts'
import { startTlsServer, type TlsServer } from './support/tls-server.ts'

// The shell lines of the recipes of `docs/ci.md`, from a clean home. npm stands for a program that makes one connection:
// `e2e/npm-install` has the real one. The build systems themselves cannot be had here.

const blocks = blocksOf('test/docs-ci.test.ts')

/** What a build system would give to a shell, one script for each step. */
const STEPS: Record<string, (text: string) => string[]> = {
  sh: (text) => [text],
  yaml: (text) => stepsOf(text).map(({ script }) => script),
  groovy: (text) => matches(text, /sh '(.*)'/g),
  dockerfile: (text) =>
    matches(text.replaceAll('\\\n', ''), /^RUN (.*)$/gm).map((line) => line.replace(/--mount=\S+/g, '')),
}

const matches = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, found = '']) => found)

let server: TlsServer
let ca: string
beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  const identity = await authority.issue({ names: ['localhost'] })
  server = await startTlsServer({ ...identity, kind: 'http2', allowHTTP1: true } as never)
})
afterAll(() => server?.close())

let sandbox: Sandbox
let path: string
beforeEach(() => {
  sandbox = createSandbox()
  path = pathWithCommands(sandbox, `https://localhost:${server.port}/`)
})
afterEach(() => sandbox.remove())

/** Where the recipes say that a key is. */
const KEY_FILE = /\/run\/secrets\/ticketkeep(\/key)?/g

async function run({ text, language }: Block): Promise<boolean[]> {
  const before = server.handshakes.length
  const key = sandbox.write('key', TEST_KEY)
  chmodSync(key, 0o600)
  const value = (name: string) =>
    new RegExp(`name: ${name}\n +value: (.*)`).exec(text)?.[1]?.replace(KEY_FILE, key)
  const keyFile = value('TICKETKEEP_KEY_FILE')
  const env = {
    HOME: sandbox.home,
    XDG_CONFIG_HOME: join(sandbox.home, '.config'), // root’s files would be in /etc
    PATH: path,
    NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca),
    TICKETKEEP_DIR: undefined,
    TICKETKEEP_KEY:
      text.includes('TICKETKEEP_KEY:') || text.includes("'TICKETKEEP_KEY'") ? TEST_KEY : undefined,
    ...(keyFile ? { TICKETKEEP_KEY_FILE: keyFile } : {}),
  }
  for (const step of STEPS[language]!(text)) {
    const script = step.replaceAll(KEY_FILE, key)
    const ran = await runCommand({ sandbox, preload: false, env }, ['bash', '-euo', 'pipefail', '-c', script])
    expect({ script, status: ran.status, stderr: ran.status === 0 ? '' : ran.stderr }).toEqual({
      script,
      status: 0,
      stderr: '',
    })
  }
  return server.handshakes.slice(before).map(({ reused }) => reused)
}

it.each(blocks.map((block, i) => [`${block.heading}, block ${i + 1} (${block.language})`, block] as const))(
  '%s',
  async (_name, block) => {
    const resumed = await run(block)
    expect(resumed.filter(Boolean)).toHaveLength(Math.max(0, resumed.length - 1))
  },
)

it('most recipes make two connections, of which the second is resumed', async () => {
  const counts = blocks.map(
    ({ text, language }) =>
      (
        STEPS[language]!(text)
          .join('\n')
          .match(/npm (ci|publish)/g) ?? []
      ).length,
  )
  expect(counts.filter((count) => count === 2).length).toBeGreaterThanOrEqual(5)
})
