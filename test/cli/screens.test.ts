import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { describe as describeProbe } from '../../src/cli/commands/probe.ts'
import { COMMANDS, helpForAll } from '../../src/cli/help.ts'
import { renderText } from '../../src/cli/render.ts'
import { peerOf } from '../../src/host-port.ts'
import { readKeyText } from '../../src/keys/key-text.ts'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { PEER, verified } from '../pool/kit.ts'
import { missingCommands } from '../support/missing.ts'
import { createAuthority } from '../support/pki.ts'
import { PRELOAD, ROOT } from '../support/places.ts'
import { ticket } from '../support/tickets.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { POOL_PASSWORD, startValkey, type Valkey } from '../support/valkey.ts'
import { cleanEnv, type Installed, install, scratchDirectory, start } from './kit.ts'

// Makes docs/screens.md, and fails where that is out of date. `npx vitest run test/cli/screens.test.ts -u` writes it.

let installed: Installed
beforeAll(async () => {
  installed = await install('plain', readFileSync(PRELOAD, 'utf8'))
})

/** No keychain of whoever runs the tests is asked. */
const ONLY_FILE = { TICKETKEEP_KEY_SOURCE: 'file' }

const KEY = Buffer.alloc(32, 7).toString('base64')

/** A home of `ann`, and what a command prints in it, as on her machine. */
function newHome() {
  const home = scratchDirectory()
  const cache = join(home, '.cache')
  const common = { HOME: home, XDG_CACHE_HOME: cache, XDG_RUNTIME_DIR: join(home, 'run'), LOGNAME: 'ann' }
  const asAnn = (text: string) =>
    text
      .replaceAll(home, '/home/ann')
      .replaceAll(installed.directory, '/usr/lib/node_modules/ticketkeep')
      .replace(/(mode 0700, of ).*$/m, '$1ann')
      .replace(/Node( +)[\d.]+, OpenSSL [\d.]+.*$/m, 'Node$124.21.0, OpenSSL 3.5.8')
      .replace(/Node v[\d.]+ \(\w+\): \d+ KiB/, 'Node v24.21.0 (x64): 312 KiB')
      // Each machine has keychains of its own.
      .replace(/^( {4}keychain +)\S+ +.*$/m, '$1no      cannot be asked: there is no session bus')
      .replace(/^( {4}kernel +)\S+ +.*$/m, '$1no      cannot be asked: this process has no session keyring')
  /** Into a pipe, where nothing depends on how long the real path of the home is. */
  async function screen(words: string, more: Record<string, string> = {}, most?: number): Promise<string> {
    const env = cleanEnv({ ...common, ...more })
    const { stdout, stderr } = await start(installed, words.split(' '), env).ended
    const lines = asAnn(`$ ticketkeep ${words}\n${stdout}${stderr}`).trimEnd().split('\n')
    const shown = most === undefined ? lines : [...lines.slice(0, most + 1), '…']
    return `\`\`\`console\n${shown.join('\n')}\n\`\`\`\n`
  }
  function open(): TicketStore {
    const subkeys = deriveSubkeys(readKeyText(Buffer.from(KEY)) as Uint8Array)
    const directory = join(cache, 'ticketkeep', 'tls-tickets')
    return new TicketStore({ directory, subkeys, cipher: 'xsalsa20-poly1305' })
  }
  function store(): void {
    const now = Math.floor(Date.now() / 1000)
    const store = open()
    // In the middle of a minute, so that it stays the same one.
    const put = (host: string, seed: number, age: number, protocol = 'TLSv1.3') =>
      store.save(peerOf(host, 443), [ticket(seed, now - age, { binding: 'b', protocol } as never)], now)
    put('registry.npmjs.org', 1, 2 * 3600 + 30)
    put('api.example.com', 2, 9 * 3600 + 630, 'TLSv1.2')
    store.failures.failed(peerOf('old.example.com', 443), undefined, 'ECONNRESET', now - 20 * 3600 - 30)
  }
  return { home, config: join(home, '.config/ticketkeep'), screen, open, store }
}

const measured = {
  address: '192.0.2.1',
  rounds: 5,
  resumedRounds: 5,
  ticketsPerConnection: 2,
  lifetimeHintSecs: 7200,
  keepable: true,
  roundTripMs: 50.4,
}

/** What `probe` prints of a measurement: a real one is not the same twice. */
function probe(protocol: string, saved: 0 | 1, resumedMs: number, width = 80): string {
  const full = { handshakeMs: 106.8, cpuMs: 2.4, bytesReceived: 4812 }
  const resumed = { handshakeMs: resumedMs, cpuMs: 0.6, bytesReceived: 312 }
  const all = { ...measured, protocol, full, resumed, roundTripsSaved: saved }
  const blocks = describeProbe(peerOf('registry.example.com', 443), all, null)
  return `\`\`\`console\n$ ticketkeep probe https://registry.example.com\n${renderText(blocks, width).trimEnd()}\n\`\`\`\n`
}

