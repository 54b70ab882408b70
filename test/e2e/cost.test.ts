import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { POLICY_FILE } from '../../src/policy.ts'
import { ownFs } from '../../src/runtime/bundles.ts'
import { describeWith, missingCommands, missingNode, runs } from '../support/missing.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { NODE_LINES, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { CLI, DIST, PRELOAD, ROOT } from '../support/places.ts'
import { createSandbox, type RunOptions, runProgram, type Sandbox } from '../support/run-program.ts'
import { useServerOfEachVersion } from '../support/servers.ts'

// What ticketkeep costs, where it can be counted: modules, files, system calls and listeners. `npm run bench` measures times.

/** Prints which modules of Node's, and which files, this process has loaded by its end. */
const REPORT = `
process.on('exit', () => require('fs').writeSync(1, JSON.stringify({
  node: process.moduleLoadList.map((name) => name.replace(/^(NativeModule|Internal Binding) /, '')),
  files: Object.keys(require.cache),
})))`
const GET = `require('https').get(process.argv[2], (response) => {
  reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket)
  response.resume()
})`

/** Prints the synchronous calls of fs on the store, and on files opened there, at the end of the process. */
const COUNT_CALLS = `
const fs = require('node:fs')
const calls = []
const open = new Set()
let depth = 0 // writeFileSync calls openSync
for (const [name, own] of Object.entries(fs)) {
  if (typeof own !== 'function' || !name.endsWith('Sync')) continue
  fs[name] = (path, ...rest) => {
    const isStores = typeof path === 'number' ? open.has(path) : String(path).startsWith(process.env.TICKETKEEP_DIR)
    if (isStores && depth === 0) calls.push(name.slice(0, -4))
    depth++
    try {
      const result = own(path, ...rest)
      if (isStores && name === 'openSync') open.add(result)
      return result
    } finally {
      depth--
      if (name === 'closeSync') open.delete(path)
    }
  }
}
process.on('exit', () => console.log(JSON.stringify(calls)))`

interface Loaded {
  readonly node: string[]
  readonly files: string[]
}

const given = useServerOfEachVersion({ keyType: 'rsa' })
let sandbox: Sandbox
let env: Record<string, string>

/** Replaces the present sandbox. */
function useNewStore() {
  sandbox?.remove()
  sandbox = createSandbox()
  env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
}

beforeAll(useNewStore)
afterAll(() => sandbox?.remove())

async function loaded(line: NodeLine, source: string, preload: RunOptions['preload'], args: string[] = []) {
  const options = { sandbox, node: nodeBinary(line), source: source + REPORT, args, env }
  const { stdout, stderr } = await runProgram({ ...options, ...(preload !== undefined && { preload }) })
  expect(stderr).toBe('')
  return JSON.parse(stdout.slice(stdout.indexOf('{"node"'))) as Loaded
}

const added = (ours: string[], theirs: string[]) => ours.filter((name) => !theirs.includes(name))

const url = (version: TlsVersion) => `https://localhost:${given.servers[version].port}/`

/** Runs a program with a new store: then there is a ticket for the next one, and in TLS 1.3 two. */
async function warmUp(line: NodeLine, version: TlsVersion) {
  rmSync(sandbox.tickets, { recursive: true, force: true })
  await runProgram({ sandbox, node: nodeBinary(line), source: GET, args: [url(version)], env })
  expect(sandbox.stored()).toHaveLength(1)
}

describe.each(NODE_LINES)('on Node %s', (line) => {
  describeWith(missingNode(line), 'a process without a TLS connection', () => {
    it.each([
      ['that does nothing', ''],
      ['that prints a line', "console.log('hello')\n"],
    ])('%s loads the preload and no further module of Node', async (_name, source) => {
      const empty = await loaded(line, source, sandbox.write('empty.cjs', ''))
      const ours = await loaded(line, source, true)
      expect(added(ours.node, empty.node)).toEqual([])
      expect(ours.node).not.toContain('tls')
      expect(ours.files.filter((file) => file.startsWith(DIST))).toEqual([PRELOAD])
    })

    it('with the loader in NODE_OPTIONS loads the loader, the preload and no further module of Node', async () => {
      const env = { PATH: process.env.PATH, XDG_CONFIG_HOME: sandbox.home, TICKETKEEP_KEY_SOURCE: 'memory' }
      execFileSync(process.execPath, [CLI, 'env'], { env })
      const loader = join(sandbox.home, 'ticketkeep/loader.cjs')
      const empty = await loaded(line, '', sandbox.write('empty.cjs', ''))
      const ours = await loaded(line, '', loader)
      expect(added(ours.node, empty.node)).toEqual([])
      expect(added(ours.files, empty.files)).toEqual([loader, PRELOAD])
    })
  })

  describeWith(missingNode(line), 'a process with one resumed TLS connection', () => {
    it('loads only files of the package and, of Node, the module vm', async () => {
      await warmUp(line, 'TLSv1.3')
      const without = await loaded(line, GET, false, [url('TLSv1.3')])
      const ours = await loaded(line, GET, true, [url('TLSv1.3')])
      expect(given.servers['TLSv1.3'].handshakes.at(-1)?.reused).toBe(true)
      expect(added(ours.node, without.node).filter((name) => !/^(vm$|internal\/)/.test(name))).toEqual([])
      expect(added(ours.files, without.files)).toEqual([PRELOAD])
    })
  })
})

