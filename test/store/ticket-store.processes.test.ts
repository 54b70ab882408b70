import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, test } from 'vitest'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { atOnce, node, useBundle } from '../support/children.ts'
import { fresh, ticketFiles } from '../support/directories.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const now = () => Math.floor(Date.now() / 1000)
const one = { host: 'one.test', port: 443 }

const script = useBundle(new URL('./child.ts', import.meta.url))
let directory: string
let store: TicketStore
beforeEach(() => {
  directory = fresh()
  store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
})

const run = (processes: number, task: string, count = 1) =>
  atOnce(
    Array.from({ length: processes }, (_, id) => node(script.path, [directory, task, `${id}`, `${count}`])),
  )
const output = (done: Awaited<ReturnType<typeof run>>) =>
  done.map(({ stdout }) => stdout.replace('ready\n', ''))
const everything = () => readdirSync(directory, { recursive: true, encoding: 'utf8' })
const leftBehind = () => everything().filter((path) => path.endsWith('.tmp'))

describe('processes at once', () => {
  test('lose no ticket when 32 store 4 tickets of 4 hosts each in a new directory', async () => {
    const done = await run(32, 'save', 4)
    expect(done.map(({ code, stderr }) => [code, stderr])).toEqual(Array(32).fill([0, '']))
    const perHost = new Map<string, number>()
    for (const { peer } of store.list(now())) perHost.set(peer.host, (perHost.get(peer.host) ?? 0) + 1)
    expect([...perHost.values()]).toEqual(Array(128).fill(4))
    expect(leftBehind()).toEqual([])
  })

  test('lose no ticket when 32 store one ticket each of the same host', async () => {
    await run(32, 'saveOne')
    const seeds = store.list(now()).map(({ ticket }) => ticket.spkiFp[0]!)
    expect(seeds.sort((x, y) => x - y)).toEqual(Array.from({ length: 32 }, (_, i) => i))
  })

  test('never fail when 8 keep storing reusable sessions of the same host, of which one each is left', async () => {
    expect(output(await run(8, 'crowd', 100))).toEqual(Array(8).fill('0'))
    expect(ticketFiles(directory).length).toBeLessThanOrEqual(8)
    store.save(one, [ticket(9, now(), { protocol: 'TLSv1.2' })], now())
    expect(ticketFiles(directory)).toHaveLength(1)
    expect(leftBehind()).toEqual([])
  })

  test('get 4 different batches when 32 take of 4 batches', async () => {
    for (const seed of [1, 2, 3, 4]) store.save(one, [ticket(seed, now())], now())
    const taken = output(await run(32, 'take'))
    expect(taken.filter((seed) => seed === 'none')).toHaveLength(28)
    expect(new Set(taken).size).toBe(5)
    expect(store.list(now())).toEqual([])
  })

  test('get each batch once when 16 take all of 60 batches', async () => {
    for (let seed = 0; seed < 60; seed++) store.save(one, [ticket(seed, now())], now())
    const taken = output(await run(16, 'takeAll')).flatMap((seeds) => (seeds === '' ? [] : seeds.split(',')))
    expect(taken.map(Number).sort((x, y) => x - y)).toEqual(Array.from({ length: 60 }, (_, i) => i))
  })

  test('leave a usable store when they are killed at random moments', async () => {
    for (let round = 0; round < 8; round++) {
      const children = Array.from({ length: 3 }, (_, id) => node(script.path, [directory, 'churn', `${id}`]))
      const gone = Promise.all(children.map(({ done }) => done))
      for (const { process } of children) process.stdin!.end('go')
      for (const { process } of children) {
        await sleep(60 + Math.random() * 60)
        process.kill('SIGKILL')
      }
      expect((await gone).map(({ signal }) => signal)).toEqual(Array(3).fill('SIGKILL'))
    }
    for (const { ticket: found } of store.list(now())) {
      expect([ticket(found.spkiFp[0]!, 0).ticket]).toContainEqual(found.ticket)
    }
    store.invalidate(one)
    store.save(one, [ticket(7, now())], now())
    expect(store.take(one, '', now())[0]?.spkiFp[0]).toBe(7)
    store.prune(now() + 3_600)
    expect(everything()).toEqual(['CACHEDIR.TAG'])
  })
})

const posix = process.platform === 'win32' ? describe.skip : describe

posix('under any umask', () => {
  const under = (umask: string) => ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh']
  const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8)

  test.each(['0000', '0022', '0077'])(
    '%s makes directories of mode 0700 and files of mode 0600',
    async (umask) => {
      directory = join(directory, 'made', 'too')
      const [done] = await atOnce([node(script.path, [directory, 'save', '1', '1'], undefined, under(umask))])
      expect(done).toMatchObject({ code: 0, stderr: '' })
      const parents = [directory, join(directory, '..'), join(directory, '../..')]
      expect(parents.map(mode)).toEqual(['700', '700', '700'])
      const paths = everything().map((path) => join(directory, path))
      expect(paths.map(mode).sort()).toEqual(['600', '600', '700'])
    },
  )

  test.each(['0277', '0777'])('%s, which takes rights from the owner, gives others none', async (umask) => {
    await atOnce([node(script.path, [directory, 'save', '1', '1'], undefined, under(umask))])
    for (const path of [directory, ...everything().map((path) => join(directory, path))])
      expect(mode(path)).toMatch(/^[0-7]?00$|^0$/)
  })

  test('0000 makes files of mode 0600 before their first byte is written', async () => {
    const [done] = await atOnce([node(script.path, [directory, 'firstModes', '1'], undefined, under('0'))])
    expect(done!.stdout).toBe('ready\n600,600')
  })
})
