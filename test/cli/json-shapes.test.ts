import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/help.ts'
import { peerOf } from '../../src/host-port.ts'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { blocksOf } from '../support/blocks.ts'
import { createAuthority } from '../support/pki.ts'
import { expectShape } from '../support/shape.ts'
import { masterKey, ticket } from '../support/tickets.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { cleanEnv, scratchDirectory, start, useInstalled } from './kit.ts'

// The output of `--json` has the shape that docs/command.md shows: the same fields, with values of the same type or null.

const documented: Record<string, unknown> = {}
for (const { heading, text } of blocksOf('test/cli/json-shapes.test.ts'))
  documented[heading] = JSON.parse(text)

const installed = useInstalled()
let server: TlsServer
let ca: string
beforeAll(async () => {
  const authority = await createAuthority()
  ca = join(scratchDirectory(), 'ca.pem')
  writeFileSync(ca, authority.cert)
  server = await startTlsServer({ ...(await authority.issue()), version: 'TLSv1.2' })
  return () => server.close()
})

/** A home with tickets, and a server that failed. */
function newHome() {
  const home = scratchDirectory()
  const directory = join(home, 'tickets')
  const now = Math.floor(Date.now() / 1000)
  const store = new TicketStore({
    directory,
    subkeys: deriveSubkeys(masterKey(1)),
    cipher: 'xsalsa20-poly1305',
  })
  store.save(peerOf('a.example', 443), [ticket(1, now, { binding: 'b' })], now)
  store.failures.failed(peerOf('b.example', 443), undefined, 'ECONNRESET', now)
  const key = {
    TICKETKEEP_KEY_SOURCE: 'variable',
    TICKETKEEP_KEY: Buffer.from(masterKey(1)).toString('base64'),
  }
  return {
    home,
    env: cleanEnv({ HOME: home, TICKETKEEP_DIR: directory, ...key, NODE_EXTRA_CA_CERTS: ca }),
  }
}

/** `run` is tested in `run.test.ts`, `rotate-key` in `keychain.test.ts`, and `pool` in `docs-fleet.test.ts`. */
const CALLS: Record<string, (home: string) => string[]> = {
  Errors: () => ['stauts'],
  init: () => ['init'],
  env: () => ['env'],
  status: () => ['status'],
  doctor: () => ['doctor'],
  policy: () => ['policy', 'check'],
  list: () => ['list'],
  probe: () => ['probe', `localhost:${server.port}`, '--count', '1'],
  import: (home) => {
    const file = join(home, 'plain.json')
    writeFileSync(file, '{"magic":"aube-tls-tickets/v1","entries":[]}')
    return ['import', file]
  },
  invalidate: () => ['invalidate', 'a.example:443'],
  prune: () => ['prune'],
  purge: () => ['purge'],
  precompile: () => ['precompile'],
  completion: () => ['completion', 'bash'],
  version: () => ['version'],
}

it.each(Object.keys(CALLS))('the JSON of %s has the documented shape', async (name) => {
  const { home, env } = newHome()
  const { stdout } = await start(installed, [...CALLS[name]!(home), '--json'], env).ended
  const actual = JSON.parse(stdout)
  if (name !== 'Errors') expect(actual).not.toHaveProperty('error')
  expectShape(actual, documented[name], name)
})

it('every command with its own JSON is documented', () => {
  const elsewhere = ['run', 'rotate-key', 'pool']
  const all = [...Object.keys(COMMANDS).filter((name) => !elsewhere.includes(name)), 'Errors', 'version']
  expect(Object.keys(documented)).toEqual(expect.arrayContaining(all))
  expect(Object.keys(documented).sort()).toEqual(Object.keys(CALLS).sort())
})