describe('the package', () => {
  it('reads every function of fs that its bundles call before a program can replace it', () => {
    const src = new URL('../../src/', import.meta.url)
    const notInPrograms = /^(cli|windows)\b|precompile|helper/
    const used = readdirSync(src, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.c?ts$/.test(name) && !notInPrograms.test(name))
      .map((name) => readFileSync(new URL(name, src), 'utf8'))
      .flatMap((source) => [...source.matchAll(/^import \{([^}]*)\} from 'node:fs'/gm)])
      .flatMap(([, names]) => names!.split(',').map((name) => name.trim()))
      .filter((name) => name !== '' && !name.startsWith('type '))
    expect(used).toContain('openSync')
    const held = Object.keys(ownFs())
    expect(used.filter((name) => !held.includes(name))).toEqual([])
  })

  it.each([
    ['preload.cjs', 5_500],
    ['hook.cjs', 15_000],
    ['attendant.cjs', 200_000],
    ['keys.cjs', 70_000],
  ])('has a %s of at most %d bytes', (name, most) => {
    expect(statSync(join(DIST, name)).size).toBeLessThanOrEqual(most)
  })

  it('is under a megabyte, apart from code that its owner has precompiled', () => {
    const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).filter(
      (name) => !name.endsWith('.v8'),
    )
    const sizes = files.map((name) => statSync(join(DIST, name))).filter((stats) => stats.isFile())
    expect(sizes.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(1_000_000)
  })
})

describeWith(missingNode('20'), 'the store', () => {
  it('is not written to by a process without new tickets', async () => {
    // Node's server gives out no new ticket when it resumes TLS 1.2.
    await warmUp('20', 'TLSv1.2')
    const before = snapshot()
    await runProgram({ sandbox, node: nodeBinary('20'), source: GET, args: [url('TLSv1.2')], env })
    expect(given.servers['TLSv1.2'].handshakes.at(-1)?.reused).toBe(true)
    expect(snapshot()).toEqual(before)
  })

  // Taking lists the folder and reads the batch. The offer is noted, and the note removed. Saving writes the new batch.
  const take = ['lstat', 'lstat', 'readdir', 'open', 'read', 'close']
  const note = ['open', 'close', 'unlink']
  const save = ['open', 'write', 'close', 'rename']

  it.each<[TlsVersion, string[]]>([
    ['TLSv1.2', [...take, ...note]],
    ['TLSv1.3', [...take, 'unlink', ...note, ...save]],
  ])('costs a resumed connection over %s these calls of fs: %j', async (version, calls) => {
    await warmUp('20', version)
    const count = sandbox.write('count.cjs', COUNT_CALLS)
    const preload = (path: string) => `--require ${JSON.stringify(path)}`
    const NODE_OPTIONS = `${preload(count)} ${preload(PRELOAD)}`
    const { stdout } = await runProgram({
      sandbox,
      node: nodeBinary('20'),
      source: GET,
      args: [url(version)],
      env: { ...env, NODE_OPTIONS },
    })
    expect(given.servers[version].handshakes.at(-1)?.reused).toBe(true)
    // A `writeFile` would be three of these, which call each other by their names.
    expect(calls.length).toBeLessThanOrEqual(14)
    expect(JSON.parse(stdout)).toEqual(calls)
  })

  /** Every file of the store, and when it was last written. */
  const snapshot = () => sandbox.stored().map((path) => [path, statSync(path).mtimeMs])
})

const missingStrace =
  missingCommands('strace') ?? (runs('strace', 'true') ? undefined : 'strace is forbidden here')

