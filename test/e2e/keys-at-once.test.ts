// Many real programs make and rotate one key at the same time.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import type { HelperTask } from '../../src/keys/helper-process.ts'
import { kidOf } from '../../src/store/names.ts'
import {
  askInProcess,
  KEY_TEXT,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith } from '../support/missing.ts'
import { createSandbox, environment, runCommand, type Sandbox } from '../support/run-program.ts'
import { useServer } from '../support/servers.ts'
import { makeUserIfPossible, usePackageForEveryone, useUser } from '../support/users.ts'

/** Set this variable to run all rounds instead of a few. */
const LONG = process.env.TICKETKEEP_TEST_LONG === '1'

const DOMAIN = 'example.test'

/** Connects to one host, says so, and stays until it may go. */
const ONE = `
  const [port, host, stop] = process.argv.slice(2)
  const lookup = (_name, { all }, done) => setTimeout(done, 250, null, all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4)
  const wait = () => require('node:fs').existsSync(stop) || setTimeout(wait, 10)
  require('node:https').get({ host, port, lookup, path: '/' + host }, (response) => response.resume().on('end', wait))`

/** Connects to one host after the other, each a new one, until it may go. */
const MANY = `
  const [port, name, stop] = process.argv.slice(2)
  const { get, Agent } = require('node:https')
  const lookup = (_name, { all }, done) => done(null, all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4)
  let n = 0
  const next = () => {
    if (require('node:fs').existsSync(stop)) return
    const host = name + '-' + n++ + '.${DOMAIN}'
    get({ host, port, lookup, agent: new Agent() }, (response) => response.resume().on('end', () => setTimeout(next, 40)))
  }
  next()`

/** Connects to each host in turn, by a clock that is so many seconds ahead; prints whether it has resumed. */
const LATER = `
  const [port, ahead, ...hosts] = process.argv.slice(2)
  // The clock is changed before the preload of ticketkeep is loaded.
  if (process.env.AHEAD === undefined) {
    const options = '--require=' + __dirname + '/clock.cjs ' + process.env.NODE_OPTIONS
    const env = { ...process.env, AHEAD: ahead, NODE_OPTIONS: options }
    const { status } = require('node:child_process').spawnSync(process.execPath, process.argv.slice(1), { env, stdio: 'inherit' })
    process.exit(status)
  }
  const lookup = (_name, { all }, done) => setTimeout(done, 250, null, all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4)
  const next = () => {
    const host = hosts.shift()
    if (host) require('node:https').get({ host, port, lookup, agent: false }, (response) => {
      console.log(require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket))
      response.resume().on('end', next)
    })
  }
  next()`

const CLOCK = 'const { now } = Date; Date.now = () => now() + Number(process.env.AHEAD) * 1000'

const given = useServer({ names: [`*.${DOMAIN}`] })
const pack = usePackageForEveryone()
const user = useUser('tk-test-many', makeUserIfPossible)

/** A user with an unlocked, empty keyring. */
interface Machine {
  readonly sandbox: Sandbox
  readonly bus: SecretServiceBus
  /** Starts a Node program with ticketkeep. */
  start(program: 'one' | 'many' | 'later', ...args: string[]): ChildProcess
  ticketkeep(...words: string[]): ChildProcess
  /** How many tickets a program that starts now can read, by host. */
  readable(): Promise<Map<string, number>>
  /** A file that tells the programs to end. `letGo` writes it. */
  readonly stop: string
  letGo(): void
}

/** gnome-keyring can end with an assertion where clients come and go quickly (its issues 190, 196 and 199). */
class KeyringDied extends Error {}

