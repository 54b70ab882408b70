// One step of a short program, with our store or with a plaintext file in the format of aube-util:
// `fill`, `get` (open, and get one host's tickets) or `put` (open, put one more ticket, save).
// Prints the milliseconds that the step itself took.
import { readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

const { KIND: kind, STEP: step, STORE: path, HOSTS: hosts, LIBRARY: library } = process.env
const host = (i) => `host-${i}.bench.example`
const now = Math.floor(Date.now() / 1000)
const ticket = Uint8Array.from({ length: 1500 }, (_, i) => (i * 31) & 0xff)
const spkiFp = new Uint8Array(32).fill(7)

/** The format of aube-util: every byte is a decimal number. */
class PlaintextFile {
  constructor() {
    this.entries = []
    try {
      this.entries = JSON.parse(readFileSync(path, 'utf8')).entries
    } catch {}
  }
  get(name, port) {
    return this.entries.find(([peer]) => peer.host === name && peer.port === port)?.[1] ?? []
  }
  put(name, port, entry) {
    const tickets = this.get(name, port)
    const plain = {
      ticket: [...entry.ticket],
      spki_fp: [...entry.spkiFp],
      stored_at_unix_secs: entry.storedAtUnixSecs,
    }
    if (tickets.length === 0) this.entries.push([{ host: name, port }, [plain]])
    else tickets.splice(0, tickets.length - 3, plain)
  }
  save() {
    const text = JSON.stringify({ magic: 'aube-tls-tickets/v1', entries: this.entries })
    writeFileSync(`${path}.tmp`, text, { mode: 0o600 })
    renameSync(`${path}.tmp`, path)
  }
}

const { TicketCache } = kind === 'encrypted' ? await import(library) : {}
const open = () => (TicketCache ? TicketCache.openSync(path) : new PlaintextFile())
const put = (cache, i) => cache.put(host(i), 443, { ticket, spkiFp, storedAtUnixSecs: now })

if (step === 'fill') {
  const cache = open()
  for (let i = 0; i < Number(hosts); i++) put(cache, i)
  cache.save()
} else {
  const start = performance.now()
  const cache = open()
  const found = cache.get(host(0), 443).length
  if (step === 'put') {
    put(cache, 0)
    cache.save()
  }
  const took = performance.now() - start
  if (found < 1) throw new Error('nothing there')
  writeSync(1, `. ${took}`)
}
