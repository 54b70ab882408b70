import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
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

/** An environment in which no key is given and no session is inherited. */
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

// The keyring takes 5 to 9 ms: more than a connection on loopback, less than one over a real network.
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

/** A login session in small: a bus of its own, and the keyring unlocked with a password. */
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
      it('later runs resume, and the keyring holds one key of ours', async () => {
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

describeWith([keyring, homeless], 'with an unlocked gnome-keyring that holds no key of ours yet', () => {})

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
