import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { CLI, DIST, PRELOAD, ROOT } from '../../support/places.ts'
import { type Outcome, runProgram, type Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { missingUsers, packageForEveryone } from '../../support/users.ts'
import { type Certified, certify } from './differential/certificates.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, reported, run, unixNow } from './kit.ts'

// The rest of what a hostile reader of the sources found: what is run, written and read, and what is said of it.

let root: Certified
let server: TlsServer
let noExtendedMasterSecret: TlsServer
let local: TlsServer
let input: { host: string; port: number; servername: string; ca: string }

beforeAll(async () => {
  root = await certify({ subject: 'root' })
  const of = async (name: string) => {
    const { cert, key } = await certify({ subject: name, names: [name], issuer: root })
    return { cert, key, kind: 'raw' } as const
  }
  server = await startTlsServer(await of('a.test'))
  local = await startTlsServer(await of('localhost'))
  noExtendedMasterSecret = await startTlsServer({
    ...(await of('a.test')),
    version: 'TLSv1.2',
    secureOptions: 1,
  })
  input = { host: '127.0.0.1', port: server.port, servername: 'a.test', ca: root.cert }
})
afterAll(() => Promise.all([server, local, noExtendedMasterSecret].map((one) => one?.close())))

const NOBODY = 65_534

/** What V8 compiles of a source that has the length of another, which is all that it looks at. */
const FORGE = `
  const { Script } = require('node:vm')
  const { readFileSync, writeFileSync } = require('node:fs')
  const [path, marker, forged] = process.argv.slice(2)
  const act = '(function(exported){process.getBuiltinModule("node:fs").writeFileSync(' + JSON.stringify(marker) + ',"run")'
  const script = new Script((act + ' '.repeat(readFileSync(path, 'utf8').length - act.length - 2) + '})'), { filename: path })
  script.runInThisContext()
  writeFileSync(forged, script.createCachedData())`

describeWith(missingUsers(), 'a cache folder', () => {
  it.each<[string, { XDG_CACHE_HOME?: string }]>([
    ['of the user', {}],
    ['named by XDG_CACHE_HOME', { XDG_CACHE_HOME: 'checkout' }],
  ])('%s: nothing in it is run, and what lies there stays', (_name, named) =>
    inSandbox(async (sandbox) => {
      const everyones = packageForEveryone()
      try {
        const node = everyones.node(process.execPath)
        const cache = join(sandbox.home, named.XDG_CACHE_HOME ?? '.cache')
        const folder = join(cache, 'ticketkeep/compiled')
        const marker = join(sandbox.home, 'marker')
        mkdirSync(folder, { recursive: true })
        const planted = await plant(sandbox, dirname(everyones.preload), folder, marker)
        for (const path of [sandbox.home, cache, dirname(folder), folder]) {
          chownSync(path, NOBODY, NOBODY)
          chmodSync(path, 0o700)
        }
        copyFileSync(join(ROOT, 'test/e2e/trust/attempt.cjs'), join(sandbox.directory, 'attempt.cjs'))
        const outcome = await runProgram({
          sandbox,
          source: `const { attempt, report } = require('./attempt.cjs')
            attempt(JSON.parse(process.argv[2])).then(report)`,
          args: [JSON.stringify(input)],
          node,
          preload: everyones.preload,
          env: {
            TICKETKEEP_DIR: join(sandbox.home, 'tickets'),
            ...(named.XDG_CACHE_HOME && { XDG_CACHE_HOME: cache }),
          },
          uid: NOBODY,
        })
        expect(reported<Attempt>(outcome).seen).toEqual({ authorized: true, text: 'hello\n' })
        expect(() => statSync(marker)).toThrow(/ENOENT/)
        for (const [path, bytes] of planted) expect(readFileSync(path).equals(bytes)).toBe(true)
      } finally {
        everyones.remove()
      }
    }),
  )

  /** For each module of the package, files as they were once looked for there. */
  async function plant(sandbox: Sandbox, dist: string, folder: string, marker: string) {
    const forge = sandbox.write('forge.cjs', FORGE)
    const planted = new Map<string, Buffer>()
    for (const name of readdirSync(dist).filter((file) => file.endsWith('.cjs'))) {
      const path = join(dist, name)
      const forged = join(sandbox.directory, 'forged')
      execFileSync(process.execPath, [forge, path, marker, forged])
      const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path)
      const stamp = `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`.padEnd(96)
      const rest = Buffer.concat([
        Buffer.from(hash(readFileSync(path)) + stamp + '15'.padStart(8)),
        readFileSync(forged),
      ])
      const bytes = Buffer.concat([Buffer.from(hash(rest)), rest])
      const kind = `${name.slice(0, -4)}.${process.version}-${process.platform}-${process.arch}`
      const target = join(folder, `${kind}-${ino}.v8`)
      writeFileSync(target, bytes, { mode: 0o600 })
      chownSync(target, NOBODY, NOBODY)
      planted.set(target, bytes)
    }
    return planted
  }
})

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('a plaintext file', () => {
  const ticketkeep = (sandbox: Sandbox, ...args: string[]) => runProgram({ sandbox, file: CLI, args })
  const entry = (host: string, change: object = {}) => [
    { host, port: 443 },
    [{ ticket: [1, 2, 3], spki_fp: Array(32).fill(7), stored_at_unix_secs: unixNow() - 60, ...change }],
  ]
  const write = (sandbox: Sandbox, entries: unknown[], more = {}) =>
    sandbox.write('plain.json', JSON.stringify({ magic: 'aube-tls-tickets/v1', entries, ...more }))

  it('is not thrown away as a whole because one of its times is no number of seconds', () =>
    inSandbox(async (sandbox) => {
      const tooLate = write(sandbox, [entry('a.test'), entry('b.test', { stored_at_unix_secs: 2 ** 53 + 2 })])
      const { status, stdout } = await ticketkeep(sandbox, 'import', tooLate, '--json')
      expect([status, JSON.parse(stdout).imported]).toEqual([0, 1])
    }))

  it('of 60 MB is imported or refused in less than 350 MB of memory', () =>
    inSandbox(async (sandbox) => {
      const ticket = Array(15_000).fill(255)
      const entries = Array.from({ length: 1000 }, (_, i) => entry(`host${i}.test`, { ticket }))
      const path = write(sandbox, entries)
      expect(statSync(path).size).toBeGreaterThan(60_000_000)
      const measured = sandbox.write(
        'measure.cjs',
        "process.on('exit', () => process.stderr.write('kB=' + process.resourceUsage().maxRSS))",
      )
      const outcome: Outcome = await runProgram({
        sandbox,
        file: CLI,
        args: ['import', path],
        flags: ['--require', measured],
        preload: false,
        timeoutMs: 60_000,
      })
      const [, peak] = /kB=(\d+)/.exec(outcome.stderr) ?? []
      expect(Number(peak)).toBeLessThan(350_000)
    }))
})

