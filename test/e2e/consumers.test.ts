import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf } from '../support/blocks.ts'
import { missingNode } from '../support/missing.ts'
import { type Project, projectWithPackage } from '../support/packed.ts'
import { folderOf, install, NODE_LINES, type NodeLine, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { ROOT } from '../support/places.ts'
import { createSandbox, exampleProgram, runCommand, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

// How programs load the library: from the packed tarball, as ES modules and CommonJS, with types, under Jest, and in bundles
// that run without `node_modules`.

const documented = blocksOf('test/e2e/consumers.test.ts')

const missing = install('bundlers')
const bundlers = (path: string) => join(folderOf('bundlers'), 'node_modules', path)

let project: Project
let server: TlsServer
let caFile: string
let sandbox: Sandbox
let url: string

beforeAll(async () => {
  project = projectWithPackage()
  copyFileSync(exampleProgram('cli-with-agent.mjs'), join(project.folder, 'cli.mjs'))
  const ca = await createAuthority()
  server = await startTlsServer({ ...(await ca.issue({ names: ['localhost', '127.0.0.1'] })) })
  sandbox = createSandbox()
  caFile = sandbox.write('ca.pem', ca.cert)
  url = `https://localhost:${server.port}/`
})
afterAll(async () => {
  project?.remove()
  sandbox?.remove()
  await server?.close()
})

const run = (command: string[], more: { env?: Record<string, string>; cwd?: string } = {}) =>
  runCommand({ sandbox, preload: false, ...more }, command)

/** Runs a command twice with a store of its own, and returns whether the server resumed each time. */
async function twice(command: string[], more: { cwd?: string } = {}): Promise<boolean[]> {
  const before = server.requests.length
  const env = { TICKETKEEP_DIR: join(sandbox.directory, `store-${before}`) }
  for (let i = 0; i < 2; i++) {
    expect(await run([...command, url, caFile], { env, ...more })).toMatchObject({
      status: 0,
      stdout: 'hello\n',
      stderr: '',
    })
  }
  return server.requests.slice(before).map(({ reused }) => reused)
}

it('each block of the docs is an example in TypeScript, or the banner', () =>
  expect(documented.map(({ language }) => language).filter((language) => language !== 'ts')).toEqual([
    'text',
  ]))

it('the package has 1,000 KB at most', () => {
  const folder = join(project.folder, 'node_modules/ticketkeep')
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const sizes = entries
    .filter((one) => one.isFile())
    .map((one) => statSync(join(one.parentPath, one.name)).size)
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(1_000_000)
})

const present = NODE_LINES.filter((line) => missingNode(line) === undefined)

describe.each(present)('on Node %s', (line) => {
  const node = nodeBinary(line)

  it('a program that imports it resumes in its second run', async () => {
    expect(await twice([node, join(project.folder, 'cli.mjs')])).toEqual([false, true])
  })

  it('a program that requires it resumes in its second run', async () => {
    const source = readFileSync(join(project.folder, 'cli.mjs'), 'utf8')
    const file = join(project.folder, `cli-${line}.cjs`)
    writeFileSync(file, source.replace(/^import (.+) from '(.+)'$/gm, "const $1 = require('$2')"))
    expect(await twice([node, file])).toEqual([false, true])
  })

  it('ES modules and CommonJS share one copy of the library', async () => {
    const file = join(project.folder, `same-${line}.mjs`)
    writeFileSync(
      file,
      `import { createRequire } from 'node:module'
      import * as ours from 'ticketkeep'
      const theirs = createRequire(import.meta.url)('ticketkeep')
      console.log(Object.keys(theirs).every((name) => ours[name] === theirs[name]), Object.keys(ours).length)`,
    )
    expect((await run([node, file])).stdout).toMatch(/^true 1\d\n$/)
  })
})

it('the storage code is loaded when a cache is opened and throws the errors of the library', async () => {
  const file = join(project.folder, 'parts.cjs')
  writeFileSync(
    file,
    `const { basename, dirname } = require('node:path')
    const { bindingOf, TicketCache, TicketkeepError } = require('ticketkeep')
    const dist = dirname(require.resolve('ticketkeep'))
    const loaded = () => console.log(...Object.keys(require.cache).filter((path) => dirname(path) === dist).map((path) => basename(path)))
    const fails = (work) => {
      try { work() } catch (error) { console.log(error instanceof TicketkeepError, error.code) }
    }
    loaded()
    TicketCache.openSync().close()
    loaded()
    fails(() => TicketCache.openSync(''))
    fails(() => TicketCache.openSync(undefined, { env: { TICKETKEEP_DIR: 'x' } }))
    fails(() => TicketCache.openSync(undefined, { key: new Uint8Array(32) }).put('h', 1, {}))
    fails(() => TicketCache.openSync('/dev/null/x', { key: new Uint8Array(32) }).take('h', 0))
    fails(() => bindingOf({ host: 'h', crl: 'x' }))
    const tls = require('node:tls')
    const { connect } = tls
    console.log(bindingOf({ host: 'h' }).length)
    tls.connect = (options) => connect({ ...options, rejectUnauthorized: false })
    fails(() => bindingOf({ host: 'h' }))
    loaded()`,
  )
  expect((await run([process.execPath, file])).stdout.split('\n')).toEqual([
    'index.cjs',
    'index.cjs storage.cjs',
    'true ERR_INVALID_PATH',
    'true ERR_INVALID_SETTING',
    'true ERR_INVALID_TICKET',
    'true ERR_INVALID_PORT',
    'true ERR_NOT_ATTENDED',
    '43',
    'true ERR_NOT_ATTENDED',
    'index.cjs storage.cjs attendant.cjs',
    '',
  ])
})

describe('the types', () => {
  const SAMPLE = `
    import { get } from 'node:https'
    import { connect as connectHttp2 } from 'node:http2'
    import { bindingOf, connect, resumable, spkiFingerprint, TicketAgent, TicketCache, ticketConnector } from 'ticketkeep'
    import type { TicketEntry, TicketEvent } from 'ticketkeep'

    export async function all(): Promise<TicketEntry[]> {
      const onEvent = ({ name, reason }: TicketEvent) => console.log(name, reason)
      get('https://a.example', { agent: new TicketAgent({ keepAlive: true, keySource: 'file', onEvent }) })
      connectHttp2('https://a.example', resumable({ maxSessionMemory: 5 }))
      const socket = connect({ host: 'a.example', port: 443, directory: '/x' }, () => {})
      const connector: unknown = ticketConnector({ allowH2: true, timeout: 5 })
      const binding: string = bindingOf({ host: 'a.example' })
      const cache = await TicketCache.open()
      const spkiFp: Uint8Array = spkiFingerprint(socket.getPeerCertificate())
      cache.put('a.example', 443, { ticket: spkiFp, spkiFp, storedAtUnixSecs: 1, binding })
      // @ts-expect-error: no such source
      new TicketAgent({ keySource: 'nowhere' })
      console.log(connector)
      return cache.get('a.example', 443)
    }`

  /** The examples of docs/reference.md, each by itself, with what stands around them in a program. */
  const EXAMPLES = `
    import https from 'node:https'
    import http2 from 'node:http2'
    import type { TLSSocket } from 'node:tls'
    import { bindingOf, connect, hostPort, resumable, spkiFingerprint, TicketAgent, TicketCache, ticketConnector, TicketkeepError } from 'ticketkeep'

    declare const url: string, socket: TLSSocket, ticket: Buffer, spkiFp: Uint8Array
    declare const cache: TicketCache
    declare class Agent { constructor(options: { connect: unknown }) }
    declare function setGlobalDispatcher(agent: Agent): void

    ${documented
      .filter(({ language }) => language === 'ts')
      .map(({ text }) => `export const _ = async () => {\n${text}}`)
      .map((example, i) => example.replace('_', `example${i}`))
      .join('\n')}`

  it.skipIf(missing).each([
    ['5.0', 'node16', 'node16'],
    ['5.0', 'es2022', 'bundler'],
    ['5.9', 'nodenext', 'nodenext'],
    ['6.0', 'nodenext', 'nodenext'],
    ['6.0', 'es2022', 'bundler'],
  ])('compile with TypeScript %s, module %s and resolution %s', async (version, module, moduleResolution) => {
    const tsc = version === '6.0' ? join(ROOT, 'node_modules/typescript') : bundlers(`typescript-${version}`)
    for (const extension of module === 'es2022' ? ['ts'] : ['mts', 'cts']) {
      const name = `sample-${version}-${module}.${extension}`
      writeFileSync(join(project.folder, name), SAMPLE)
      const examples = `examples.${extension}`
      writeFileSync(join(project.folder, examples), EXAMPLES)
      const flags = ['--noEmit', '--strict', '--target', 'es2022', '--types', 'node', '--module', module]
      // The installed types of Node are too new for the oldest TypeScript.
      if (version === '5.0') flags.push('--skipLibCheck')
      const command = [
        process.execPath,
        join(tsc, 'bin/tsc'),
        ...flags,
        '--moduleResolution',
        moduleResolution,
      ]
      const names = version === '6.0' && extension !== 'cts' ? [name, examples] : [name]
      expect(await run([...command, ...names], { cwd: project.folder })).toMatchObject({
        status: 0,
        stdout: '',
      })
    }
  })
})

it.skipIf(missing)('the library resumes under Jest with its defaults', async () => {
  const folder = join(project.folder, 'with-jest')
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{}')
  writeFileSync(
    join(folder, 'library.test.js'),
    `const https = require('node:https')
    const { readFileSync } = require('node:fs')
    const { TicketAgent, TicketCache } = require('ticketkeep')
    test('it connects, and keeps a ticket', async () => {
      const events = []
      const agent = new TicketAgent({ onEvent: ({ name }) => events.push(name) })
      const ca = readFileSync(process.env.CA_FILE)
      const text = await new Promise((done, fail) =>
        https.get(process.env.URL_TO_GET, { agent, ca }, (response) => response.once('data', (part) => done(String(part)))).on('error', fail))
      expect(text).toBe('hello\\n')
      await new Promise((done) => setTimeout(done, 300))
      expect(events).toContain('harvest')
      const cache = await TicketCache.open()
      expect(cache.isEmpty()).toBe(true) // it counts its own alone
      cache.close()
    })`,
  )
  const env = {
    URL_TO_GET: url,
    CA_FILE: caFile,
    TICKETKEEP_DIR: join(sandbox.directory, 'store-jest'),
    CI: '1',
  }
  const outcome = await run([process.execPath, bundlers('jest/bin/jest.js')], { cwd: folder, env })
  expect(`${outcome.stdout}${outcome.stderr}`).toContain('1 passed')
})

describe('a bundle without node_modules', () => {
  /** The flag of esbuild for packages that call require(), as `docs/library.md` has it and a shell reads it. */
  const [banner] = documented.filter(({ language }) => language === 'text')
  const BANNER = banner!.text.trim().replace(/"(.*)"$/, '$1')
  const esbuild = (out: string, ...flags: string[]) => [
    join(ROOT, 'node_modules/esbuild/bin/esbuild'),
    ...['cli.mjs', '--bundle', '--platform=node', '--log-level=error', `--outfile=${out}`, ...flags],
  ]
  const BUILDS: Record<string, () => { command: string[]; out: string }> = {
    'esbuild, CommonJS': () => ({
      command: esbuild('out/esbuild.cjs', '--format=cjs'),
      out: 'out/esbuild.cjs',
    }),
    'esbuild, ES module, with a require() in its banner': () => ({
      command: esbuild('out/esbuild.mjs', '--format=esm', BANNER),
      out: 'out/esbuild.mjs',
    }),
    webpack: () => ({ command: [process.execPath, 'webpack.cjs'], out: 'out/webpack.cjs' }),
    rollup: () => ({
      command: [
        process.execPath,
        bundlers('rollup/dist/bin/rollup'),
        '--silent',
        '--config',
        'rollup.config.cjs',
      ],
      out: 'out/rollup.mjs',
    }),
    ncc: () => ({
      command: [
        process.execPath,
        bundlers('@vercel/ncc/dist/ncc/cli.js'),
        'build',
        'cli.mjs',
        '-q',
        '-o',
        'out/ncc',
      ],
      out: 'out/ncc/index.mjs',
    }),
  }

  beforeAll(() => {
    writeFileSync(
      join(project.folder, 'webpack.cjs'),
      `const webpack = require(${JSON.stringify(bundlers('webpack'))})
      const output = { path: __dirname + '/out', filename: 'webpack.cjs' }
      webpack({ mode: 'production', target: 'node', entry: './cli.mjs', output }, (error, stats) => {
        const { errors, warnings } = error ? { errors: [error], warnings: [] } : stats.toJson()
        for (const one of [...errors, ...warnings]) console.error(one.message)
        process.exitCode = errors.length + warnings.length > 0 ? 1 : 0
      })`,
    )
    const plugin = (name: string) => `require(${JSON.stringify(bundlers(`@rollup/plugin-${name}`))})`
    writeFileSync(
      join(project.folder, 'rollup.config.cjs'),
      `module.exports = {
        input: 'cli.mjs',
        output: { file: 'out/rollup.mjs', format: 'es', inlineDynamicImports: true },
        plugins: [${plugin('node-resolve')}({ preferBuiltins: true }), ${plugin('commonjs')}(), ${plugin('json')}()],
      }`,
    )
  })

  /** Builds, and moves the result into an empty folder. */
  async function build(name: string): Promise<string> {
    const { command, out } = BUILDS[name]!()
    expect(await run(command, { cwd: project.folder })).toMatchObject({ status: 0, stderr: '' })
    const alone = join(sandbox.directory, out)
    cpSync(join(project.folder, out), alone, { recursive: true })
    return alone
  }

  it.skipIf(missing).each(Object.keys(BUILDS))('built by %s resumes in its second run', async (name) => {
    expect(await twice([process.execPath, await build(name)])).toEqual([false, true])
  })

  it('built by esbuild as an ES module without a require() ends with the error of esbuild', async () => {
    const outcome = await run(esbuild('out/plain.mjs', '--format=esm'), { cwd: project.folder })
    expect(outcome).toMatchObject({ status: 0 })
    const { status, stderr } = await run([
      process.execPath,
      join(project.folder, 'out/plain.mjs'),
      url,
      caFile,
    ])
    expect([status, stderr]).toEqual([1, expect.stringContaining('Dynamic require of')])
  })

  it.skipIf(missing).each((['22', '24'] as NodeLine[]).filter((line) => present.includes(line as never)))(
    'in a single executable of Node %s resumes in its second run',
    async (line) => {
      const main = await build('esbuild, CommonJS')
      const folder = join(sandbox.directory, `sea-${line}`)
      mkdirSync(folder)
      const blob = join(folder, 'sea.blob')
      const config = join(folder, 'sea.json')
      writeFileSync(config, JSON.stringify({ main, output: blob, disableExperimentalSEAWarning: true }))
      execFileSync(nodeBinary(line), ['--experimental-sea-config', config], { stdio: 'pipe' })
      const program = join(folder, 'program')
      copyFileSync(nodeBinary(line), program)
      chmodSync(program, 0o755)
      const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
      const inject = [
        bundlers('postject/dist/cli.js'),
        program,
        'NODE_SEA_BLOB',
        blob,
        '--sentinel-fuse',
        fuse,
      ]
      execFileSync(process.execPath, inject, { stdio: 'pipe' })
      expect(await twice([program])).toEqual([false, true])
    },
  )

  it('runs no file of another copy of the package in a folder above', async () => {
    writeFileSync(
      join(project.folder, 'opens.mjs'),
      `import { TicketCache } from 'ticketkeep'\nconsole.log(TicketCache.openSync().keySource)\n`,
    )
    const above = join(sandbox.directory, 'above/node_modules/ticketkeep')
    const mark = join(sandbox.directory, 'it-ran')
    mkdirSync(join(above, 'dist'), { recursive: true })
    writeFileSync(join(above, 'package.json'), '{"name":"ticketkeep"}')
    writeFileSync(
      join(above, 'dist/key-helper.cjs'),
      `require('node:fs').writeFileSync(${JSON.stringify(mark)}, '')`,
    )
    const out = join(sandbox.directory, 'above/app/opens.cjs')
    const build = esbuild(out, '--format=cjs').map((word) => (word === 'cli.mjs' ? 'opens.mjs' : word))
    expect(await run(build, { cwd: project.folder })).toMatchObject({ status: 0 })
    const env = { TICKETKEEP_KEY: '' }
    expect(await run([process.execPath, out], { env })).toMatchObject({ status: 0, stdout: 'memory\n' })
    expect(existsSync(mark)).toBe(false)
  })

  it('of the preload says in one line that it does nothing, and the program runs', async () => {
    writeFileSync(
      join(project.folder, 'with-preload.mjs'),
      `import 'ticketkeep/preload'\nimport './cli.mjs'\n`,
    )
    const bundle = join(sandbox.directory, 'with-preload.cjs')
    const flags = ['--bundle', '--platform=node', '--format=cjs', '--log-level=error', `--outfile=${bundle}`]
    const esbuildPath = join(ROOT, 'node_modules/esbuild/bin/esbuild')
    expect(await run([esbuildPath, 'with-preload.mjs', ...flags], { cwd: project.folder })).toMatchObject({
      status: 0,
    })
    const { status, stdout, stderr } = await run([process.execPath, bundle, url, caFile])
    expect([status, stdout]).toEqual([0, 'hello\n'])
    expect(stderr.split('\n')[0]).toMatch(
      /\[TICKETKEEP_BUNDLED\].*ticketkeep\/preload does nothing in a bundle/,
    )
  })
})

it('each connection is attended once if a program with the library has the preload too', async () => {
  const before = server.requests.length
  const file = join(project.folder, 'events.mjs')
  writeFileSync(
    file,
    `import { subscribe } from 'node:diagnostics_channel'
    for (const name of ['offer', 'harvest']) subscribe('ticketkeep:' + name, () => console.log(name))
    await import('./cli.mjs')`,
  )
  const modules = join(sandbox.directory, 'node_modules')
  symlinkSync(join(project.folder, 'node_modules'), modules)
  const env = {
    TICKETKEEP_DIR: join(sandbox.directory, 'store-both'),
    NODE_OPTIONS: `--require ${JSON.stringify(join(project.folder, 'node_modules/ticketkeep/dist/preload.cjs'))}`,
  }
  const outputs: string[] = []
  for (let i = 0; i < 2; i++) outputs.push((await run([process.execPath, file, url, caFile], { env })).stdout)
  // Two tickets of one handshake, and one offer.
  expect(
    outputs.map((text) =>
      text
        .split('\n')
        .filter((word) => word && word !== 'hello')
        .sort(),
    ),
  ).toEqual([['harvest', 'harvest'], ['offer']])
  expect(server.requests.slice(before).map(({ reused }) => reused)).toEqual([false, true])
})
