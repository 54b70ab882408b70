// Run by slow-store.test.ts: a program that takes a batch of one host and stores one.
import fs, { writeSync } from 'node:fs'
import { SlowStore } from '../../src/store/slow-store.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { subkeys, ticket } from '../support/tickets.ts'

let memoryCalls = 0
for (const name of ['lstatSync', 'readlinkSync', 'symlinkSync', 'unlinkSync'] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (args.some((arg) => String(arg).startsWith('/dev/shm'))) memoryCalls++
      return original(...args)
    },
  })
}

const [directory] = process.argv.slice(2) as [string]
const store = new TicketStore({
  directory,
  subkeys: subkeys(),
  cipher: 'aes-256-gcm',
  slowStore: new SlowStore(directory),
})
const now = Math.floor(Date.now() / 1000)
const peer = { host: 'one.test', port: 443 }

const started = process.hrtime.bigint()
const taken = store.take(peer, '', now).length
const saved = store.save(peer, [ticket(1, now)], now)
const ms = Number(process.hrtime.bigint() - started) / 1e6
writeSync(1, JSON.stringify({ ms, taken, saved, problem: store.problem, memoryCalls }))
