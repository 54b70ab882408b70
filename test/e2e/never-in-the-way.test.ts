import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, type Missing, missingNode, missingRoot } from '../support/missing.ts'
import { NODE_LINES, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { DIST, PRELOAD } from '../support/places.ts'
import {
  createSandbox,
  type Outcome,
  type RunOptions,
  runProgram,
  type Sandbox,
  TEST_KEY,
} from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { ENDINGS, TALKATIVE } from './endings.ts'

/** A fault, which is put into a sandbox after one good run. */
type Trouble = (sandbox: Sandbox) => Partial<RunOptions> | undefined

const TROUBLES: Record<string, Trouble> = {
  'the store is a file': ({ tickets }) => {
    rmSync(tickets, { recursive: true })
    writeFileSync(tickets, 'not a directory')
    return undefined
  },
  'the store is below a file': ({ write }) => ({ env: { TICKETKEEP_DIR: `${write('plain', '')}/tickets` } }),
  'the store is a broken link': ({ tickets }) => {
    rmSync(tickets, { recursive: true })
    symlinkSync('/nonexistent/tickets', tickets)
    return undefined
  },
  'the store cannot be made': () => ({ env: { TICKETKEEP_DIR: '/proc/ticketkeep/tickets' } }),
  // Without HOME alone, the home of whoever runs the tests would be found by the passwd entry.
  'there is no HOME': () => ({
    env: { HOME: undefined, XDG_CACHE_HOME: 'relative', TICKETKEEP_DIR: undefined },
  }),
  'every ticket is junk': (sandbox) => {
    for (const path of sandbox.stored()) writeFileSync(path, randomBytes(700))
    return undefined
  },
  'every ticket is truncated': (sandbox) => {
    for (const path of sandbox.stored()) writeFileSync(path, '{"magic":"ticketkeep/v1","box":"')
    return undefined
  },
  'every ticket is a directory': (sandbox) => {
    for (const path of sandbox.stored()) {
      rmSync(path)
      mkdirSync(path)
    }
    return undefined
  },
  'every ticket is a pipe that nobody writes to': (sandbox) => {
    for (const path of sandbox.stored()) {
      rmSync(path)
      execFileSync('mkfifo', [path])
    }
    return undefined
  },
  'the store is full of foreign files': ({ tickets }) => {
    for (let i = 0; i < 2000; i++) writeFileSync(join(tickets, randomBytes(8).toString('hex')), 'junk')
    return undefined
  },
  'the store is full of foreign folders': ({ tickets }) => {
    for (let i = 0; i < 2000; i++) {
      mkdirSync(join(tickets, `AAAAAAAAAAA.${randomBytes(16).toString('base64url')}`), { mode: 0o700 })
    }
    return undefined
  },
  'the folder of the server is full of junk with valid names': (sandbox) => {
    const [path = ''] = sandbox.stored()
    for (let i = 0; i < 2000; i++) {
      writeFileSync(path.replace(/[0-9a-f]{16}(?=\.json$)/, randomBytes(8).toString('hex')), 'junk')
    }
    return undefined
  },
  'the key is another one': () => ({ env: { TICKETKEEP_KEY: randomBytes(32).toString('base64') } }),
  'the key is malformed': () => ({ env: { TICKETKEEP_KEY: 'not a key' } }),
  'the key file is not there': () => ({
    env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_FILE: '/nonexistent' },
  }),
  'the key file is a directory': ({ home }) => ({
    env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_FILE: home },
  }),
  'the key command fails': () => ({
    env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: 'echo oops >&2; exit 9' },
  }),
  'the key command is not there': () => ({
    env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: '/nonexistent' },
  }),
  'the key command prints junk': () => ({
    env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: 'cat /bin/sh' },
  }),
  'the key command never ends': () => ({
    env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: 'sleep 20' },
  }),
  'the key source is unknown': () => ({ env: { TICKETKEEP_KEY_SOURCE: 'nonsense' } }),
  'the bus is not there': () => ({
    env: { TICKETKEEP_KEY: undefined, DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent' },
  }),
  'the clock is ten years ahead': shiftedClock(10 * 365),
  'the clock is ten years behind': shiftedClock(-10 * 365),
  'the clock stands still': ({ write }) => ({
    flags: ['--require', write('clock.cjs', 'const now = Date.now(); Date.now = () => now')],
  }),
  'half of the package is missing': (sandbox) => {
    const preload = join(sandbox.directory, 'preload.cjs')
    copyFileSync(join(DIST, 'preload.cjs'), preload)
    return { preload }
  },
}

