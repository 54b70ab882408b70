import { copyFileSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { bindingOf } from '../../../src/store/names.ts'
import type { StoredTicket } from '../../../src/ticket-entry.ts'
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

const remove = (paths: readonly string[]) => paths.forEach((path) => void unlinkSync(path))

/** The connection is full, offers no session, and succeeds. */
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

it('a file with a flipped bit, a cut end, junk or no content is a miss', () =>
  inSandbox(async (sandbox) => {
    await run(sandbox, ONE, input)
    const [path = ''] = sandbox.stored()
    const good = readFileSync(path, 'utf8')
    const file = JSON.parse(good) as { box: string; issuers: string }
    const flipped = (box: 'box' | 'issuers', at: number) => {
      const bytes = Buffer.from(file[box], 'base64')
      const byte = at < 0 ? bytes.length + at : at
      bytes[byte] = bytes[byte]! ^ 1
      return JSON.stringify({ ...file, [box]: bytes.toString('base64') })
    }
    const middle = Buffer.from(file.box, 'base64').length >> 1
    const texts = [
      ...[0, 24, 40, middle, -1].map((at) => flipped('box', at)),
      ...[0, 24, 40, -1].map((at) => flipped('issuers', at)),
      JSON.stringify({ ...file, issuers: undefined }),
      JSON.stringify({ ...file, cipher: 'aes-256-gcm' }),
      ...[good.slice(0, -20), good.slice(0, 10), '', '{}', 'null', '[]', '\0'.repeat(100)],
    ]
    for (const text of texts) {
      remove(sandbox.stored())
      writeFileSync(path, text, { mode: 0o600 })
      await isMiss(sandbox)
    }
    remove(sandbox.stored())
    writeFileSync(path, good, { mode: 0o600 })
    expect(offered(await run(sandbox, ONE, input))).toBe(true)
  }))

it('a file renamed to another server or another binding is a miss', () =>
  inSandbox(async (sandbox) => {
    const targets = [
      { ...input, port: another.port },
      { ...input, servername: 'b.test' },
    ]
    for (const target of targets) {
      remove(sandbox.stored())
      await run(sandbox, ONE, target)
      const [there = ''] = sandbox.stored()
      remove([there])
      await run(sandbox, ONE, input)
      const [here = '', ...others] = sandbox.stored()
      expect(others).toEqual([])
      expect(dirname(here) === dirname(there)).toBe(target.port === input.port)
      expect(bindingOf(basename(here))).not.toBe(bindingOf(basename(there)))
      renameSync(here, there)
      await isMiss(sandbox, target)
    }
  }))

it('a copy that is put back after its tickets have expired is a miss', () =>
  inSandbox(async (sandbox) => {
    await run(sandbox, ONE, input)
    const [{ peer, ticket }] = ticketsIn(sandbox) as [ReturnType<typeof ticketsIn>[0]]
    const store = storeOf(sandbox)
    store.invalidate(peer)
    store.save(peer, [{ ...ticket, expiresAtUnixSecs: unixNow() + 2 }], unixNow())
    const [path = '', ...others] = sandbox.stored()
    expect(others).toEqual([])
    const backup = readFileSync(path)
    await new Promise((done) => setTimeout(done, 3000))
    writeFileSync(path, backup, { mode: 0o600 })
    await isMiss(sandbox)
  }))

it('a file encrypted with another key is a miss, under its own name and under that of our file', () =>
  inSandbox(async (sandbox) => {
    const theirs = { TICKETKEEP_KEY: Buffer.alloc(32, 'another user').toString('base64') }
    await run(sandbox, ONE, input, { env: theirs })
    const foreign = sandbox.stored()
    await isMiss(sandbox)
    const ours = sandbox.stored().filter((path) => !foreign.includes(path))
    expect(ours).toHaveLength(1)
    copyFileSync(foreign[0]!, ours[0]!)
    await isMiss(sandbox)
    expect(offered(await run(sandbox, ONE, input, { env: theirs }))).toBe(true)
  }))

it('a session that does not match the name or the public key stored with it is never offered', () =>
  inSandbox(async (sandbox) => {
    await run(sandbox, ONE, input)
    const [{ peer, ticket: mine }] = ticketsIn(sandbox) as [ReturnType<typeof ticketsIn>[0]]
    await run(sandbox, ONE, { ...input, servername: 'b.test', port: onlyB.port })
    const { ticket, spkiFp, certificate } = ticketsIn(sandbox).find(
      (one) => one.ticket.binding !== mine.binding,
    )!.ticket
    const store = storeOf(sandbox)
    const now = unixNow()
    // Such batches are encrypted with the right key. The session is of another name or key, unverified, or junk.
    const wrong: StoredTicket[] = [
      { ...mine, ticket, spkiFp, certificate: certificate! },
      { ...mine, ticket, spkiFp },
      { ...mine, spkiFp, certificate: certificate! },
      { ...mine, spkiFp: new Uint8Array(32) },
      { ...mine, protocol: 'TLSv1.2' },
      { ...mine, storedAtUnixSecs: now - 60, verifiedAtUnixSecs: now - 86_400 },
      { ...mine, storedAtUnixSecs: now + 50, verifiedAtUnixSecs: now + 100 },
      { ...mine, ticket: mine.ticket.slice(0, -1) },
      { ...mine, ticket: new Uint8Array(700).fill(0x30) },
    ]
    const { verifiedAtUnixSecs: _, ...unverified } = mine
    const { certificate: __, ...uncertified } = mine
    for (const one of [...wrong, unverified, uncertified]) {
      store.invalidate(peer)
      expect(store.save(peer, [one], one.storedAtUnixSecs)).toBe(1)
      await isMiss(sandbox)
    }
    store.invalidate(peer)
    store.save(peer, [mine], unixNow())
    expect(offered(await run(sandbox, ONE, input))).toBe(true)
  }))
