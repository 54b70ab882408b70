import { copyFileSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createAuthority } from '../../support/pki.ts'
import type { Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, inSandbox, ONE, offered, run, storeOf, ticketsIn, unixNow } from './kit.ts'

let server: TlsServer
let another: TlsServer
let onlyB: TlsServer
let input: { host: string; port: number; servername: string; ca: string }
beforeAll(async () => {
  const ca = await createAuthority()
  const identity = await ca.issue({ names: ['a.test', 'b.test'] })
  const shared = { ...identity, kind: 'raw', ticketKeys: Buffer.alloc(48, 7) } as const
  server = await startTlsServer(shared)
  another = await startTlsServer(shared)
  onlyB = await startTlsServer({ ...shared, ...(await ca.issue({ names: ['b.test'] })) })
  input = { host: '127.0.0.1', port: server.port, servername: 'a.test', ca: ca.cert }
})
afterAll(async () => {
  await server?.close()
  await another?.close()
  await onlyB?.close()
})

const files = (sandbox: Sandbox) => sandbox.stored().map((path) => path.slice(sandbox.tickets.length + 1))

/** A connection that is an ordinary full one, with nothing offered and nothing in the program's way. */
async function isMiss(
  sandbox: Sandbox,
  target: unknown = input,
  env: Record<string, string> = {},
): Promise<void> {
  const made = await run<Attempt>(sandbox, ONE, target, { env })
  expect([offered(made), made.reused, made.seen]).toEqual([
    false,
    false,
    { authorized: true, text: 'hello\n' },
  ])
  expect(made.events.filter((event) => event.startsWith('skip: internal'))).toEqual([])
}

it('a tampered file is a miss: a bit anywhere in the box, its end cut off, junk, nothing', () =>
  inSandbox(async (sandbox) => {
    await run(sandbox, ONE, input)
    const [name] = files(sandbox)
    const path = join(sandbox.tickets, name!)
    const good = readFileSync(path, 'utf8')
    const { magic, box } = JSON.parse(good) as { magic: string; box: string }
    const bytes = Buffer.from(box, 'base64')
    const flipped = (at: number) => {
      const copy = Buffer.from(bytes)
      copy[at] = copy[at]! ^ 1
      return JSON.stringify({ magic, box: copy.toString('base64') })
    }
    const places = [0, 24, 40, bytes.length >> 1, bytes.length - 1].map(flipped)
    for (const text of [
      ...places,
      good.slice(0, -20),
      good.slice(0, 10),
      '',
      '{}',
      'null',
      '[]',
      '\0'.repeat(100),
    ]) {
      for (const file of sandbox.stored()) unlinkSync(file)
      writeFileSync(path, text, { mode: 0o600 })
      await isMiss(sandbox)
    }
    for (const file of sandbox.stored()) unlinkSync(file)
    writeFileSync(path, good, { mode: 0o600 })
    expect(offered(await run(sandbox, ONE, input))).toBe(true)
  }))

it('a file renamed to another peer or another binding is a miss', () =>
  inSandbox(async (sandbox) => {
    const targets = [
      { ...input, port: another.port },
      { ...input, servername: 'b.test' },
    ]
    for (const target of targets) {
      for (const file of sandbox.stored()) unlinkSync(file)
      await run(sandbox, ONE, target)
      const [there] = files(sandbox)
      for (const file of sandbox.stored()) unlinkSync(file)
      await run(sandbox, ONE, input)
      const [here, ...rest] = files(sandbox)
      for (const name of rest) unlinkSync(join(sandbox.tickets, name))
      expect(there?.slice(0, 20)).not.toBe(here?.slice(12, 32))
      renameSync(join(sandbox.tickets, here!), join(sandbox.tickets, there!))
      await isMiss(sandbox, target)
    }
  }))

it('a copy replayed after the ticket has expired is a miss', () =>
  inSandbox(async (sandbox) => {
    await run(sandbox, ONE, input)
    const [{ peer, ticket }] = ticketsIn(sandbox) as [ReturnType<typeof ticketsIn>[0]]
    const store = storeOf(sandbox)
    store.invalidate(peer)
    store.put(peer, { ...ticket, expiresAtUnixSecs: unixNow() + 2 }, unixNow())
    const backup = sandbox.stored().map((path) => [path, `${path}.bak`] as const)
    for (const [path, copy] of backup) copyFileSync(path, join(sandbox.directory, copy.split('/').at(-1)!))
    await new Promise((done) => setTimeout(done, 3000))
    for (const [path, copy] of backup) copyFileSync(join(sandbox.directory, copy.split('/').at(-1)!), path)
    await isMiss(sandbox)
  }))

it('what another user’s key has sealed is a miss, under its own name and under ours', () =>
  inSandbox(async (sandbox) => {
    const theirs = { TICKETKEEP_KEY: Buffer.alloc(32, 'another user').toString('base64') }
    await run(sandbox, ONE, input, { env: theirs })
    const foreign = files(sandbox)
    await isMiss(sandbox)
    const ours = files(sandbox).filter((name) => !foreign.includes(name))
    for (const name of ours) copyFileSync(join(sandbox.tickets, foreign[0]!), join(sandbox.tickets, name))
    await isMiss(sandbox)
    expect(offered(await run(sandbox, ONE, input, { env: theirs }))).toBe(true)
  }))

it('a sealed record whose session does not fit what stands beside it is never offered', () =>
  inSandbox(async (sandbox) => {
    await run(sandbox, ONE, input)
    const [{ peer, ticket: mine }] = ticketsIn(sandbox) as [ReturnType<typeof ticketsIn>[0]]
    await run(sandbox, ONE, { ...input, servername: 'b.test', port: onlyB.port })
    const other = ticketsIn(sandbox).find(({ ticket }) => ticket.binding !== mine.binding)!.ticket
    const store = storeOf(sandbox)
    // Even a holder of the key who errs: another name's session, another key's, an unverified or junk one.
    const wrong = [
      { ...mine, ticket: other.ticket, spkiFp: other.spkiFp },
      { ...mine, spkiFp: new Uint8Array(32) },
      { ...mine, protocol: 'TLSv1.2' as const },
      { ...mine, verifiedAtUnixSecs: unixNow() - 86_400 },
      { ...mine, verifiedAtUnixSecs: unixNow() + 600 },
      { ...mine, ticket: mine.ticket.slice(0, -1) },
      { ...mine, ticket: new Uint8Array(700).fill(0x30) },
    ]
    const { verifiedAtUnixSecs: _, ...unverified } = mine
    for (const ticket of [...wrong, unverified]) {
      store.invalidate(peer)
      store.put(peer, ticket, unixNow())
      await isMiss(sandbox)
    }
    store.invalidate(peer)
    store.put(peer, mine, unixNow())
    expect(offered(await run(sandbox, ONE, input))).toBe(true)
  }))