function shiftedClock(days: number): Trouble {
  return ({ write }) => ({
    flags: [
      '--require',
      write('clock.cjs', `const { now } = Date; Date.now = () => now() + ${days * 86_400_000}`),
    ],
  })
}

let server: TlsServer
let ca: string

beforeAll(async () => {
  const authority = await createAuthority()
  ca = authority.cert
  server = await startTlsServer(await authority.issue())
})
afterAll(() => server?.close())

let runs = 0

/** Runs a program without ticketkeep and then with it, and expects the same to the last byte. */
async function expectSame(options: RunOptions, troubled: Partial<RunOptions> = {}, times = 2) {
  const { sandbox } = options
  const path = `/run-${++runs}`
  const once = (preload: RunOptions['preload']): Promise<Outcome> =>
    runProgram({
      ...options,
      ...troubled,
      preload: preload === true ? (troubled.preload ?? true) : false,
      args: [`https://localhost:${server.port}${path}`, String(server.port)],
      env: { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca), ...troubled.env },
    }).then((outcome) => ({ ...outcome, stderr: withoutNumbers(outcome.stderr) }))
  const without = await once(false)
  for (let i = 0; i < times; i++) expect(await once(true)).toEqual(without)
  return { without, requests: server.requests.filter(({ url }) => url === path) }
}

/** Process ids differ from run to run, and so do addresses and what the unwinder finds at them. */
const withoutNumbers = (text: string) =>
  text.replace(/\(node:\d+\)/g, '(node:N)').replace(/\b0x[\da-f]+\b.*/g, '0xN')

async function inSandbox<T>(body: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  const sandbox = createSandbox()
  try {
    return await body(sandbox)
  } finally {
    execFileSync('chmod', ['-R', 'u+rwX', sandbox.directory])
    sandbox.remove()
  }
}

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `a program on Node ${line} ends as it does without ticketkeep`, () => {
    describe.concurrent('when it ends', () => {
      it.each(Object.entries(ENDINGS))('%s', (_name, ending) =>
        inSandbox(async (sandbox) => {
          const { without, requests } = await expectSame({ sandbox, node: nodeBinary(line), ...ending })
          expect(without).toMatchObject(ending.expected)
          // If no run with ticketkeep has resumed, the test shows nothing.
          if (ending.resumes) expect(requests.some(({ reused }) => reused)).toBe(true)
        }),
      )
    })
  })
}

for (const line of ['20', '24'] satisfies NodeLine[]) {
  describeWith(missingNode(line), `a program on Node ${line} does not notice`, () => {
    describe.concurrent('that', () => {
      it.each(Object.entries(TROUBLES))('%s', (_name, trouble) =>
        inSandbox(async (sandbox) => {
          const program = { sandbox, node: nodeBinary(line), source: TALKATIVE }
          await expectSame(program, {}, 1)
          expect(sandbox.stored()).not.toEqual([])
          const { without } = await expectSame(program, trouble(sandbox))
          expect(without).toMatchObject({ status: 3, stdout: 'hello\n', stderr: 'on the other side\n' })
        }),
      )
    })
  })
}

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `a program on Node ${line} ends as it does without ticketkeep`, () => {
    it('if NODE_EXTRA_CA_CERTS is a pipe', () =>
      inSandbox(async (sandbox) => {
        const pem = sandbox.write('ca.pem', ca)
        const pipe = join(sandbox.directory, 'pipe')
        execFileSync('mkfifo', [pipe])
        const once = async (preload: boolean) => {
          const writer = spawn('sh', ['-c', `cat ${pem} >${pipe}`])
          const env = { NODE_EXTRA_CA_CERTS: pipe }
          const args = [`https://localhost:${server.port}/`]
          const node = nodeBinary(line)
          const program = { sandbox, node, source: TALKATIVE, args, env, preload, timeoutMs: 10_000 }
          const outcome = await runProgram(program)
          writer.kill()
          return outcome
        }
        const without = await once(false)
        expect(without).toMatchObject({ status: 3, stdout: 'hello\n' })
        for (let i = 0; i < 2; i++) expect(await once(true)).toEqual(without)
      }))
  })
}