const CLIENT = `
const { get } = require('node:https')
get(process.argv[2], (response) => response.resume())
`

/** A real program and a real server, in a home of their own. */
async function running(server: TlsServer, ca: string): Promise<string[]> {
  const { home, screen } = newHome()
  const program = join(home, 'client.cjs')
  writeFileSync(program, CLIENT)
  const env = {
    TICKETKEEP_KEY: KEY,
    NODE_EXTRA_CA_CERTS: ca,
    PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
  }
  const words = `run --summary -- node ${program} https://localhost:${server.port}/`
  const asShown = (text: string) => text.replaceAll(/localhost:\d+/g, 'api.example.com')
  return [asShown(await screen(words, env)), asShown(await screen(words, env))]
}

/** The same with a real pool. What differs from server to server is as on one of them. */
async function fleet(valkey: Valkey, ca: string): Promise<string[]> {
  const { screen, open } = newHome()
  const now = Math.floor(Date.now() / 1000)
  open().save(PEER, [verified(1), verified(2), verified(3)], now)
  const url = `valkeys://ticketkeep:${POOL_PASSWORD}@localhost:${valkey.port}?ca=${ca}&budget=10000`
  const env = { TICKETKEEP_KEY: KEY, TICKETKEEP_POOL: url }
  const asShown = (text: string) =>
    text
      .replace(/answers in .*/, 'answers in 0.4 ms')
      .replace(/^(server +).*$/m, '$1Valkey 8.1.4')
      .replace(/^(memory +).*$/m, '$11 MiB of 512 MiB')
      .replace(/(last snapshot or start: ).*/, '$12026-01-01T12:00')
  const screens = []
  for (const words of ['pool give', 'pool status', 'pool take'])
    screens.push(asShown(await screen(words, env)))
  return screens
}

const missing = process.platform === 'linux' ? missingCommands('redis-server') : 'for Linux'

it.skipIf(missing)('docs/screens.md shows what the commands print', async () => {
  const { home, screen, store, config } = newHome()
  const page = [
    '# Screens\n\nWhat each command prints into a file, and some on terminals. The tests write this page.\n',
    `\`\`\`console\n$ ticketkeep help\n${renderText(helpForAll(), 80).trimEnd()}\n\`\`\`\n`,
    await screen('help purge'),
    '## A new user\n',
    await screen('init', ONLY_FILE),
    await screen('init --key-file'),
  ]
  writeFileSync(join(config, 'key'), `${KEY}\n`)
  page.push(await screen('env'), await screen('status'), '## With tickets\n')
  store()
  for (const words of ['list', 'status', 'doctor', 'rotate-key']) page.push(await screen(words))
  page.push(probe('TLSv1.2', 1, 54.1))
  for (const words of ['invalidate api.example.com', 'invalidate api.example.com', 'prune', 'precompile'])
    page.push(await screen(words))
  const plaintext = join(home, 'tls-tickets.json')
  writeFileSync(plaintext, '{"magic":"aube-tls-tickets/v1","entries":[]}')
  page.push(await screen(`import ${plaintext}`), await screen('purge', ONLY_FILE))
  writeFileSync(join(home, 'draft.json'), '{"denyHosts":["*.bank.example"],"maxAgeSeconds":14400}')
  page.push(
    '## Other commands\n',
    await screen(`policy check ${join(home, 'draft.json')}`),
    await screen('policy check'),
  )
  page.push(await screen('completion bash', {}, 4), await screen('version'))
  const authority = await createAuthority()
  const ca = join(scratchDirectory(), 'ca.pem')
  writeFileSync(ca, authority.cert)
  const server = await startTlsServer(await authority.issue())
  page.push('## A program, twice\n', ...(await running(server, ca).finally(() => server.close())))
  const valkey = await startValkey({
    authority,
    config: [
      'maxmemory 512mb',
      'maxmemory-policy volatile-ttl',
      `user ticketkeep on >${POOL_PASSWORD} ~* +@all`,
    ],
  })
  page.push("## A fleet's pool\n", ...(await fleet(valkey, ca).finally(() => valkey.stop())))
  page.push('## Mistakes\n')
  for (const words of ['stauts', 'list --jsn', 'env --shell tcsh', 'probe ftp://registry.example.com'])
    page.push(await screen(words))
  page.push(await screen('stauts --json'))
  store()
  page.push('## On a terminal of 40 columns\n', await screen('list', { COLUMNS: '40' }))
  page.push(await screen('help prune', { COLUMNS: '40' }), probe('TLSv1.2', 1, 54.1, 40))
  const text = page.join('\n')
  const shown = new Set([...text.matchAll(/^\$ ticketkeep (\S+)/gm)].map(([, command]) => command))
  expect(Object.keys(COMMANDS).filter((command) => !shown.has(command))).toEqual([])
  await expect(text).toMatchFileSnapshot(join(ROOT, 'docs/screens.md'))
})
