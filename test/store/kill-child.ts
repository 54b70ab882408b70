// Run by kills.test.ts: performs one task on a store, and dies before its nth call of fs on the store.
import fs, { writeSync } from 'node:fs'
import type { TicketCache } from '../../src/cache/ticket-cache.ts'
import type { TicketStore } from '../../src/store/ticket-store.ts'
import { masterKey, subkeys, ticket } from '../support/tickets.ts'

const [directory, task, nth] = process.argv.slice(2) as [string, string, string]
let calls = 0
const descriptors = new Set<unknown>()
for (const [name, original] of Object.entries(fs) as [string, unknown][]) {
  if (typeof original !== 'function' || !name.endsWith('Sync')) continue
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      const isOurs = `${args[0]}`.startsWith(directory) || descriptors.has(args[0])
      if (isOurs && ++calls === Number(nth)) process.kill(process.pid, 'SIGKILL')
      const result = original(...args)
      if (isOurs && name === 'openSync') descriptors.add(result)
      if (name === 'closeSync') descriptors.delete(args[0])
      return result
    },
  })
}

// Loaded only now, so that they use these functions.
const stores = require('../../src/store/ticket-store.ts') as { TicketStore: typeof TicketStore }
const caches = require('../../src/cache/ticket-cache.ts') as { TicketCache: typeof TicketCache }
const store = new stores.TicketStore({ directory, subkeys: subkeys(), cipher: 'aes-256-gcm' })
const now = Math.floor(Date.now() / 1000)
const one = { host: 'one.test', port: 443 }
const of = (seed: number) => ticket(seed, now, { spkiFp: new Uint8Array(32) })
const report = (taken: readonly { ticket: Uint8Array }[]) =>
  writeSync(1, taken.map((each) => `${each.ticket[0]}\n`).join(''))

const tasks: Record<string, () => unknown> = {
  take: () => report(store.take(one, '', now)),
  takeOne: () => report([store.takeOne(one, now)!]),
  save: () => store.save(one, [of(7), of(8)], now),
  saveNew: () => store.save({ host: 'new.test', port: 443 }, [of(7), of(8)], now),
  invalidate: () => store.invalidate(one),
  prune: () => store.prune(now),
  cacheSave: () => {
    const cache = caches.TicketCache.openSync(directory, { key: masterKey(), env: {} })
    cache.put('two.test', 443, of(9))
    cache.save()
  },
}
tasks[task]!()