/** Packages whose code the build puts into its own files, as esbuild notes them, and the one that it minifies. */
function inlined(): string[] {
  const sources = readdirSync(DIST, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.c?js$/.test(file))
    .map((file) => readFileSync(join(DIST, file), 'utf8'))
  const noted = sources.flatMap((text) => [
    ...text.matchAll(/^\/\/ .*node_modules\/((?:@[^/]+\/)?[^/]+)\//gm),
  ])
  const isRequired = sources.some((text) => /require\("tweetnacl/.test(text))
  return [...new Set([...noted.map(([, name]) => name!), ...(isRequired ? [] : ['tweetnacl'])])]
}

describe('the tarball', () => {
  it('has the licence of every package whose code is in it', () => {
    const packed = JSON.parse(
      execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
        cwd: ROOT,
        encoding: 'utf8',
      }),
    )
    const files = (Array.isArray(packed) ? packed : Object.values(packed)) as { files: { path: string }[] }[]
    const licences = files[0]!.files
      .map(({ path }) => path)
      .filter((path) => /licen[cs]e|notice/i.test(path) && path !== 'LICENSE')
      .map((path) => readFileSync(join(ROOT, path), 'utf8'))
      .join('\n')
    for (const name of inlined()) expect(licences).toContain(name)
  })
})

for (const line of LINES) {
  const node = { node: nodeBinary(line) }

  describeWith(missingNode(line), `Node ${line}: a new store`, () => {
    it('does not close a directory to which somebody has put a link in its place', () =>
      inSandbox(async (sandbox) => {
        const victim = join(sandbox.directory, 'victim')
        mkdirSync(victim, { mode: 0o755 })
        chmodSync(victim, 0o755)
        // In the moment after it was made, as anybody can in a directory that others can write.
        const early = sandbox.write(
          'early.cjs',
          `const fs = require('node:fs')
          const { mkdirSync, rmdirSync, symlinkSync } = fs
          fs.mkdirSync = (path, ...rest) => {
            const made = mkdirSync(path, ...rest)
            if (path === ${JSON.stringify(sandbox.tickets)}) {
              rmdirSync(path)
              symlinkSync(${JSON.stringify(victim)}, path)
            }
            return made
          }`,
        )
        const flags = ['--require', early, '--require', PRELOAD]
        const { seen } = await run<Attempt>(sandbox, ONE, input, { ...node, flags, preload: false })
        expect([seen.authorized, (statSync(victim).mode & 0o777).toString(8)]).toEqual([true, '755'])
      }))
  })

  describeWith(missingNode(line), `Node ${line}: what is said of a connection that is left alone`, () => {
    const skipped = ({ events }: Attempt) =>
      events.filter((event) => event.startsWith('skip: ') && event !== 'skip: no ticket')

    it('is another thing for each reason', () =>
      inSandbox(async (sandbox) => {
        const ways: Record<string, string> = {
          'verification off': '{ ...input, rejectUnauthorized: false }',
          'a check of its own': '{ ...input, checkServerIdentity: () => undefined }',
          'a revocation list': '{ ...input, crl: input.crl }',
          'an OCSP response': '{ ...input, requestOCSP: true }',
          'a client certificate': '{ ...input, cert: input.own.cert, key: input.own.key }',
          'a pre-shared key': '{ ...input, pskCallback: () => null }',
        }
        const said: string[] = []
        const own = await certify({ subject: 'alice', client: true })
        for (const options of Object.values(ways)) {
          const body = `report(await attempt(${options}))`
          const one = { ...input, own: { cert: own.cert, key: own.key } }
          said.push(skipped(await run<Attempt>(sandbox, body, one, node)).join())
        }
        expect(said.filter((one) => one !== '').length).toBeGreaterThanOrEqual(5)
        expect(new Set(said).size).toBe(said.length)
      }))

    it('names extended master secret where that is what a session lacks', () =>
      inSandbox(async (sandbox) => {
        const { port } = noExtendedMasterSecret
        const made = await run<Attempt>(sandbox, ONE, { ...input, port }, node)
        expect([made.seen.authorized, harvested(made)]).toEqual([true, false])
        expect(skipped(made).join()).toMatch(/extended master secret/i)
        expect(skipped(made).join()).not.toMatch(/unreadable/)
      }))

    it('over a socket without a name: it is verified as localhost and resumed, or its reason says that', () =>
      inSandbox(async (sandbox) => {
        const body = `const net = require('node:net')
          const socket = net.connect(input.port, '127.0.0.1')
          await new Promise((done) => socket.on('connect', done))
          report(await attempt({ socket, ca: input.ca }))`
        const one = { ...input, port: local.port }
        const first = await run<Attempt>(sandbox, body, one, node)
        expect(first.seen).toEqual({ authorized: true, text: 'hello\n' })
        if (harvested(first)) expect(offered(await run<Attempt>(sandbox, body, one, node))).toBe(true)
        else expect(skipped(first).join()).toMatch(/socket/)
      }))
  })

  describeWith(missingNode(line), `Node ${line}: a context that was made before the first connection`, () => {
    const body = `const secureContext = tls.createSecureContext({ ca: input.ca })
      report(await attempt({ ...input, ca: undefined, secureContext }))`
    // Both public ways to see it being made change the stack of errors of the program (CONTRIBUTING.md).
    it('is left alone, with a reason', () =>
      inSandbox(async (sandbox) => {
        const { events } = await run<Attempt>(sandbox, body, input, node)
        expect(events).toEqual([expect.stringMatching(/^skip: .*(context|createSecureContext)/i)])
      }))
  })
}