it('a program whose timers are numbers ends as it does without ticketkeep when the key comes late', () =>
  inSandbox(async (sandbox) => {
    const source = `
      const { setTimeout: set } = globalThis
      globalThis.setTimeout = (...args) => Number(set(...args))
      const get = (then) => require('node:https').get(process.argv[2], (r) => r.resume().on('close', then))
      get(() => get(() => set(() => console.log('done'), 100)))`
    const env = { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_COMMAND: `echo ${TEST_KEY}` }
    const { without } = await expectSame({ sandbox, source }, { env })
    expect(without).toMatchObject({ status: 0, stdout: 'done\n' })
  }))

describe.concurrent('a program does not notice', () => {
  const get = (
    then: string,
  ) => `require('node:https').get(process.argv[2], (r) => r.resume().on('end', () => {
    ${then}
  }))`
  it.each<[string, Partial<RunOptions>]>([
    [
      'that ticketkeep draws random numbers',
      { flags: ['--random-seed=7'], source: get(`setTimeout(() => console.log(Math.random()), 200)`) },
    ],
    [
      'that ticketkeep calls functions of fs',
      {
        // In Node 20 the functions of `fs` call each other as properties of the module.
        ...(missingNode('24') ? {} : { node: nodeBinary('24') }),
        source: `const fs = require('node:fs')
          const calls = []
          for (const name of Object.keys(fs)) {
            const own = fs[name]
            if (!/Sync$/.test(name) || typeof own !== 'function') continue
            fs[name] = (...args) => { calls.push(name); return own(...args) }
          }
          fs.readFileSync = () => 'console.log("not a module")'
          ${get(`process.on('exit', () => require('node:fs').writeSync(1, calls.join()))`)}`,
      },
    ],
    [
      'that ticketkeep replaces a method of contexts',
      {
        source: get(`const tls = require('node:tls')
          const { context } = tls.createSecureContext({})
          let calls = 0
          const prototype = Object.getPrototypeOf(context)
          const own = prototype.addCACert
          const mine = (prototype.addCACert = function (...args) { calls++; return own.apply(this, args) })
          tls.createSecureContext({ ca: require('node:fs').readFileSync(process.env.NODE_EXTRA_CA_CERTS) })
          console.log(calls, prototype.addCACert === mine)`),
      },
    ],
    [
      'that ticketkeep reads options of its contexts',
      {
        source: get(`const { createSecureContext } = require('node:tls')
          createSecureContext({ get host() { console.log('read') }, get session() { console.log('read') } })`),
      },
    ],
  ])('%s', (_, program) =>
    inSandbox(async (sandbox) => {
      const { without } = await expectSame({ sandbox, ...program }, {}, 3)
      expect(without).toMatchObject({ status: 0, stderr: '' })
    }),
  )
})

it('the preload does not throw when the process object is not extensible', () =>
  inSandbox(async (sandbox) => {
    const source = `Object.preventExtensions(process); require(${JSON.stringify(PRELOAD)}); console.log('done')`
    expect(await runProgram({ sandbox, source, preload: false })).toMatchObject({
      status: 0,
      stdout: 'done\n',
    })
  }))

it('a Node without process.getBuiltinModule is left alone', () =>
  inSandbox(async (sandbox) => {
    const older = sandbox.write('older.cjs', 'delete process.getBuiltinModule')
    const NODE_OPTIONS = [older, PRELOAD].map((path) => `--require=${path}`).join(' ')
    expect(await runProgram({ sandbox, source: `console.log('done')`, env: { NODE_OPTIONS } })).toMatchObject(
      {
        status: 0,
        stdout: 'done\n',
        stderr: '',
      },
    )
    // Those versions of Node cannot parse these operators.
    expect(readFileSync(PRELOAD, 'utf8')).not.toMatch(/\?\.\w|\?\?/)
  }))

it('the error of tls.createSecureContext shows the line of the program and no frame of ticketkeep', () =>
  inSandbox(async (sandbox) => {
    const source = `const tls = require('node:tls')
      require('node:https').get(process.argv[2], (r) => r.resume().on('end', () => setTimeout(() => {
        tls.createSecureContext({})
        tls.createSecureContext({ cert: 'garbage' })
      }, 20)))`
    const args = [`https://localhost:${server.port}`]
    const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca) }
    const { stderr } = await runProgram({ sandbox, source, args, env })
    expect(stderr).toMatch(/^node:internal\/tls\/secure-context:/)
    expect(Math.max(...stderr.split('\n').map((line) => line.length))).toBeLessThan(200)
  }))

