// Run by calls.test.ts: prints the calls of fs that one program makes on the store.
import fs, { writeSync } from 'node:fs'
import type { TicketStore } from '../../src/store/ticket-store.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const [directory, seconds] = process.argv.slice(2) as [string, string]
const calls: string[] = []
const descriptors = new Set<unknown>()
// If a function of fs calls others (writeFileSync opens, writes and closes), only the outer call counts.
let depth = 0
for (const [name, original] of Object.entries(fs) as [string, unknown][]) {
  if (typeof original !== 'function' || !name.endsWith('Sync')) continue
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      const isOurs = `${args[0]}`.startsWith(directory) || descriptors.has(args[0])
      if (isOurs && depth === 0) calls.push(name)
      depth++
      try {
        const result = original(...args)
        if (isOurs && name === 'openSync') descriptors.add(result)
        return result
      } finally {
        depth--
        if (name === 'closeSync') descriptors.delete(args[0])
      }
    },
  })
}

// Loaded only now, so that it uses these functions.
const module = require('../../src/store/ticket-store.ts') as { TicketStore: typeof TicketStore }
const store = new module.TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
const now = Math.floor(Date.now() / 1000)
const peer = { host: 'one.test', port: 443 }

const counted = (work: () => unknown) => {
  calls.length = 0
  const result = work()
  return { result, calls: [...calls] }
}
const report = {
  take: counted(() => store.take(peer, '', now).length),
  // A burst of connections that finds no more tickets.
  burst: counted(() => Array.from({ length: 50 }, () => store.take(peer, '', now).length)),
  save: counted(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(seconds) * 1000)
    return store.save(
      peer,
      [1, 2].map((seed) => ticket(seed, now, { spkiFp: new Uint8Array(32) })),
      now,
    )
  }),
}
writeSync(1, JSON.stringify(report))
