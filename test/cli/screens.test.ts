import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describe as describeProbe } from '../../src/cli/commands/probe.ts'
import { helpForAll } from '../../src/cli/help.ts'
import { renderText } from '../../src/cli/render.ts'
import { peerOf } from '../../src/host-port.ts'
import { readKeyText } from '../../src/keys/key-text.ts'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { ROOT } from '../support/places.ts'
import { ticket } from '../support/tickets.ts'
import { cleanEnv, scratchDirectory, start, useInstalled } from './kit.ts'

// Makes docs/screens.md, and fails where that is out of date. `npx vitest run test/cli/screens.test.ts -u` writes it.

const installed = useInstalled()

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
  async function screen(words: string, more: Record<string, string> = {}): Promise<string> {
    const env = cleanEnv({ ...common, ...more })
    const { stdout, stderr } = await start(installed, words.split(' '), env).ended
    return `\`\`\`console\n${asAnn(`$ ticketkeep ${words}\n${stdout}${stderr}`).trimEnd()}\n\`\`\`\n`
  }
  function store(): void {
    const now = Math.floor(Date.now() / 1000)
    const subkeys = deriveSubkeys(readKeyText(Buffer.from(KEY)) as Uint8Array)
    const directory = join(cache, 'ticketkeep', 'tls-tickets')
    const store = new TicketStore({ directory, subkeys, cipher: 'xsalsa20-poly1305' })
    // In the middle of a minute, so that it stays the same one.
    const put = (host: string, seed: number, age: number, protocol = 'TLSv1.3') =>
      store.save(peerOf(host, 443), [ticket(seed, now - age, { binding: 'b', protocol } as never)], now)
    put('registry.npmjs.org', 1, 2 * 3600 + 30)
    put('api.example.com', 2, 9 * 3600 + 630, 'TLSv1.2')
    store.failures.failed(peerOf('old.example.com', 443), undefined, 'ECONNRESET', now - 20 * 3600 - 30)
  }
  return { home, config: join(home, '.config/ticketkeep'), screen, store }
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

it.skipIf(process.platform !== 'linux')('docs/screens.md shows what the commands print', async () => {
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
  page.push('## Mistakes\n')
  for (const words of ['stauts', 'list --jsn', 'env --shell tcsh', 'probe ftp://registry.example.com'])
    page.push(await screen(words))
  page.push(await screen('stauts --json'))
  store()
  page.push('## On a terminal of 40 columns\n', await screen('list', { COLUMNS: '40' }))
  page.push(await screen('help prune', { COLUMNS: '40' }), probe('TLSv1.2', 1, 54.1, 40))
  await expect(page.join('\n')).toMatchFileSnapshot(join(ROOT, 'docs/screens.md'))
})
