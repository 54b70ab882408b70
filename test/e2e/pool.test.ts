import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { unixNow } from '../../src/common/clock.ts'
import { deriveSubkeys } from '../../src/seal/subkeys.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { PEER, verified } from '../pool/kit.ts'
import { describeWith, missingCommands } from '../support/missing.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { CLI, DIST, ROOT } from '../support/places.ts'
import { missingPolicies, withPolicy } from '../support/policies.ts'
import { sleep } from '../support/ports.ts'
import { createSandbox, type Outcome, runCommand, type Sandbox, TEST_KEY } from '../support/run-program.ts'
import { type LyingPool, POOL_PASSWORD, startLyingPool, startValkey, type Valkey } from '../support/valkey.ts'

/** Prints what it sees of ticketkeep, and exits with 7. */
const JOB = `
const { TICKETKEEP_POOL, NODE_OPTIONS } = process.env
console.log(TICKETKEEP_POOL ?? 'no pool', /preload/.test(NODE_OPTIONS))
process.exitCode = 7
`

describeWith(missingCommands('redis-server'), 'a job with a pool', () => {
  let authority: Authority
  let valkey: Valkey
  let sandbox: Sandbox
  let ca: string
  let job: string
  beforeAll(async () => {
    authority = await createAuthority()
    valkey = await startValkey({ authority })
  })
  afterAll(() => valkey?.stop())
  beforeEach(async () => {
    sandbox?.remove()
    sandbox = createSandbox()
    ca = sandbox.write('ca.pem', authority.cert)
    job = sandbox.write('job.cjs', JOB)
    await valkey.send('CONFIG', 'SET', 'maxmemory', 0)
    await valkey.send('REPLICAOF', 'NO', 'ONE')
    await valkey.send('FLUSHALL')
  })
  afterAll(() => sandbox?.remove())

  const url = (parameters = '', password = POOL_PASSWORD, port = valkey.port) =>
    `valkeys://:${password}@127.0.0.1:${port}?ca=${ca}&budget=10000${parameters}`

  const cli = (args: readonly string[], env: Record<string, string | undefined> = {}) =>
    runCommand({ sandbox, preload: false, env: { TICKETKEEP_POOL: url(), ...env } }, [
      process.execPath,
      CLI,
      ...args,
    ])

  const run = (pool?: string, env: Record<string, string | undefined> = {}) =>
    cli(['run', '--summary', '--', process.execPath, job], { ...(pool && { TICKETKEEP_POOL: pool }), ...env })

  const store = (directory = sandbox.tickets) =>
    new TicketStore({
      directory,
      subkeys: deriveSubkeys(Buffer.from(TEST_KEY, 'base64')),
      cipher: 'xsalsa20-poly1305',
    })
  const put = (...seeds: number[]) =>
    store().save(
      PEER,
      seeds.map((seed) => verified(seed)),
      unixNow(),
    )
  const count = () => store().list(unixNow()).length

  /** Checks that the job ran as without ticketkeep. @returns the line about the pool */
  const lineOf = ({ stdout, stderr, status, signal }: Outcome) => {
    expect({ stdout, status, signal }).toEqual({ stdout: 'no pool true\n', status: 7, signal: null })
    expect(stderr).not.toContain(POOL_PASSWORD)
    const lines = stderr.split('\n').filter((line) => /^ticketkeep: pool/.test(line))
    expect(lines).toHaveLength(1)
    // Nothing else than the summary and this: its client has words of its own.
    expect(stderr).not.toMatch(/redis|WARN/i)
    return lines[0]
  }

  it('gives back the tickets that it has not used, even if it fails', async () => {
    put(1, 2)
    expect(lineOf(await run())).toBe('ticketkeep: pool: 0 tickets taken, 2 tickets given')
    expect(count()).toBe(0)
    expect(lineOf(await run())).toBe('ticketkeep: pool: 2 tickets taken, 2 tickets given')
    const quiet = await cli(['run', '--', process.execPath, job])
    expect(quiet).toEqual({ stdout: 'no pool true\n', stderr: '', status: 7, signal: null })
  })

  it('gives its tickets back when a signal ends it, and ends by that signal', async () => {
    put(1, 2)
    const waiting = sandbox.write('wait.cjs', 'console.log(1); setInterval(() => {}, 1000)')
    const ended = await runCommand(
      {
        ...{ sandbox, preload: false, env: { TICKETKEEP_POOL: url() } },
        onStart: (child) => child.stdout!.once('data', () => child.kill('SIGTERM')),
      },
      [process.execPath, CLI, 'run', '--', process.execPath, waiting],
    )
    expect(ended).toMatchObject({ status: null, signal: 'SIGTERM', stderr: '' })
    expect(count()).toBe(0)
    expect((await cli(['pool', 'take'])).stdout).toBe('Took 2 tickets from the pool.\n')
  })

  it('can call pool take, pool give and pool status itself', async () => {
    put(1, 2, 3)
    const named = ['--job', 'build']
    expect((await cli(['pool', 'give', ...named])).stdout).toBe('Gave 3 tickets to the pool.\n')
    expect((await cli(['pool', 'take', ...named, '--json'])).stdout).toBe('{\n  "taken": 3\n}\n')
    expect((await cli(['pool', 'give', ...named])).status).toBe(0)
    expect((await cli(['pool', 'take', 'registry.example'])).stdout).toBe('Took 3 tickets from the pool.\n')
    await valkey.send('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    const status = await cli(['pool', 'status'])
    expect(status.stdout).toMatch(/Redis 7.*allkeys-lru.*2 of 2 \(100 %\).*volatile-ttl.*ACL SETUSER/s)
    await valkey.send('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    expect((await cli(['doctor'])).stdout).toMatch(/^pool +reachable/m)
  })

  it('keeps its own tickets when the pool is full', async () => {
    put(1, 2)
    await valkey.send('CONFIG', 'SET', 'maxmemory', 1)
    expect(lineOf(await run())).toMatch(/0 tickets taken, 0 tickets given; it is full/)
    expect(count()).toBe(2)
  })

  it('can take from a read-only replica, and is told of one without its primary', async () => {
    put(1, 2)
    await valkey.send('REPLICAOF', '127.0.0.1', 1)
    expect(lineOf(await run())).toMatch(/it is a read-only replica/)
    await valkey.send('CONFIG', 'SET', 'replica-serve-stale-data', 'no')
    expect(lineOf(await run())).toMatch(/its primary is down/)
    await valkey.send('CONFIG', 'SET', 'replica-serve-stale-data', 'yes')
    expect(count()).toBe(2)
  })

  it('runs and says why when the password or the CA is wrong or nobody answers', async () => {
    put(1, 2)
    expect(lineOf(await run(url('', 'hunter3')))).toMatch(/it refuses the user name or the password/)
    const other = await createAuthority()
    sandbox.write('ca.pem', other.cert)
    expect(lineOf(await run())).toMatch(/it cannot be reached \(.*(CERT|SIGNATURE).*\)/)
    expect(lineOf(await run(url('', POOL_PASSWORD, 1)))).toMatch(/it cannot be reached \(ECONNREFUSED\)/)
    expect(count()).toBe(2)
  })

  it('loses its time budget once when the server is stopped', async () => {
    put(1)
    process.kill(valkey.pid, 'SIGSTOP')
    try {
      const start = performance.now()
      expect(lineOf(await run(url('&budget=200').replace('budget=10000&', '')))).toMatch(
        /did not answer within 200 ms/,
      )
      // The server never answers. The rest of the time depends on the machine.
      expect(performance.now() - start).toBeLessThan(20_000)
    } finally {
      process.kill(valkey.pid, 'SIGCONT')
    }
    expect(count()).toBe(1)
  })

  it('runs and says why when the server goes away meanwhile', async () => {
    const { pid, port, stop } = await startValkey({ authority })
    put(1)
    const kills = sandbox.write('kills.cjs', `process.kill(${pid}, 'SIGKILL')\n${JOB}`)
    const ended = await cli(['run', '--summary', '--', process.execPath, kills], {
      TICKETKEEP_POOL: url('', POOL_PASSWORD, port),
    })
    expect(lineOf(ended)).toMatch(/it cannot be reached/)
    expect(count()).toBe(1)
    await stop()
  })

  it.each<[string, string | Buffer, RegExp]>([
    ['noise', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /0 tickets given; /],
    ['endless arrays', Buffer.alloc(64_000_000, '*33554431\r\n'), /0 tickets given; /],
    ['nested arrays', Buffer.alloc(2_000_000, '*1\r\n'), /0 tickets given; /],
    ['a value that does not end', `+OK\r\n+PONG\r\n$500000000\r\n${'x'.repeat(4_000_000)}`, /did not answer/],
    [
      'an error that contains the password',
      `-ERR no such user ${POOL_PASSWORD}\r\n`.repeat(9),
      /it answered with an error/,
    ],
    [
      'the password as an error code',
      `-${POOL_PASSWORD.toUpperCase()} x\r\n`.repeat(9),
      /answered with an error/,
    ],
    [
      'the warning of an old server',
      '-ERR Client sent AUTH, but no password is set\r\n'.repeat(9),
      /with an error/,
    ],
  ])('survives a hostile pool that sends %s', async (_, bytes, line) => {
    const lying = await startLyingPool((socket) => socket.once('data', () => socket.write(bytes)))
    put(1)
    const pool = `valkey://:${POOL_PASSWORD}@127.0.0.1:${lying.port}?budget=500`
    expect(lineOf(await run(pool, { DEBUG: '*' }))).toMatch(line)
    // The pool was asked once, and not again at the end.
    expect(lying.connections()).toBe(1)
    expect(count()).toBe(1)
    await lying.close()
  })

  it('gives up on an endless value', async () => {
    const lying: LyingPool = await startLyingPool((socket) => {
      const more = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(1_000_000, '+OK\r\n'))) {}
      }
      socket.once('data', more).on('drain', more)
    })
    put(1)
    expect(lineOf(await run(`valkey://127.0.0.1:${lying.port}?budget=500`))).toMatch(/pool: 0 tickets taken/)
    // The pool may have said that it took the ticket.
    expect([0, 1]).toContain(count())
    await lying.close()
  })

  it('runs without a pool when the client is not installed, and one sentence says how to get it', async () => {
    // The package without the optional client.
    const modules = join(sandbox.directory, 'inner/node_modules')
    mkdirSync(join(modules, 'ticketkeep'), { recursive: true })
    cpSync(DIST, join(modules, 'ticketkeep/dist'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(modules, 'ticketkeep/package.json'))
    for (const name of readdirSync(join(ROOT, 'node_modules')).filter((one) => one !== 'iovalkey'))
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
    const without = (...args: string[]) =>
      runCommand({ sandbox, preload: false, env: { TICKETKEEP_POOL: url() } }, [
        ...[process.execPath, join(modules, 'ticketkeep/dist/cli.js'), ...args],
      ])
    const status = await without('pool', 'status')
    expect(status).toMatchObject({ status: 1, stdout: '' })
    expect(status.stderr).toMatch(/^ticketkeep: a pool needs the npm package iovalkey.*npm install iovalkey/)
    expect((await without('run', '--summary', '--', process.execPath, job)).stderr).toMatch(
      /pool: 0 tickets taken, 0 tickets given; a pool needs the npm package iovalkey/,
    )
    // Another user's, in a folder above.
    const planted = join(sandbox.directory, 'node_modules/iovalkey')
    const taken = join(sandbox.directory, 'taken')
    mkdirSync(planted, { recursive: true })
    writeFileSync(join(planted, 'package.json'), '{"name":"iovalkey","main":"index.js"}')
    writeFileSync(join(planted, 'index.js'), `require('node:fs').writeFileSync(${JSON.stringify(taken)}, '')`)
    chmodSync(planted, 0o777)
    expect((await without('pool', 'status')).stderr).toMatch(/^ticketkeep: a pool needs the npm package/)
    expect(existsSync(taken)).toBe(false)
  })

  it('is refused with one sentence without the password when the command line is wrong', async () => {
    const secret = 'valkeys://u:hunter2@pool.example'
    const cases: [string[], Record<string, string | undefined>, number, RegExp][] = [
      [['run', '--pool', secret, '--', 'true'], {}, 2, /TICKETKEEP_POOL/],
      [['pool', 'status', '--pool', secret], {}, 2, /TICKETKEEP_POOL/],
      [['pool', 'status'], { TICKETKEEP_POOL: 'http://u:hunter2@x' }, 2, /not of the form/],
      [['pool', 'status'], { TICKETKEEP_POOL: undefined }, 2, /there is no pool/],
      [['pool', 'fetch'], {}, 2, /take, give or status/],
      [['pool', 'give', 'registry.example'], {}, 2, /takes no servers/],
      [['pool', 'take'], { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_SOURCE: 'keychain' }, 1, /of one user/],
      [['pool', 'take'], { TICKETKEEP_DISABLE: '1' }, 1, /disabled/],
    ]
    for (const [args, env, status, why] of cases) {
      const ended = await cli(args, env)
      expect(ended).toMatchObject({ status, stdout: '' })
      expect(ended.stderr).toMatch(why)
      expect(ended.stderr).toMatch(/^ticketkeep: [^\n]*\n$/)
      expect(ended.stderr).not.toContain('hunter2')
    }
    // A wrong variable must not keep a job from running.
    expect(lineOf(await run('http://u:hunter2@x'))).toMatch(/not of the form/)
  })

  it.skipIf(missingPolicies())('uses no pool when the policy of the machine forbids it', async () => {
    put(1)
    const prefix = withPolicy(sandbox, { pool: false })
    const forbidden = (args: readonly string[]) =>
      runCommand({ sandbox, prefix, preload: false, env: { TICKETKEEP_POOL: url() } }, [
        ...[process.execPath, CLI, ...args],
      ])
    const give = await forbidden(['pool', 'give'])
    expect(give).toMatchObject({ status: 1, stdout: '' })
    expect(give.stderr).toMatch(/policy .* forbids a pool/)
    expect(lineOf(await forbidden(['run', '--summary', '--', process.execPath, job]))).toMatch(
      /forbids a pool/,
    )
    expect(count()).toBe(1)
  })

  it('has the password in no argument list while the pool is asked', async () => {
    const lying = await startLyingPool(() => {})
    const pool = `valkey://:${POOL_PASSWORD}@127.0.0.1:${lying.port}?budget=3000`
    const running = run(pool)
    while (lying.connections() === 0) await sleep(10)
    const { stdout } = await runCommand({ sandbox, preload: false }, ['ps', '-eo', 'args'])
    expect(stdout).toContain('pool-helper.js')
    expect(stdout).not.toContain(POOL_PASSWORD)
    await lying.close()
    lineOf(await running)
  })
})