it.each([
  ['the directory', { TICKETKEEP_DIR: '/dev/null/tickets' }, /not saved: \/dev\/null/],
  [
    'the key',
    { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_SOURCE: 'file', TICKETKEEP_KEY_FILE: '/nonexistent' },
    /nothing is kept without a key: file: \/nonexistent /,
  ],
])('NODE_DEBUG says that nothing is kept because of %s', (_, troubled, why) =>
  inSandbox(async (sandbox) => {
    const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca), NODE_DEBUG: 'ticketkeep', ...troubled }
    const source = `require('node:https').get(process.argv[2], (r) => r.resume().on('close', () => setTimeout(() => {}, 500)))`
    const { stderr } = await runProgram({ sandbox, source, args: [`https://localhost:${server.port}`], env })
    expect(stderr).toMatch(why)
    expect(stderr).not.toContain(TEST_KEY)
  }),
)

describeWith(missingNode('20'), 'a program on Node 20', () => {
  it('that runs under a policy of Node is left alone', () =>
    inSandbox(async (sandbox) => {
      const scope = { integrity: true, cascade: true, dependencies: true }
      const policy = JSON.stringify({ onerror: 'log', scopes: { 'file:': scope } })
      const flags = [`--experimental-policy=${sandbox.write('policy.json', policy)}`]
      const program = { sandbox, node: nodeBinary('20'), source: TALKATIVE, flags }
      const { without, requests } = await expectSame(program)
      expect(without).toMatchObject({ status: 3, stdout: 'hello\n' })
      expect(requests.map(({ reused }) => reused)).toEqual([false, false, false])
      const { stderr } = await runProgram({
        ...program,
        args: [`https://localhost:${server.port}/`],
        env: { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca), NODE_DEBUG: 'ticketkeep' },
      })
      expect(stderr).toContain('the flag --experimental-policy may decide trust')
    }))
})

// Root can read and write everything, so these tests run as another user.
const NOBODY = 65_534

function missingOtherUser(): Missing {
  const asRoot = missingRoot()
  if (asRoot) return asRoot
  try {
    execFileSync('cat', [join(DIST, 'preload.cjs')], { uid: NOBODY, gid: NOBODY, stdio: 'ignore' })
    execFileSync(process.execPath, ['--version'], { uid: NOBODY, gid: NOBODY, stdio: 'ignore' })
    return undefined
  } catch {
    return 'another user cannot read this folder'
  }
}

describeWith(missingOtherUser(), 'a program of an ordinary user does not notice that', () => {
  const modes: Record<string, (sandbox: Sandbox) => void> = {
    'the store cannot be read': ({ tickets }) => chmodSync(tickets, 0o000),
    'the store cannot be written': ({ tickets }) => chmodSync(tickets, 0o500),
    'no ticket can be read': (sandbox) => {
      for (const path of sandbox.stored()) chmodSync(path, 0o000)
    },
    'everybody can write to the store': ({ tickets }) => chmodSync(tickets, 0o777),
    'the store belongs to another user': ({ tickets }) => execFileSync('chown', ['-R', 'root:root', tickets]),
    'the disk is full': (sandbox) => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=4k,uid=${NOBODY},mode=700`, 'none', sandbox.tickets])
      writeFileSync(join(sandbox.tickets, 'full'), randomBytes(4096))
    },
  }

  it('it has neither a home nor a passwd entry', () =>
    inSandbox(async (sandbox) => {
      const env = { HOME: undefined, TICKETKEEP_DIR: undefined }
      const { without } = await expectSame({ sandbox, uid: 54_321, source: TALKATIVE }, { env })
      expect(without).toMatchObject({ status: 3, stderr: 'on the other side\n' })
    }))

  it.each(Object.entries(modes))('%s', (name, change) =>
    inSandbox(async (sandbox) => {
      execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, sandbox.directory])
      const program = { sandbox, uid: NOBODY, source: TALKATIVE }
      await expectSame(program, {}, 1)
      expect(readdirSync(sandbox.tickets)).not.toEqual([])
      try {
        change(sandbox)
        await expectSame(program)
      } finally {
        if (name.includes('disk')) execFileSync('umount', [sandbox.tickets])
      }
    }),
  )
})
