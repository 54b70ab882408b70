// A program for Node on Windows, run by windows.test.ts. It uses the store on a Windows file system and prints one line of JSON
// for each step.
import { existsSync, mkdtempSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostPort } from '../../src/host-port.ts'
import { purge, usage } from '../../src/store/bounds.ts'
import { TicketStore, type TicketStoreOptions } from '../../src/store/ticket-store.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const NOW = Math.floor(Date.now() / 1000)
const directory = join(mkdtempSync(join(tmpdir(), 'ticketkeep-')), 'tls-tickets')
const peer = hostPort('example.com', 443)
const step = (name: string, value: unknown) => console.log(JSON.stringify({ name, value }))
const open = (options: Partial<TicketStoreOptions> = {}) =>
  new TicketStore({ directory, subkeys: subkeys(1), cipher: 'xsalsa20-poly1305', ...options })
/** How many tickets a new process gets. */
const taken = (options?: Partial<TicketStoreOptions>) => open(options).take(peer, '', NOW).length

const store = open()
const three = [1, 2, 3].map((seed) => ticket(seed, NOW + seed - 3, { spkiFp: new Uint8Array(32) }))
step('saved', [store.save(peer, three, NOW), store.problem ?? 'no problem', usage(directory).files])
step('listed', store.list(NOW).length)
step('taken', [taken(), taken(), usage(directory).files])

const reusable = [ticket(4, NOW, { protocol: 'TLSv1.2' })]
step('replaced', [open().save(peer, reusable, NOW), open().save(peer, reusable, NOW), usage(directory).files])
step('read and left', [taken(), taken()])
step('after a rotation', taken({ subkeys: subkeys(2), previous: [subkeys(1)], cipher: 'aes-256-gcm' }))
step('with another key', taken({ subkeys: subkeys(3) }))
step('invalidated', [open().invalidate(peer), open().list(NOW).length])

open().save(peer, [ticket(5, NOW)], NOW)
for (const name of readdirSync(directory)) utimesSync(join(directory, name), NOW - 90_000, NOW - 90_000)
step('pruned', open().prune(NOW))

open().save(peer, [ticket(6, NOW)], NOW)
writeFileSync(join(directory, 'foreign'), '')
step('purged', [purge(directory), readdirSync(directory), existsSync(directory)])