async function onMachine(work: (machine: Machine) => Promise<void>): Promise<void> {
  const sandbox = createSandbox()
  const own = (path: string) => user.prefix.length > 0 && chownSync(path, user.uid, user.uid)
  own(sandbox.directory)
  own(sandbox.home)
  const bus = await startSecretService('unlocked', user.prefix.length > 0 ? user : undefined)
  const env = {
    ...bus.env,
    NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert),
    TICKETKEEP_KEY: undefined,
    XDG_RUNTIME_DIR: sandbox.home,
  }
  const running = new Set<ChildProcess>()
  const run = (preload: string | false, ...words: string[]) => {
    const [program, ...args] = [...user.prefix, process.execPath, ...words] as [string, ...string[]]
    const child = spawn(program, args, {
      cwd: sandbox.directory,
      env: environment({ sandbox, preload, env }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stderr!.on('data', (text) => process.stderr.write(text))
    running.add(child.on('close', () => running.delete(child)))
    return child
  }
  const programs = {
    one: sandbox.write('one.cjs', ONE),
    many: sandbox.write('many.cjs', MANY),
    later: sandbox.write('later.cjs', LATER),
    clock: sandbox.write('clock.cjs', CLOCK),
  }
  const ticketkeep = (...words: string[]) => run(false, pack.cli, ...words)
  const stop = join(sandbox.directory, 'stop')
  try {
    await work({
      sandbox,
      bus,
      start: (program, ...args) => run(pack.preload, programs[program], ...args),
      ticketkeep,
      async readable() {
        const { tickets } = JSON.parse(await ended(ticketkeep('list', '--json')))
        const hosts = new Map<string, number>()
        for (const { host } of tickets) hosts.set(host, (hosts.get(host) ?? 0) + 1)
        return hosts
      },
      stop,
      letGo: () => writeFileSync(stop, ''),
    })
  } catch (error) {
    const { signalCode = null } = bus.daemon ?? {}
    throw signalCode === null ? error : new KeyringDied(`gnome-keyring-daemon has ended with ${signalCode}`)
  } finally {
    for (const child of running) child.kill('SIGKILL')
    await bus.close()
    sandbox.remove()
  }
}

/** The folders that hold batches: one for each key and server. */
const foldersOf = (sandbox: Sandbox) => new Set(sandbox.stored().map((path) => basename(dirname(path))))

/** What a process has printed when it has ended well. */
async function ended(child: ChildProcess): Promise<string> {
  let output = ''
  child.stdout!.on('data', (text) => (output += text))
  const [status] = await once(child, 'close')
  expect(status).toBe(0)
  return output
}

describeWith(missingSecretService(), 'many programs at once', () => {
  test.each(Array.from({ length: LONG ? 50 : 2 }, (_, i) => i + 1))(
    'with an empty keychain, 32 programs make one key and every ticket can be read (round %i)',
    () =>
      onMachine(async ({ sandbox, bus, start, readable, stop, letGo }) => {
        const hosts = Array.from({ length: 32 }, (_, i) => `h${i}.${DOMAIN}`)
        const visit = (host: string) => ended(start('one', String(given.server.port), host, stop))
        const first = Promise.all(hosts.map(visit))
        await expect.poll(() => foldersOf(sandbox).size, { timeout: 20_000 }).toBe(32)
        letGo()
        await first
        expect(bus.search().match(/^attribute\.service = ticketkeep$/gm)).toHaveLength(1)
        const found = await readable()
        expect([...found.keys()].sort()).toEqual([...hosts].sort())
        // Each program stored the two tickets of its handshake as one batch.
        expect([...found.values()].reduce((sum, n) => sum + n)).toBe(2 * sandbox.stored().length)
        const before = given.server.requests.length
        const resumed = (host: string) =>
          given.server.requests.slice(before).some(({ url, reused }) => url === `/${host}` && reused)
        const revisit = async (some: string[]) => {
          // On a busy machine a key may come too late for a connection, which is then a full one.
          for (const host of some) for (let i = 0; i < 10 && !resumed(host); i++) await visit(host)
        }
        await Promise.all([0, 1, 2, 3].map((nth) => revisit(hosts.slice(nth * 8, nth * 8 + 8))))
        expect(hosts.filter((host) => !resumed(host))).toEqual([])
      }),
  )

  test('a program replaces a key that is a week old, and tickets of the old key can still be read', () =>
    onMachine(async ({ sandbox, bus, start, stop }) => {
      const port = String(given.server.port)
      const [old, fresh] = [`old.${DOMAIN}`, `fresh.${DOMAIN}`]
      const ask = (ahead: number, task: HelperTask = 'fetch') =>
        askInProcess({
          task,
          now: Math.floor(Date.now() / 1000) + ahead,
          settings: { ...bus.settings, source: 'keychain' },
          within: user.prefix,
          helper: join(pack.folder, 'dist', 'key-helper.cjs'),
        })
      const kids = () => new Set([...foldersOf(sandbox)].map(kidOf))
      const visit = async (ahead: number, ...hosts: string[]) =>
        (await ended(start('later', port, String(ahead), ...hosts))).trim().split('\n')
      const WEEK = 7 * 86_400
      // more than what the key has still to go, less than what a ticket lives
      const LATER_BY = 150
      const made = (await ask(-WEEK + 100, 'create'))!
      writeFileSync(stop, '')
      await expect
        .poll(async () => (await visit(0, old)) && sandbox.stored().length, { timeout: 20_000 })
        .toBe(1)
      expect((await ask(0))!.keys!.current).toEqual(made.keys!.current)
      const key = async () => (await ask(LATER_BY))!.keys!
      await expect
        .poll(async () => (await visit(LATER_BY, fresh)) && (await key()).current, { timeout: 20_000 })
        .not.toEqual(made.keys!.current)
      expect((await key()).previous!.map((one) => one.key)).toEqual([made.keys!.current])
      await expect
        .poll(async () => (await visit(LATER_BY, fresh)) && kids().size, { timeout: 20_000 })
        .toBe(2)
      await expect.poll(() => visit(LATER_BY, old), { timeout: 20_000 }).toEqual(['true'])
    }))

  test('every ticket can still be read wherever rotate-key is killed', {
    timeout: 600_000,
  }, async () => {
    const rounds = LONG ? 200 : 20
    let round = 0
    let rotated = 0
    let deaths = 0
    const batch = () =>
      onMachine(async ({ start, ticketkeep, readable, stop, letGo, bus }) => {
        const port = String(given.server.port)
        const putters = ['one', 'two'].map((name) => ended(start('many', port, name, stop)))
        await expect.poll(async () => (await readable()).size, { timeout: 20_000 }).toBeGreaterThan(4)
        const began = performance.now()
        await ended(ticketkeep('rotate-key'))
        const whole = performance.now() - began
        // Takes and puts by programs that come and go; what is taken is not there any more, so its host is apart.
        let churns = 0
        const churn = async () => {
          while (!existsSync(stop)) {
            await ended(start('one', port, `churn.${DOMAIN}`, '/dev/null'))
            churns++
          }
        }
        const load = Promise.all([...putters, churn()])
        load.catch(() => {})
        for (let i = 0; i < 10 && round < rounds; i++, round++) {
          const before = await readable()
          const key = bus.search()
          const rotation = ticketkeep('rotate-key')
          setTimeout(() => rotation.kill('SIGKILL'), whole * (0.5 + Math.random()))
          await once(rotation, 'close')
          if (bus.search() !== key) rotated++
          const after = await readable()
          const lost = [...before].filter(([host, tickets]) => (after.get(host) ?? 0) < tickets)
          expect(lost.filter(([host]) => !host.startsWith('churn'))).toEqual([])
        }
        letGo()
        await load
        expect(churns).toBeGreaterThan(0)
        expect(bus.search().match(/^attribute\.service = ticketkeep$/gm)).toHaveLength(1)
      })
    while (round < rounds) {
      await batch().catch((error) => {
        if (!(error instanceof KeyringDied) || ++deaths > 3) throw error
        console.log(`${error.message}; going on with another`)
      })
    }
    console.log(`rotate-key: ${rounds} killed, of which ${rotated} after the new key was there`)
  })
})

describeWith(
  existsSync('/dev/shm') ? undefined : 'there is no memory file system here',
  'a process tree under run',
  () => {
    test('of forty programs runs the key command once, and each program stores its tickets', async () => {
      const sandbox = createSandbox()
      try {
        const calls = sandbox.write('calls', '')
        const program = sandbox.write('one.cjs', ONE)
        const forty = `for i in $(seq 40); do "$NODE" ${program} ${given.server.port} c$i.${DOMAIN} /dev/null & done; wait; echo "$TICKETKEEP_KEY_FILE"`
        const env = {
          NODE: process.execPath,
          NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert),
          TICKETKEEP_KEY: undefined,
          TICKETKEEP_KEY_COMMAND: `sh -c 'echo called >>${calls}; echo ${KEY_TEXT}'`,
          XDG_RUNTIME_DIR: sandbox.home,
        }
        const words = [process.execPath, pack.cli, 'run', 'sh', '-c', forty]
        const outcome = await runCommand({ sandbox, env, preload: false }, words)
        expect(outcome).toMatchObject({ status: 0, stderr: '' })
        expect(readFileSync(calls, 'utf8')).toBe('called\n')
        expect(foldersOf(sandbox).size).toBe(40)
        expect(outcome.stdout).toMatch(/^\/\S+\.key\n$/)
        expect(existsSync(outcome.stdout.trim())).toBe(false)
      } finally {
        sandbox.remove()
      }
    })
  },
)
