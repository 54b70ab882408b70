// Run by ticket-store.processes.test.ts: one of many processes at one directory.
import fs, { writeSync } from 'node:fs'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const [directory, task, id, count] = process.argv.slice(2) as [string, string, string, string]
const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
const now = () => Math.floor(Date.now() / 1000)
const one = { host: 'one.test', port: 443 }

const tasks: Record<string, () => unknown> = {
  // One host each: `count` tickets.
  save: () => {
    for (let i = 0; i < Number(count); i++) {
      if (!store.put({ host: `h${id}.test`, port: 443 }, ticket(i, now()), now()))
        throw new Error(store.problem)
    }
  },
  // All the same host, into 4 slots: how many were lost.
  crowd: () => {
    let lost = 0
    for (let i = 0; i < Number(count); i++)
      if (!store.put(one, ticket(Number(id), now(), { protocol: 'TLSv1.2' }), now())) lost++
    return lost
  },
  // All the same host: one ticket, told apart by its seed.
  saveOne: () => store.put(one, ticket(Number(id), now()), now()),
  take: () => store.take(one, '', now())?.ticket[0] ?? 'none',
  // The modes that files have when they have just been opened, and hold nothing yet.
  firstModes: () => {
    const open = fs.openSync
    const modes: string[] = []
    fs.openSync = (...args) => {
      const fd = open(...args)
      modes.push((fs.fstatSync(fd).mode & 0o777).toString(8))
      return fd
    }
    store.put(one, ticket(1, now()), now())
    return modes.join()
  },
  // Until it is killed.
  churn: () => {
    for (let i = 0; ; i++) {
      store.put(one, ticket(i & 0xff, now(), i % 3 ? {} : { protocol: 'TLSv1.2' }), now(), 4)
      if (i % 2) store.take(one, '', now())
      if (i % 50 === 0) store.sweep(now())
    }
  },
}

store.take(one, 'warm-up', now())
process.stdin.once('data', () => writeSync(1, `${tasks[task]!() ?? ''}`))
writeSync(1, 'ready\n')