describeWith([missingStrace, missingNode('20')], 'according to strace, a resumed connection', () => {
  // Under strace a store may seem slow, and later processes leave slow stores alone. So each test has its own store.
  beforeEach(() => useNewStore())

  /** What the process asked of the system about files and connections: the calls' names and arguments. */
  async function calls(version: TlsVersion) {
    const log = join(sandbox.directory, 'strace.log')
    const { stderr } = await runProgram({
      sandbox,
      prefix: ['strace', '-f', '--seccomp-bpf', '-qq', '-e', 'trace=%file,connect', '-o', log],
      node: nodeBinary('20'),
      source: GET,
      args: [url(version)],
      env,
    })
    expect(stderr).toBe('')
    expect(given.servers[version].handshakes.at(-1)?.reused).toBe(true)
    const lines = readFileSync(log, 'latin1').split('\n')
    return lines.flatMap((line) => {
      const [, call, about] = /^\d+ +(\w+)\((.*)$/.exec(line) ?? []
      return call === undefined || about === undefined ? [] : [{ call, about }]
    })
  }

  it('does not touch the store before its first packet is on its way', async () => {
    await warmUp('20', 'TLSv1.3')
    const all = await calls('TLSv1.3')
    const port = `htons(${given.servers['TLSv1.3'].port})`
    const sent = all.findIndex(({ call, about }) => call === 'connect' && about.includes(port))
    expect(sent).toBeGreaterThan(0)
    const ofStore = all
      .map(({ about }, i) => (about.includes(sandbox.tickets) ? i : -1))
      .filter((i) => i >= 0)
    expect(ofStore.length).toBeGreaterThan(0)
    expect(ofStore.filter((i) => i < sent)).toEqual([])
  })

  it('reads one file of the store, removes it, notes its offer and writes one file', async () => {
    await warmUp('20', 'TLSv1.3')
    const ofStore = (await calls('TLSv1.3')).filter(({ about }) => about.includes(sandbox.tickets))
    const opened = ofStore.filter(({ call, about }) => call === 'openat' && !about.includes('O_DIRECTORY'))
    expect(opened.map(({ about }) => about.includes('O_CREAT'))).toEqual([false, true, true])
    expect(ofStore.filter(({ call }) => call.startsWith('unlink'))).toHaveLength(2)
    expect(ofStore.length).toBeLessThanOrEqual(9)
  })

  it('looks for the policy of the machine once, and a process without TLS never does', async () => {
    await warmUp('20', 'TLSv1.3')
    const asked = (all: { about: string }[]) => all.filter(({ about }) => about.includes(POLICY_FILE)).length
    expect(asked(await calls('TLSv1.3'))).toBe(1)
    const log = join(sandbox.directory, 'strace.log')
    const prefix = ['strace', '-f', '-qq', '-e', 'trace=%file', '-o', log]
    await runProgram({ sandbox, prefix, node: nodeBinary('20'), source: "console.log('hello')", env })
    const text = readFileSync(log, 'latin1')
    expect(text).toContain(PRELOAD)
    expect(text).not.toContain(POLICY_FILE)
  })

  it('opens of the package the preload, the hook, the attendant and tweetnacl', async () => {
    await warmUp('20', 'TLSv1.3')
    const opened = (await calls('TLSv1.3')).filter(
      ({ call, about }) => call === 'openat' && about.includes(DIST) && !about.includes('ENOENT'),
    )
    const names = opened.map(({ about }) => basename(/"([^"]*)"/.exec(about)?.[1] ?? ''))
    expect(names).toEqual(['preload.cjs', 'hook.cjs', 'attendant.cjs', 'nacl-fast.min.js'])
  })
})

describe('on an idle kept-alive socket whose tickets are saved', () => {
  beforeEach(() => useNewStore())

  /** `idle(socket)` is called with the socket of each response that has ended. */
  const CLIENTS: Record<string, string> = {
    'an https.Agent': `
      const https = require('node:https')
      const agent = new https.Agent({ keepAlive: true })
      https.get(url, { agent }, (response) => {
        const { socket } = response
        response.resume().on('end', () => idle(socket, () => agent.destroy()))
      })`,
    got: `
      const https = require('node:https')
      const agent = new https.Agent({ keepAlive: true })
      import(process.argv[3]).then(({ default: got }) => {
        let socket
        const request = got(url, { agent: { https: agent } })
        request.on('request', (sent) => sent.on('socket', (its) => (socket = its)))
        request.then(() => idle(socket, () => agent.destroy()))
      })`,
  }

  /** Prints how many listeners each event has, and how many it may have, after what time a save takes. */
  const source = (client: string) => `
    const url = process.argv[2]
    const idle = (socket, end) => setTimeout(() => {
      const listeners = socket.eventNames().map((name) => [String(name), socket.listenerCount(name)]).sort()
      console.log(JSON.stringify({ listeners, most: socket.getMaxListeners() }))
      end()
    }, 1000)
    ${client}`

  describe.each<TlsVersion>(['TLSv1.2', 'TLSv1.3'])('%s', (version) => {
    it.each(Object.entries(CLIENTS))(
      '%s finds no listener of ticketkeep after a full and a resumed handshake',
      async (_name, client) => {
        const got = pathToFileURL(join(ROOT, 'node_modules/got/dist/source/index.js')).href
        const program = { sandbox, source: source(client), args: [url(version), got], env }
        const without = await runProgram({ ...program, preload: false })
        expect(without).toMatchObject({ status: 0, stderr: '' })
        const handshakes = given.servers[version].handshakes.length
        for (let i = 0; i < 2; i++) expect(await runProgram(program)).toEqual(without)
        const reused = given.servers[version].handshakes.slice(handshakes).map((one) => one.reused)
        expect(reused).toEqual([false, true])
      },
    )
  })
})
