import { constants } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingClients, missingCommands, missingNode } from '../support/missing.ts'
import { clientScript, NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { type Authority, createAuthority } from '../support/pki.ts'
import { CLI, DIST } from '../support/places.ts'
import { startRelay } from '../support/relay.ts'
import {
  createSandbox,
  exampleProgram,
  runCommand,
  runProgram,
  type Sandbox,
} from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

let server: TlsServer
let authority: Authority
let ca: string
let sandbox: Sandbox
let env: Record<string, string | undefined>

beforeAll(async () => {
  authority = await createAuthority()
  ca = authority.cert
  server = await startTlsServer(await authority.issue())
})
afterAll(() => server?.close())

/** An environment without a key and without an inherited session bus. */
function freshSandbox(): Sandbox {
  sandbox = createSandbox()
  const runtime = join(sandbox.directory, 'run')
  mkdirSync(runtime, { mode: 0o700 })
  env = {
    NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca),
    TICKETKEEP_KEY: undefined,
    XDG_RUNTIME_DIR: runtime,
  }
  return sandbox
}

// The keyring answers in 5 to 9 ms. That is more than a loopback connection takes and less than one over a real network.
const PROGRAM = exampleProgram('slow-lookup.cjs')
const url = (path: string) => `https://localhost:${server.port}/${path}`
const reusedAt = (path: string) =>
  server.requests.filter((request) => request.url === `/${path}`).map(({ reused }) => reused)

/**
 * No connection waits for the keyring, and no program that has come to its end. So the first connection of this
 * program takes a while, and the test looks at the second one, to another origin. The program stays until there is a
 * store, or for five seconds.
 */
const FIRST_FAR_THEN_NEAR = `
  const { get } = require('node:https')
  const { existsSync } = require('node:fs')
  const [far, near] = process.argv.slice(2)
  const end = Date.now() + 5000
  const leave = () => {
    if (existsSync(process.env.TICKETKEEP_DIR) || Date.now() > end) console.log('done')
    else setTimeout(leave, 20)
  }
  get(far, (response) => response.resume().on('end', () => {
    get(near, (response) => response.resume().on('end', leave))
  }))`

/** Ends after a time of its own, and prints how many timers but that one held it at once. */
const HELD = `
  let own = 0
  let most = 0
  const look = () => {
    const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    most = Math.max(most, timers - own)
  }
  setInterval(look, 1).unref()
  process.on('exit', () => console.log(most))
  require('node:https').get(process.argv[2], { family: 4 }, (response) =>
    response.resume().on('end', () => {
      setTimeout(() => {}, Number(process.argv[3]))
      own = 1
    }))`

/** A small login session: its own bus, and the keyring unlocked with a password. */
const UNLOCKED = `
  printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
  "$@"`

const keyring = missingCommands('dbus-run-session', 'gnome-keyring-daemon', 'secret-tool')
const home = statSync(userInfo().homedir, { throwIfNoEntry: false })
const homeless = home?.uid === process.getuid?.() ? undefined : 'this user has no home of its own'

for (const line of NODE_LINES) {
  describeWith(
    [keyring, homeless, missingNode(line)],
    `with an unlocked gnome-keyring, on Node ${line}`,
    () => {
      it('later runs resume and the keyring holds one key', async () => {
        freshSandbox()
        const relay = await startRelay(server.port, 100)
        const path = `unlocked-${line}`
        try {
          // On a busy machine the first run may end before its key is made.
          const thrice = `
          for run in 1 2 3; do "$NODE" "$PROGRAM" "$FAR" "$NEAR" || exit; done
          NODE_OPTIONS= secret-tool search --all service ticketkeep 2>&1`
          const names = {
            NODE: nodeBinary(line),
            PROGRAM: sandbox.write('program.cjs', FIRST_FAR_THEN_NEAR),
            FAR: `https://localhost:${relay.port}/far`,
            NEAR: url(path),
          }
          const { status, stdout, stderr } = await runCommand({ sandbox, env: { ...env, ...names } }, [
            'dbus-run-session',
            '--',
            'sh',
            '-c',
            UNLOCKED,
            'sh',
            'sh',
            '-c',
            thrice,
          ])
          const complaints = stderr.split('\n').filter((text) => text && !text.startsWith('dbus-daemon['))
          expect({ status, complaints }).toEqual({ status: 0, complaints: [] })
          expect(stdout.startsWith('done\ndone\ndone\n')).toBe(true)
          expect(reusedAt(path)).toEqual([false, expect.any(Boolean), true])
          expect(stdout.match(/^attribute\.service = ticketkeep$/gm)).toHaveLength(1)
        } finally {
          await relay.close()
          sandbox.remove()
        }
      })
    },
  )
}

/**
 * A program that ends at once, as `npm ping` does by `process.exit()`. The relay accepts on loopback, so the round trips
 * before the first packet of TLS (a name, TCP) are put in here.
 */
