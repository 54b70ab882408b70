import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode, runs } from '../support/missing.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { NODE_LINES, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { DIST, PRELOAD } from '../support/places.ts'
import { createSandbox, type RunOptions, runProgram, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

// What ticketkeep costs, by what can be counted: what is loaded, opened and written. Times are for `npm run bench`.

/** Prints which modules of Node's, and which files, this process has loaded by its end. */
const REPORT = `
process.on('exit', () => require('fs').writeSync(1, JSON.stringify({
  node: process.moduleLoadList.map((name) => name.replace(/^(NativeModule|Internal Binding) /, '')),
  files: Object.keys(require.cache),
})))`
const GET = `require('https').get(process.argv[2], (response) => {
  reused = response.socket.isSessionReused()
  response.resume()
})`

interface Loaded {
  readonly node: string[]
  readonly files: string[]
}

let sandbox: Sandbox
let servers: Record<TlsVersion, TlsServer>
let env: Record<string, string>

beforeAll(async () => {
  sandbox = createSandbox()
  const ca = await createAuthority()
  const identity = await ca.issue({ keyType: 'rsa' })
  servers = {
    'TLSv1.2': await startTlsServer({ ...identity, version: 'TLSv1.2' }),
    'TLSv1.3': await startTlsServer({ ...identity, version: 'TLSv1.3' }),
  }
  env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', ca.cert) }
})
afterAll(async () => {
  for (const server of Object.values(servers ?? {})) await server.close()
  sandbox?.remove()
})

async function loaded(line: NodeLine, source: string, preload: RunOptions['preload'], args: string[] = []) {
  const options = { sandbox, node: nodeBinary(line), source: source + REPORT, args, env }
  const { stdout, stderr } = await runProgram({ ...options, ...(preload !== undefined && { preload }) })
  expect(stderr).toBe('')
  return JSON.parse(stdout.slice(stdout.indexOf('{"node"'))) as Loaded
}

const added = (ours: string[], theirs: string[]) => ours.filter((name) => !theirs.includes(name))

const url = (version: TlsVersion) => `https://localhost:${servers[version].port}/`

/**
 * Runs a program twice with a new store: then a ticket is there for the next one (Node's server gives out two in
 * TLS 1.3, and none when it resumes), and the compiled code.
 */
async function warmUp(line: NodeLine, version: TlsVersion) {
  const server = servers[version]
  rmSync(sandbox.tickets, { recursive: true, force: true })
  for (let i = 0; i < 2; i++) {
    await runProgram({ sandbox, node: nodeBinary(line), source: GET, args: [url(version)], env })
  }
  expect(server.handshakes.at(-1)?.reused).toBe(true)
}

describe.each(NODE_LINES)('on Node %s', (line) => {
  describeWith(missingNode(line), 'a process without a TLS connection', () => {
    it.each([
      ['that does nothing', ''],
      ['that prints a line', "console.log('hello')\n"],
    ])('%s loads the preload, and of Node what an empty one does', async (_name, source) => {
      const empty = await loaded(line, source, sandbox.write('empty.cjs', ''))
      const ours = await loaded(line, source, true)
      expect(added(ours.node, empty.node)).toEqual([])
      expect(ours.node).not.toContain('tls')
      expect(ours.files.filter((file) => file.startsWith(DIST))).toEqual([PRELOAD])
    })
  })

  describeWith(missingNode(line), 'a process with one TLS connection, resumed', () => {
    it('loads nothing but our own files, and of Node only vm beside', async () => {
      await warmUp(line, 'TLSv1.3')
      const without = await loaded(line, GET, false, [url('TLSv1.3')])
      const ours = await loaded(line, GET, true, [url('TLSv1.3')])
      expect(servers['TLSv1.3'].handshakes.at(-1)?.reused).toBe(true)
      expect(added(ours.node, without.node).filter((name) => !/^(vm$|internal\/)/.test(name))).toEqual([])
      expect(added(ours.files, without.files)).toEqual([PRELOAD])
    })
  })
})

describe('what lies on disk', () => {
  it('the preload holds apart each function of fs that the wire calls', () => {
    const wire = readFileSync(join(DIST, 'wire.cjs'), 'latin1')
    const [, module = ''] = /([\w$]+)=require\("node:fs"\)/.exec(wire)!
    const used = wire
      .split(`=${module}.`)
      .slice(1)
      .map((text) => /^\w+/.exec(text)![0])
    expect(used).toContain('openSync')
    const preload = readFileSync(PRELOAD, 'latin1')
    expect(used.filter((name) => !preload.includes(`"${name}"`))).toEqual([])
  })

  it.each([
    ['preload.cjs', 2_600],
    ['hook.cjs', 4_900],
    ['wire.cjs', 65_000],
    ['keys.cjs', 40_000],
  ])('%s is of %d bytes at most', (name, most) => {
    expect(statSync(join(DIST, name)).size).toBeLessThanOrEqual(most)
  })

  it('all of dist is under a megabyte, V8’s compiled code left out', () => {
    const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).filter(
      (name) => !name.endsWith('.v8'),
    )
    const sizes = files.map((name) => statSync(join(DIST, name))).filter((stats) => stats.isFile())
    expect(sizes.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(1_000_000)
  })

  it('nothing is written at the end of a process that has nothing new', async () => {
    // Node's server gives out no new ticket when it resumes TLS 1.2.
    await warmUp('20', 'TLSv1.2')
    const before = snapshot()
    await runProgram({ sandbox, node: nodeBinary('20'), source: GET, args: [url('TLSv1.2')], env })
    expect(servers['TLSv1.2'].handshakes.at(-1)?.reused).toBe(true)
    expect(snapshot()).toEqual(before)
  })

  /** Every file of the store, with when it was last written, and when one was last added or removed. */
  function snapshot() {
    const files = readdirSync(sandbox.tickets).sort()
    return ['.', ...files].map((name) => [name, statSync(join(sandbox.tickets, name)).mtimeMs])
  }
})

const missingStrace =
  missingCommands('strace') ?? (runs('strace', 'true') ? undefined : 'strace is forbidden here')

describeWith([missingStrace, missingNode('20')], 'by its system calls, a resumed connection', () => {
  /** What the process asked of the system about files: the calls' names and paths. */
  async function calls(version: TlsVersion) {
    const log = join(sandbox.directory, 'strace.log')
    const { stderr } = await runProgram({
      sandbox,
      prefix: ['strace', '-f', '-qq', '-e', 'trace=%file', '-o', log],
      node: nodeBinary('20'),
      source: GET,
      args: [url(version)],
      env,
    })
    expect(stderr).toBe('')
    return readFileSync(log, 'latin1')
      .split('\n')
      .flatMap((line) => /^\d+ +(\w+)\((.*)$/.exec(line)?.slice(1, 3) ?? [])
      .flatMap((_, i, all) => (i % 2 === 0 ? [{ call: all[i]!, about: all[i + 1]! }] : []))
  }

  it('reads one file of tickets, and opens one box', async () => {
    await warmUp('20', 'TLSv1.3')
    const ofStore = (await calls('TLSv1.3')).filter(({ about }) => about.includes(sandbox.tickets))
    expect(servers['TLSv1.3'].handshakes.at(-1)?.reused).toBe(true)
    const read = ofStore.filter(({ call, about }) => call === 'openat' && !about.includes('O_CREAT'))
    expect(read).toHaveLength(1)
    // 20 slots looked at, one ticket taken; the directory and its tag looked at, one ticket written.
    expect(ofStore.length).toBeLessThanOrEqual(45)
  })

  it('opens of our own files the preload, the hook, the wire and its compiled code', async () => {
    await warmUp('20', 'TLSv1.3')
    const opened = (await calls('TLSv1.3')).filter(
      ({ call, about }) => call === 'openat' && about.includes(DIST),
    )
    const names = opened.map(({ about }) =>
      basename(/"([^"]*)"/.exec(about)?.[1] ?? '').replace(/\.v\d.*\.v8$/, '.v8'),
    )
    expect(names).toEqual(['preload.cjs', 'hook.cjs', 'wire.cjs', 'wire.v8'])
  })
})
