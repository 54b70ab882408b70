import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { atOnce, bundle, node } from '../support/children.ts'
import { fresh } from '../support/directories.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const now = () => Math.floor(Date.now() / 1000)
const one = { host: 'one.test', port: 443 }

let script: string
let directory: string
let store: TicketStore
beforeAll(async () => {
  script = await bundle(new URL('./child.ts', import.meta.url))
})
beforeEach(() => {
  directory = fresh()
  store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
})

const run = (processes: number, task: string, count = 1) =>
  atOnce(Array.from({ length: processes }, (_, id) => node(script, [directory, task, `${id}`, `${count}`])))

describe('processes at once', () => {
  test('32 that save 4 tickets each, to a directory that is not there yet, lose none', async () => {
    const done = await run(32, 'save', 4)
    expect(done.map(({ code, stderr }) => [code, stderr])).toEqual(Array(32).fill([0, '']))
    const perHost = new Map<string, number>()
    for (const { peer } of store.list(now())) perHost.set(peer.host, (perHost.get(peer.host) ?? 0) + 1)
    expect([...perHost.values()]).toEqual(Array(32).fill(4))
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  test('8 that save one ticket each of one host lose none', async () => {
    await run(8, 'saveOne')
    expect(
      store
        .list(now())
        .map(({ ticket }) => ticket.spkiFp[0])
        .sort(),
    ).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('8 that save to the same 4 slots all the time fail at none', async () => {
    const lost = (await run(8, 'crowd', 400)).map(({ stdout }) => stdout.replace('ready\n', ''))
    expect(lost).toEqual(Array(8).fill('0'))
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  test('32 that take of 4 tickets: 4 get one each, and no two the same', async () => {
    for (const seed of [1, 2, 3, 4]) store.put(one, ticket(seed, now()), now())
    const taken = (await run(32, 'take')).map(({ stdout }) => stdout.replace('ready\n', ''))
    expect(taken.filter((seed) => seed === 'none')).toHaveLength(28)
    expect(new Set(taken).size).toBe(5)
    expect(store.list(now())).toEqual([])
  })

  test('killed at random moments, they leave nothing that hinders or misleads', async () => {
    for (let round = 0; round < 8; round++) {
      const children = Array.from({ length: 3 }, (_, id) => node(script, [directory, 'churn', `${id}`]))
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
    store.put(one, ticket(7, now()), now())
    expect(store.take(one, '', now())?.spkiFp[0]).toBe(7)
    store.sweep(now() + 3_600)
    expect(readdirSync(directory)).toEqual(['CACHEDIR.TAG'])
  })
})

const posix = process.platform === 'win32' ? describe.skip : describe

posix('under any umask', () => {
  test.each(['0000', '0022', '0077', '0277', '0777'])('%s: directories 0700, files 0600', async (umask) => {
    directory = join(directory, 'made', 'too')
    const sh = ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh']
    const [done] = await atOnce([node(script, [directory, 'save', '1', '2'], undefined, sh)])
    expect(done).toMatchObject({ code: 0, stderr: '' })
    const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8)
    expect([directory, join(directory, '..'), join(directory, '../..')].map(mode)).toEqual([
      '700',
      '700',
      '700',
    ])
    expect(readdirSync(directory).map((name) => mode(join(directory, name)))).toEqual(['600', '600', '600'])
  })

  test('0000: files are 0600 before their first byte is written', async () => {
    const [done] = await atOnce([
      node(script, [directory, 'firstModes', '1'], undefined, ['sh', '-c', 'umask 0; exec "$@"', 'sh']),
    ])
    expect(done!.stdout).toBe('ready\n600,600')
  })
})
