// A program for Node on Windows (see windows.test.ts beside it): the store on a Windows file system, one line
// of JSON a step.
import { existsSync, mkdtempSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostPort } from '../../src/host-port.ts'
import { prune, purge } from '../../src/store/bounds.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const NOW = Math.floor(Date.now() / 1000)
const directory = join(mkdtempSync(join(tmpdir(), 'ticketkeep-')), 'tls-tickets')
const peer = hostPort('example.com', 443)
const step = (name: string, value: unknown) => console.log(JSON.stringify({ name, value }))
const first = (of: TicketStore) => of.take(peer, '', NOW)[0]?.ticket[0]
const newStore = () => new TicketStore({ directory, subkeys: subkeys(1), cipher: 'xsalsa20-poly1305' })

const store = newStore()
step(
  'saved',
  [1, 2, 3].map((seed) => store.save(peer, [ticket(seed, NOW + seed - 3)], NOW)),
)
step('listed', store.list(NOW).length)
step(
  'taken',
  [first(store), first(store), first(store), first(store)].map((byte) => byte !== undefined),
)
step(
  'reusable',
  [1, 2].map(() => store.save(peer, [ticket(4, NOW, { protocol: 'TLSv1.2' })], NOW)),
)
step(
  'read and left',
  [first(newStore()), first(newStore())].map((byte) => byte !== undefined),
)
const rotated = new TicketStore({
  directory,
  subkeys: subkeys(2),
  previous: [subkeys(1)],
  cipher: 'aes-256-gcm',
})
step('rotated', first(rotated) !== undefined)
step(
  'another key',
  first(new TicketStore({ directory, subkeys: subkeys(3), cipher: 'aes-256-gcm' })) === undefined,
)
store.invalidate(peer)
step('invalidated', store.list(NOW).length)
store.save(peer, [ticket(5, NOW)], NOW)
for (const name of readdirSync(directory)) utimesSync(join(directory, name), NOW - 90_000, NOW - 90_000)
step('pruned', prune(directory, NOW))
store.save(peer, [ticket(6, NOW)], NOW)
writeFileSync(join(directory, 'foreign'), '')
step('purged', [purge(directory), readdirSync(directory)])
step('still there', existsSync(directory))
