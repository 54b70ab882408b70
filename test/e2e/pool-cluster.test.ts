import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { unixNow } from '../../src/common/clock.ts'
import { readPoolAddress } from '../../src/pool/address.ts'
import { giveToPool, statusOfPool, takeFromPool } from '../../src/pool/exchange.ts'
import { PoolHelper } from '../../src/pool/helper.ts'
import { addressOf, runner, verified } from '../pool/kit.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, findCommand, missingCommands } from '../support/missing.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { freePort, waitForPort } from '../support/ports.ts'
import { POOL_PASSWORD, startCluster, startValkey } from '../support/valkey.ts'

const now = unixNow

/** Enough for each node of three to have some. */
const PEERS = Array.from({ length: 30 }, (_, i) => ({ host: `h${i}.example`, port: 443 }))

describeWith(missingCommands('redis-server'), 'a pool of several servers', () => {
  const folder = scratch()
  let authority: Authority
  let ca: string
  beforeAll(async () => {
    authority = await createAuthority()
    ca = join(folder, 'ca.pem')
    writeFileSync(ca, authority.cert)
  })

  it('a cluster of three nodes gives, takes and expires tickets, also when one node is lost', async () => {
    const nodes = await startCluster(authority)
    const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')
    const address = addressOf(0, ca, '&cluster=yes', hosts)
    const fill = () => {
      const one = runner(address)
      for (const [i, peer] of PEERS.entries()) one.store.save(peer, [verified(i)], now())
      return one
    }
    const give = (from: ReturnType<typeof runner>) =>
      giveToPool(from, new PoolHelper(address), 'ci', now()).then(({ given }) => given)
    const take = () => takeFromPool(runner(address), new PoolHelper(address), { job: 'ci' }, now())
    try {
      expect(await give(fill())).toBe(30)
      expect(await statusOfPool(fill(), new PoolHelper(address))).toMatchObject({ peers: 30, batches: 30 })
      const sizes = await Promise.all(nodes.map((node) => node.send('DBSIZE')))
      for (const size of sizes) expect(size).toBeGreaterThan(4)
      const keys = (await Promise.all(nodes.map((node) => node.send('KEYS', '*')))) as string[][]
      for (const [i, node] of nodes.entries())
        for (const key of keys[i]!) expect(await node.send('TTL', key)).toBeGreaterThan(0)
      expect(await take()).toBe(30)
      expect(await take()).toBe(0)

      expect(await give(fill())).toBe(30)
      // Not the node with the list of the job, since nothing is found without that list.
      const listed = keys.findIndex((some) => some.some((key) => key.endsWith(':job')))
      const lost = nodes[(listed + 1) % nodes.length]!
      await lost.stop()
      const taken = await take()
      expect(taken).toBeGreaterThan(4)
      expect(taken).toBeLessThan(30)
      // What the lost node would have had to take is lost, or comes back.
      const given = await give(fill())
      expect(given).toBeGreaterThan(4)
      expect(given).toBeLessThan(30)
    } finally {
      await Promise.all(nodes.map((node) => node.stop()))
    }
  })

  it('the primary that sentinels name is used', async () => {
    const valkey = await startValkey({ authority, config: [`masterauth ${POOL_PASSWORD}`] })
    const port = await freePort()
    const { cert, key } = await authority.issue()
    writeFileSync(join(folder, 'cert.pem'), cert)
    writeFileSync(join(folder, 'key.pem'), key)
    const lines = [
      ...['port 0', `tls-port ${port}`, 'bind 127.0.0.1', 'tls-auth-clients no', 'tls-replication yes'],
      ...['tls-cert-file cert.pem', 'tls-key-file key.pem', 'tls-ca-cert-file ca.pem'],
      ...[`sentinel monitor main 127.0.0.1 ${valkey.port} 1`, `sentinel auth-pass main ${POOL_PASSWORD}`],
    ]
    writeFileSync(join(folder, 'sentinel.conf'), `${lines.join('\n')}\n`)
    const sentinel = spawn(findCommand('redis-server')!, ['sentinel.conf', '--sentinel'], {
      cwd: folder,
      stdio: 'ignore',
    })
    const ended = new Promise((done) => sentinel.once('exit', done))
    try {
      expect(await waitForPort(port)).toBe(true)
      const url = `valkeys://:${POOL_PASSWORD}@127.0.0.1:${port}?sentinel=main&ca=${ca}&budget=30000`
      const address = readPoolAddress(url, 'TICKETKEEP_POOL')
      const one = runner(address)
      one.store.save(PEERS[0]!, [verified(1)], now())
      expect(await giveToPool(one, new PoolHelper(address), 'ci', now())).toMatchObject({ given: 1 })
      expect(await takeFromPool(runner(address), new PoolHelper(address), { job: 'ci' }, now())).toBe(1)
    } finally {
      sentinel.kill('SIGKILL')
      await ended
      await valkey.stop()
    }
  })
})
