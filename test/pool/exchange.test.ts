import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as iovalkey from 'iovalkey'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { unixNow } from '../../src/common/clock.ts'
import { connect } from '../../src/pool/client.ts'
import { take } from '../../src/pool/commands.ts'
import { giveToPool, statusOfPool, takeFromPool } from '../../src/pool/exchange.ts'
import { PoolHelper } from '../../src/pool/helper.ts'
import { peerKey, setKey } from '../../src/pool/messages.ts'
import { openBatch, sealBatch } from '../../src/seal/box.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingCommands } from '../support/missing.ts'
import { createAuthority } from '../support/pki.ts'
import { subkeys } from '../support/tickets.ts'
import { type ServerName, startValkey, type Valkey } from '../support/valkey.ts'
import { addressOf, BINDING, list, PEER, runner, verified } from './kit.ts'

const now = unixNow

// Both servers have the same protocol, so the second one runs only tests that depend on the server.
for (const server of ['redis-server', 'valkey-server'] as ServerName[]) {
  const also = server === 'redis-server' ? it : it.skip
  describeWith(missingCommands(server), `a pool on ${server}`, () => {
    let valkey: Valkey
    let ca: string
    const at = (parameters = '') => addressOf(valkey.port, ca, parameters)
    const give = (from: ReturnType<typeof runner>, job = 'ci') =>
      giveToPool(from, new PoolHelper(from.address), job, now())
    const takeInto = (
      to: ReturnType<typeof runner>,
      from: Parameters<typeof takeFromPool>[2] = { job: 'ci' },
    ) => takeFromPool(to, new PoolHelper(to.address), from, now())

    beforeAll(async () => {
      const authority = await createAuthority()
      ca = join(scratch(), 'ca.pem')
      writeFileSync(ca, authority.cert)
      valkey = await startValkey({ authority, server })
    })
    afterAll(() => valkey?.stop())
    beforeEach(async () => {
      await valkey.send('FLUSHALL')
    })

    it('tickets that one runner gives are taken once by another', async () => {
      const [first, second, third] = [runner(at()), runner(at()), runner(at())]
      first.store.save(PEER, [verified(1), verified(2)], now())
      expect(await give(first)).toEqual({ given: 2, refused: undefined })
      expect(list(first)).toEqual([])
      expect(await takeInto(second)).toBe(2)
      expect(list(second)).toEqual([verified(1).ticket, verified(2).ticket])
      expect(await takeInto(third)).toBe(0)
      expect(await takeInto(third, { peers: [PEER] })).toBe(0)
    })

    also(
      'tickets are found by the name of the job or of the server, newest first and 16 at a time',
      async () => {
        const [first, second] = [runner(at()), runner(at())]
        const tickets = Array.from({ length: 40 }, (_, i) =>
          verified(i, { storedAtUnixSecs: now() - 100 + i, expiresAtUnixSecs: now() + 7_200 + i }),
        )
        first.store.save(PEER, tickets, now())
        expect(await give(first, 'release')).toMatchObject({ given: 40 })
        expect(await takeInto(second, { job: 'another' })).toBe(0)
        expect(await takeInto(second, { job: 'release' })).toBe(16)
        expect(list(second)).toEqual(tickets.slice(24).map(({ ticket }) => ticket))
        expect(await takeInto(second, { peers: [PEER] })).toBe(16)
      },
    )

    also(
      'only TLS 1.3 tickets are given unless the URL asks for more, and never those of a client certificate',
      async () => {
        const [first, second] = [runner(at()), runner(at())]
        const old = verified(1, { protocol: 'TLSv1.2' })
        first.store.save(PEER, [old, verified(2, { clientCertificate: true, binding: 'mtls' })], now())
        expect(await give(first)).toEqual({ given: 0, refused: undefined })
        expect(list(first)).toHaveLength(2)
        const shares = { ...first, address: at('&tls12=yes') }
        expect(await give(shares)).toEqual({ given: 1, refused: undefined })
        expect(list(first)).toHaveLength(2)
        expect(await takeInto(second)).toBe(0)
        expect(await takeInto({ ...second, address: at('&tls12=yes') })).toBe(1)
        // It is reusable, so the next runner takes it as well.
        expect(await takeInto(runner(at('&tls12=yes')))).toBe(1)
      },
    )

    it('200 jobs get each of 100 batches once', async () => {
      const { keys, address } = runner(at())
      const root = `${address.prefix}{${keys.kid}.`
      const member = `${keys.peerName(PEER)}.${keys.bindingName(PEER, BINDING)}.s`
      const batches = Array.from({ length: 100 }, (_, i) => [now() + 1000 + i, `batch ${i}`]).flat()
      await valkey.send('ZADD', setKey(root, member), ...batches)
      await valkey.send('ZADD', peerKey(root, keys.peerName(PEER)), now(), member)
      const lists = [peerKey(root, keys.peerName(PEER))]
      const jobs = Array.from({ length: 200 }, async () => {
        const client = await connect(iovalkey, address)
        const { boxes } = await take(client, { do: 'take', root, lists, tls12: false }, new Promise(() => {}))
        client.disconnect()
        return boxes.map(({ box }) => box)
      })
      const taken = (await Promise.all(jobs)).flat()
      expect(taken).toHaveLength(100)
      expect(new Set(taken).size).toBe(100)
    })

    also('a job takes two megabytes at most, whatever the pool offers', async () => {
      const { keys, address } = runner(at())
      const root = `${address.prefix}{${keys.kid}.`
      const peer = peerKey(root, keys.peerName(PEER))
      for (let i = 0; i < 20; i++) {
        const member = `${keys.peerName(PEER)}.${keys.bindingName(PEER, `${BINDING} ${i}`)}.s`
        await valkey.send('ZADD', setKey(root, member), now() + 1000, 'x'.repeat(200_000))
        await valkey.send('ZADD', peer, now(), member)
      }
      const client = await connect(iovalkey, address)
      const request = { do: 'take', root, lists: [peer], tls12: false } as const
      const { boxes } = await take(client, request, new Promise(() => {}))
      client.disconnect()
      expect(boxes).toHaveLength(10)
    })

    also('batches of a peer, peers and times are limited', async () => {
      const address = at('&batches=2&origins=3')
      const one = runner(address)
      one.store.save(
        PEER,
        Array.from({ length: 40 }, (_, i) => verified(i)),
        now(),
      )
      await give(one)
      const { keys } = runner(address)
      const root = `${address.prefix}{${keys.kid}.`
      const member = `${keys.peerName(PEER)}.${keys.bindingName(PEER, BINDING)}.s`
      expect(await valkey.send('ZCARD', setKey(root, member))).toBe(2)
      expect(await valkey.send('TTL', setKey(root, member))).toBeGreaterThan(7_000)
      const many = runner(address)
      for (let i = 0; i < 5; i++) {
        many.store.save(
          { host: `h${i}.example`, port: 443 },
          [verified(i, { expiresAtUnixSecs: now() + 9_000 })],
          now(),
        )
      }
      await give(many)
      const left = (await valkey.send('KEYS', '*.s')) as string[]
      expect(left).toHaveLength(3)
      expect(left).not.toContain(setKey(root, member))
      const keysLeft = (await valkey.send('KEYS', '*')) as string[]
      for (const key of keysLeft) expect(await valkey.send('TTL', key)).toBeGreaterThan(0)
    })

    also('the server sees keyed hashes and encrypted batches', async () => {
      const first = runner(at())
      first.store.save(PEER, [verified(1)], now())
      await give(first, 'release')
      for (const key of (await valkey.send('KEYS', '*')) as string[]) {
        const dump = String(await valkey.send('ZRANGE', key, 0, -1))
        for (const clear of ['registry', 'release', BINDING]) expect(key + dump).not.toContain(clear)
      }
    })

    it('a user with the permissions that status prints can use the pool, and do nothing else', async () => {
      await valkey.send(
        ...[
          'ACL',
          'SETUSER',
          'fleet',
          'on',
          '>secret',
          'resetkeys',
          '~ticketkeep:*',
          'resetchannels',
          '-@all',
        ],
        ...'+ping +info +select +zadd +zpopmax +zpopmin +zrevrange +zcard +zremrangebyscore +zremrangebyrank +expire +unlink +hincrby +hgetall'.split(
          ' ',
        ),
      )
      const address = { ...at('&origins=1'), username: 'fleet', password: 'secret' }
      const [first, second] = [runner(address), runner(address)]
      first.store.save(PEER, [verified(1)], now())
      first.store.save({ host: 'b.example', port: 443 }, [verified(1)], now())
      expect(await give(first)).toEqual({ given: 2, refused: undefined })
      expect(await takeInto(second)).toBe(1)
      expect(await statusOfPool(first, new PoolHelper(address))).toMatchObject({
        asked: 2,
        found: 1,
        eviction: 'noeviction',
      })
      const log = JSON.stringify(await valkey.send('ACL', 'LOG'))
      expect(log).toBe('[]')
    })

    also('a writer without the key can only make tickets get lost', async () => {
      const [victim, giver] = [runner(at()), runner(at())]
      giver.store.save(PEER, [verified(1)], now())
      await give(giver)
      const { keys } = victim
      const root = `ticketkeep:{${keys.kid}.`
      const member = `${keys.peerName(PEER)}.${keys.bindingName(PEER, BINDING)}.s`
      const other = `${keys.peerName({ host: 'evil.example', port: 443 })}.${keys.bindingName(PEER, BINDING)}.s`
      const [own = ''] = (await valkey.send('ZRANGE', setKey(root, member), 0, 0)) as string[]
      expect(openBatch(own, keys)).toBeDefined()
      const stranger = subkeys(2)
      const forged = (kid: string) =>
        sealBatch(
          { kid, peer: PEER, tickets: [verified(9)] },
          stranger,
          'aes-256-gcm',
          (n) => new Uint8Array(n),
        )
      const flipped = `${own.slice(0, 200)}${own[200] === 'A' ? 'B' : 'A'}${own.slice(201)}`
      const attacks = [forged(keys.kid), forged(stranger.kid), flipped, 'x'.repeat(300_000), '{}', '']
      // One set for each case, since one batch of a set is taken. The last set is real and has a valid box of another server.
      const list = peerKey(root, keys.peerName(PEER))
      for (const [i, box] of attacks.entries()) {
        const set = `${keys.peerName(PEER)}.${'x'.repeat(10)}${i}.s`
        await valkey.send('ZADD', setKey(root, set), now() + 1e6, box)
        await valkey.send('ZADD', list, 9e9, set)
      }
      await valkey.send('ZADD', setKey(root, other), now() + 1e6, own)
      await valkey.send('DEL', setKey(root, member))
      await valkey.send('ZADD', list, 9e9, other, 9e9, '../../etc', 9e9, `${member}x`, 9e9, '')
      expect(await takeInto(victim, { peers: [PEER] })).toBe(0)
      expect(victim.store.list(now())).toEqual([])
    })
  })
}
