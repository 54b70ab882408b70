import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { blocksOf } from './support/blocks.ts'
import { pathWithCommands } from './support/commands.ts'
import { findCommand } from './support/missing.ts'
import { createAuthority } from './support/pki.ts'
import { ROOT } from './support/places.ts'
import { createSandbox, runCommand, type Sandbox, TEST_KEY } from './support/run-program.ts'
import { startTlsServer, type TlsServer } from './support/tls-server.ts'

// What README.md and docs/command.md tell people to type, in one shell from top to bottom. After each block a program makes a
// connection, so the server sees what the block has changed for the shell.

const FULL = 'full'
const RESUMED = 'resumed'

/** By its first line, what the server sees of a block, the program after it included. */
const SEEN: Record<string, Record<string, string[]>> = {
  'README.md': {
    'eval "$(ticketkeep env)"': [FULL],
    'ticketkeep run -- npm ci': [RESUMED, RESUMED],
    'eval "$(ticketkeep env --off)"': [FULL],
    'ticketkeep run --summary -- npm ci     # what was resumed, and why the rest was not': [
      RESUMED,
      RESUMED,
      FULL,
    ],
    'ticketkeep purge --everything          # tickets, key and settings': [FULL],
  },
  'docs/command.md': {
    'ticketkeep init': [FULL],
  },
}

let server: TlsServer
let authority: string
beforeAll(async () => {
  const { cert, issue } = await createAuthority()
  authority = cert
  // Over TLS 1.2 a session can be used any number of times.
  server = await startTlsServer({ ...(await issue({ names: ['localhost'] })), version: 'TLSv1.2' })
})
afterAll(() => server?.close())

let sandbox: Sandbox
let env: Record<string, string | undefined>
beforeEach(() => {
  sandbox = createSandbox()
  env = {
    HOME: sandbox.home,
    XDG_CONFIG_HOME: join(sandbox.home, '.config'), // root's files would be in /etc
    PATH: pathWithCommands(sandbox, `https://localhost:${server.port}/`),
    NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', authority),
    TICKETKEEP_DIR: undefined,
    TICKETKEEP_KEY: undefined,
  }
})
afterEach(() => sandbox.remove())

/** Runs it by a shell, and gives what the server has seen. */
async function run(shell: readonly string[], script: string): Promise<string[]> {
  const before = server.handshakes.length
  const { status, stdout, stderr } = await runCommand({ sandbox, preload: false, env }, [
    ...shell,
    '-c',
    script,
  ])
  expect({ status, said: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, said: '' })
  return server.handshakes.slice(before).map(({ reused }) => (reused ? RESUMED : FULL))
}

it.each(Object.keys(SEEN))('%s', async (page) => {
  const blocks = blocksOf('test/docs-shell.test.ts').filter((block) => block.page === page)
  const seen = SEEN[page]!
  expect(blocks.map(({ text }) => text.split('\n')[0])).toEqual(Object.keys(seen))
  const script = blocks.map(({ text }) => `${text}visit`).join('\n')
  env.TICKETKEEP_KEY = TEST_KEY
  expect(await run(['bash', '-euo', 'pipefail'], script)).toEqual(Object.values(seen).flat())
  if (page !== 'README.md') return
  expect(existsSync(join(sandbox.directory, 'page.html'))).toBe(true)
  expect(readdirSync(sandbox.home, { recursive: true })).toEqual([])
})

/** The rows of the tables in docs/command.md that say what to do in which shell. */
const rows = [
  ...readFileSync(join(ROOT, 'docs/command.md'), 'utf8').matchAll(
    /^\| ((?:sh|fish|PowerShell)\b.*?) \|.* `(.*)` \|$/gm,
  ),
].flatMap(([, shells = '', line = '']) =>
  shells.split(', ').map((shell) => ({ shell, line: line.replaceAll('\\|', '|') })),
)

it('there are three such tables, of five shells', () => expect(rows).toHaveLength(15))

it.for(rows)('$shell: $line', async ({ shell, line }, { skip }) => {
  // PowerShell is neither in Debian nor on npm.
  const program = findCommand(shell === 'PowerShell' ? 'pwsh' : shell)
  if (program === undefined) skip(`${shell} is not installed`)
  await run(['sh'], 'ticketkeep init --key-file')
  const isOff = line.includes('--off')
  const on = isOff ? rows.find((row) => row.shell === shell)!.line : line
  const off = isOff ? `\n${line}\nvisit` : ''
  expect(await run([program!], `${on}\nvisit\nvisit${off}`)).toEqual([
    FULL,
    RESUMED,
    ...(isOff ? [FULL] : []),
  ])
})
