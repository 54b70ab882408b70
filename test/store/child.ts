// Run by ticket-store.processes.test.ts and others: one of many processes that use one directory.
import fs, { writeSync } from 'node:fs'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const [directory, task, id, count] = process.argv.slice(2) as [string, string, string, string]
const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
const now = () => Math.floor(Date.now() / 1000)
const one = { host: 'one.test', port: 443 }
const shared = { spkiFp: new Uint8Array(32).fill(7) }

const tasks: Record<string, () => unknown> = {
  // Stores four tickets for each of `count` hosts of its own.
  save: () => {
    const entries = Array.from({ length: Number(count) }, (_, host) => ({
      peer: { host: `h${id}-${host}.test`, port: 443 },
      tickets: [1, 2, 3, 4].map((seed) => ticket(seed, now(), shared)),
    }))
    if (store.saveAll(entries, now()) < 4 * Number(count)) throw new Error(store.problem)
  },
  // Stores `count` batches of one ticket each for the same host, and prints how many were lost.
  crowd: () => {
    let lost = 0
    for (let i = 0; i < Number(count); i++)
      lost += 1 - store.save(one, [ticket(Number(id), now(), { protocol: 'TLSv1.2' })], now())
    return lost
  },
  // Stores one ticket for the same host, with its own seed.
  saveOne: () => store.save(one, [ticket(Number(id), now())], now()),
  take: () => store.take(one, '', now())[0]?.ticket[0] ?? 'none',
  // Takes all batches that it can get.
  takeAll: () => {
    const seeds: unknown[] = []
    for (let got = store.take(one, '', now()); got.length > 0; got = store.take(one, '', now()))
      seeds.push(...got.map((each) => each.spkiFp[0]))
    return seeds.join()
  },
  // Prints the modes of files that have just been made and are still empty.
  firstModes: () => {
    const open = fs.openSync
    const modes: string[] = []
    fs.openSync = (path, flags, mode) => {
      const fd = open(path, flags, mode)
      if (flags === 'wx') modes.push((fs.fstatSync(fd).mode & 0o777).toString(8))
      return fd
    }
    store.save(one, [ticket(1, now())], now())
    return modes.join()
  },
  // Until it is killed.
  churn: () => {
    for (let i = 0; ; i++) {
      store.save(one, [ticket(i & 0xff, now(), i % 3 ? {} : { protocol: 'TLSv1.2' })], now())
      if (i % 2) store.take(one, '', now())
      if (i % 50 === 0) store.prune(now())
    }
  },
}

store.take({ host: 'warm-up.test', port: 443 }, '', now())
process.stdin.once('data', () => writeSync(1, `${tasks[task]!() ?? ''}`))
writeSync(1, 'ready\n')
