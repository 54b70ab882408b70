// Run by plaintext-file.test.ts: one of many processes that find the same plaintext file.
import { writeSync } from 'node:fs'
import { importPlaintextFile } from '../../src/store/plaintext-file.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { subkeys } from '../support/tickets.ts'

const path = process.argv[2]!
const directory = path.slice(0, -'.json'.length)
const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
process.stdin.once('data', () => {
  writeSync(1, importPlaintextFile(path, store, Math.floor(Date.now() / 1000)).state)
})
writeSync(1, 'ready\n')
