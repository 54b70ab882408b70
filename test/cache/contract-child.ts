// Run by contract.test.ts: one of many processes that save at the same time.
import { writeSync } from 'node:fs'
import { TicketCache } from '../../src/cache/ticket-cache.ts'
import { masterKey } from '../support/tickets.ts'

const [path, host] = process.argv.slice(2) as [string, string]
const cache = TicketCache.openSync(path, { key: masterKey(), env: {} })
const storedAtUnixSecs = Math.floor(Date.now() / 1000)
for (const seed of [1, 2]) {
  cache.put(host, 443, { ticket: Uint8Array.of(seed), spkiFp: new Uint8Array(32), storedAtUnixSecs })
}
process.stdin.once('data', () => {
  cache.save()
  cache.close()
})
writeSync(1, 'ready\n')