const PING = `
  const lookup = (...args) => setTimeout(() => require('node:dns').lookup(...args), 60)
  const get = require('node:https').get
  get(process.argv[2], { lookup }, (response) => response.resume().on('end', () => process.exit()))`

/** Runs a command twice, waits for the key that a helper may still be making, counts the keys, and runs it more often. */
const TWICE_THEN_MORE = `
  "$@"; "$@"
  for i in $(seq 50); do
    secret-tool search --all service ticketkeep 2>&1 | grep -q 'service = ticketkeep' && break
    sleep 0.1
  done
  echo "keys: $(secret-tool search --all service ticketkeep 2>&1 | grep -c 'service = ticketkeep')"
  for run in 1 2 3; do "$@"; done`

for (const line of NODE_LINES) {
  const needs = [keyring, homeless, missingNode(line)]
  describeWith(needs, `a short program on a fresh gnome-keyring, 30 ms away, on Node ${line}`, () => {
    /** How many keys there are after two runs, and whether later ones resume and store tickets. */
    async function runs(program: (url: string) => string[]) {
      freshSandbox()
      const relay = await startRelay(server.port, 30)
      const before = server.requests.length
      try {
        const words = [nodeBinary(line), ...program(`https://localhost:${relay.port}/`)]
        const { stdout } = await runCommand({ sandbox, env }, [
          ...['dbus-run-session', '--', 'sh', '-c', UNLOCKED, 'sh'],
          ...['sh', '-c', TWICE_THEN_MORE, 'sh', ...words],
        ])
        const keys = /^keys: (\d+)$/m.exec(stdout)?.[1]
        const resumed = server.requests.slice(before).some(({ reused }) => reused)
        return { keys, resumed, stored: sandbox.stored().length > 0 }
      } finally {
        await relay.close()
        sandbox.remove()
      }
    }

    it('that ends by process.exit() makes its key in the first two runs and then resumes', async () => {
      const program = (url: string) => [sandbox.write('ping.cjs', PING), url]
      expect(await runs(program)).toMatchObject({ keys: '1', resumed: true })
    })

    describeWith(missingClients(), 'with the real npm', () => {
      it('npm ping makes its key in the first two runs and then keeps tickets', async () => {
        const npm = clientScript('npm/bin/npm-cli.js')
        const ping = (url: string) => [npm, 'ping', `--registry=${url}`, '--no-update-notifier']
        expect(await runs(ping)).toMatchObject({ keys: '1', stored: true })
      })
    })
  })
}

/** A program that replaces a function as it starts, makes a connection, and stays until there is a store. */
const replacing = (source: string) => `${source}\n${FIRST_FAR_THEN_NEAR}`

describeWith([keyring, homeless], 'a program that replaces functions of Node while its key is made', () => {
  /** The key that the keyring then holds, in hexadecimal, and how the program ended. */
  async function keyMadeBy(source: string) {
    freshSandbox()
    const relay = await startRelay(server.port, 60)
    try {
      const command = `
        "$NODE" "$PROGRAM" "$FAR" "$NEAR" 2>"$ERRORS"; echo "status: $?"
        for i in $(seq 20); do
          key=$(NODE_OPTIONS= secret-tool lookup service ticketkeep | od -An -v -tx1 | tr -d ' \\n')
          [ -z "$key" ] || break
          sleep 0.1
        done
        echo "key: $key"`
      const names = {
        NODE: process.execPath,
        PROGRAM: sandbox.write('program.cjs', source),
        FAR: `https://localhost:${relay.port}/`,
        NEAR: `https://localhost:${relay.port}/again`,
        ERRORS: join(sandbox.directory, 'errors'),
      }
      const { stdout } = await runCommand({ sandbox, env: { ...env, ...names } }, [
        ...['dbus-run-session', '--', 'sh', '-c', UNLOCKED, 'sh', 'sh', '-c', command],
      ])
      return {
        key: /^key: (.*)$/m.exec(stdout)?.[1] ?? '',
        status: /^status: (.*)$/m.exec(stdout)?.[1],
        errors: readFileSync(names.ERRORS, 'utf8'),
      }
    } finally {
      await relay.close()
      sandbox.remove()
    }
  }

  it.each([
    ['zeros', '(n) => Buffer.alloc(n)'],
    ['too few bytes', "() => Buffer.from('abc')"],
    ['text', "() => 'no bytes'"],
  ])('gets a random key, though crypto.randomBytes gives %s', async (_what, fake) => {
    const { key, status } = await keyMadeBy(replacing(`require('node:crypto').randomBytes = ${fake}`))
    expect(status).toBe('0')
    // The blob holds 32 bytes of key, and a few more.
    expect(key.length).toBeGreaterThanOrEqual(64)
    expect(new Set(key.match(/../g)).size).toBeGreaterThan(12)
    expect(key).not.toMatch(/(00){16}/)
  })

  it('ends with its own exit status and exit listeners, though nothing can be spawned', async () => {
    freshSandbox()
    const source = `
      require('node:child_process').spawn = () => { throw new Error('nothing can be spawned') }
      process.on('exit', () => { process.exitCode = 3 })
      require('node:https').get(process.argv[2], () => {})
      setTimeout(() => process.exit(), Number(process.argv[3]))`
    // At some of these times the key is being made.
    const command = `
      for delay in 10 20 30 40 50 60 80; do
        NODE_OPTIONS= secret-tool clear service ticketkeep
        "$NODE" "$PROGRAM" "$URL" $delay 2>&1; echo $?
      done`
    const names = {
      NODE: process.execPath,
      PROGRAM: sandbox.write('program.cjs', source),
      URL: url('spawn'),
    }
    const { stdout } = await runCommand({ sandbox, env: { ...env, ...names } }, [
      ...['dbus-run-session', '--', 'sh', '-c', UNLOCKED, 'sh', 'sh', '-c', command],
    ])
    sandbox.remove()
    expect(stdout).toBe('3\n'.repeat(7))
  })

  it.each(['throw new Error()', ''])(
    'ends as without us, though net.connect is replaced by { %s }',
    async (body) => {
      const source = `
      require('node:net').connect = () => { ${body} }
      require('node:https').get(process.argv[2], (response) => response.resume())`
      const { status, errors } = await keyMadeBy(source)
      expect({ status, errors }).toEqual({ status: '0', errors: '' })
    },
  )
})

describeWith([keyring, homeless], 'with an unlocked gnome-keyring that holds no key yet', () => {
  it('one timer keeps a program running while its key is made, and none keeps later programs', async () => {
    freshSandbox()
    const relay = await startRelay(server.port, 100)
    try {
      const command = `"$NODE" "$PROGRAM" "$URL" 3000; "$NODE" "$PROGRAM" "$URL" 300`
      const names = {
        NODE: process.execPath,
        PROGRAM: sandbox.write('program.cjs', HELD),
        URL: `https://localhost:${relay.port}/`,
      }
      const { stdout } = await runCommand({ sandbox, env: { ...env, ...names } }, [
        ...['dbus-run-session', '--', 'sh', '-c', UNLOCKED, 'sh', 'sh', '-c', command],
      ])
      expect(stdout).toBe('1\n0\n')
    } finally {
      await relay.close()
      sandbox.remove()
    }
  })

  it('a connection without a ticket also makes a key, which the next connection finds', async () => {
    freshSandbox()
    const bare = await startTlsServer({
      ...(await authority.issue()),
      version: 'TLSv1.2',
      secureOptions: constants.SSL_OP_NO_TICKET,
    })
    try {
      // A key is made meanwhile.
      const source = `require('node:https').get(process.argv[2], (response) => {
        const { authorized } = response.socket
        response.resume().on('end', () => setTimeout(() => console.log(authorized), 2000))
      })`
      const command = `"$NODE" "$PROGRAM" "$URL"; NODE_OPTIONS= secret-tool search --all service ticketkeep 2>&1`
      const names = {
        NODE: process.execPath,
        PROGRAM: sandbox.write('program.cjs', source),
        URL: `https://localhost:${bare.port}/`,
      }
      const { stdout } = await runCommand({ sandbox, env: { ...env, ...names } }, [
        ...['dbus-run-session', '--', 'sh', '-c', UNLOCKED, 'sh', 'sh', '-c', command],
      ])
      expect(stdout).toMatch(/^true\n.*attribute\.service = ticketkeep/s)
    } finally {
      await bare.close()
      sandbox.remove()
    }
  })
})

describeWith(undefined, 'with no keychain at all', () => {
  it('nothing is written to disk, and status says why and what to do', async (context) => {
    freshSandbox()
    try {
      const index = JSON.stringify(pathToFileURL(join(DIST, 'index.js')).href)
      const source = `
        import { TicketCache } from ${index}
        console.log((await TicketCache.open()).keySource)`
      const { status: opened, stdout } = await runProgram({
        sandbox,
        module: 'mjs',
        source,
        preload: false,
        env,
      })
      expect(opened).toBe(0)
      if (stdout !== 'memory\n') context.skip(`this machine has a key source of its own: ${stdout.trim()}`)

      for (let i = 0; i < 2; i++) {
        const outcome = await runProgram({ sandbox, file: PROGRAM, args: [url('nothing')], env })
        expect(outcome).toEqual({ status: 0, signal: null, stdout: '200 hello\n', stderr: '' })
      }
      expect(reusedAt('nothing')).toEqual([false, false])
      expect(readdirSync(sandbox.home)).toEqual([])
      expect(sandbox.stored()).toEqual([])

      const status = await runCommand({ sandbox, env, preload: false }, [process.execPath, CLI, 'status'])
      expect(status.stdout).toMatch(/memory/)
      expect(status.stdout).toMatch(/TICKETKEEP_KEY_FILE/)
    } finally {
      sandbox.remove()
    }
  })
})
