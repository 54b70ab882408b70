import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { CLI, PRELOAD, ROOT } from '../../support/places.ts'
import { type Outcome, runProgram, type Sandbox } from '../../support/run-program.ts'
import { useServer } from '../../support/servers.ts'
import { missingUsers, packageForEveryone } from '../../support/users.ts'
import { type Attempt, inSandbox, LINES, ONE, reported, run, unixNow } from './kit.ts'

// Files that somebody else has put where ticketkeep writes, runs or reads them.

const given = useServer({ names: ['a.test'], kind: 'raw' })
const input = () => ({ ...given.target, ca: given.ca.cert })

const NOBODY = 65_534

/** Compiled code of another source with the same length: the length is all that V8 checks. */
const FORGE = `
  const { Script } = require('node:vm')
  const { readFileSync, writeFileSync } = require('node:fs')
  const [path, marker, forged] = process.argv.slice(2)
  const act = '(function(exported){process.getBuiltinModule("node:fs").writeFileSync(' + JSON.stringify(marker) + ',"run")'
  const script = new Script((act + ' '.repeat(readFileSync(path, 'utf8').length - act.length - 2) + '})'), { filename: path })
  script.runInThisContext()
  writeFileSync(forged, script.createCachedData())`

describeWith(missingUsers(), 'files planted in the cache folder', () => {
  it.each<[string, { XDG_CACHE_HOME?: string }]>([
    ['~/.cache', {}],
    ['XDG_CACHE_HOME', { XDG_CACHE_HOME: 'checkout' }],
  ])('are neither run nor changed: %s', (_name, named) =>
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
          args: [JSON.stringify(input())],
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

  /** Plants compiled code for each module of the package, under the names that were read in earlier versions. */
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

  it('is imported but for the entry with an impossible time', () =>
    inSandbox(async (sandbox) => {
      const tooLate = write(sandbox, [entry('a.test'), entry('b.test', { stored_at_unix_secs: 2 ** 53 + 2 })])
      const { status, stdout } = await ticketkeep(sandbox, 'import', tooLate, '--json')
      expect([status, JSON.parse(stdout).imported]).toEqual([0, 1])
    }))

  it('of 60 MB is imported or refused with less than 350 MB of memory', () =>
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

for (const line of LINES) {
  const node = { node: nodeBinary(line) }

  describeWith(missingNode(line), `Node ${line}: a new store`, () => {
    it('does not change the mode of a directory that a planted link points to', () =>
      inSandbox(async (sandbox) => {
        const victim = join(sandbox.directory, 'victim')
        mkdirSync(victim, { mode: 0o755 })
        chmodSync(victim, 0o755)
        // Right after it was made, as anybody can in a directory that others can write to.
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
        const { seen } = await run<Attempt>(sandbox, ONE, input(), { ...node, flags, preload: false })
        expect([seen.authorized, (statSync(victim).mode & 0o777).toString(8)]).toEqual([true, '755'])
      }))
  })
}

describeWith(missingUsers(), 'a native module that another user puts above the package', () => {
  it.each(['@napi-rs/keyring', `@napi-rs/keyring-${process.platform}-${process.arch}-gnu`])(
    'is not loaded: %s',
    (name) =>
      inSandbox(async (sandbox) => {
        const team = join(sandbox.directory, 'team')
        const modules = join(team, 'app/node_modules')
        mkdirSync(join(modules, 'ticketkeep'), { recursive: true })
        cpSync(dirname(PRELOAD), join(modules, 'ticketkeep/dist'), { recursive: true })
        copyFileSync(join(ROOT, 'package.json'), join(modules, 'ticketkeep/package.json'))
        if (name !== '@napi-rs/keyring')
          cpSync(join(ROOT, 'node_modules/@napi-rs/keyring'), join(modules, '@napi-rs/keyring'), {
            recursive: true,
          })
        const planted = join(team, 'node_modules', name)
        const marker = join(sandbox.directory, 'marker')
        mkdirSync(planted, { recursive: true })
        writeFileSync(
          join(planted, 'package.json'),
          JSON.stringify({ name, version: '2.1.2', main: 'index.js' }),
        )
        writeFileSync(
          join(planted, 'index.js'),
          `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'run')`,
        )
        chmodSync(team, 0o777)
        const options = {
          preload: join(modules, 'ticketkeep/dist/preload.cjs'),
          env: { TICKETKEEP_KEY: undefined, TICKETKEEP_KEY_SOURCE: 'kernel' },
          prefix: ['keyctl', 'session', '-'],
        }
        const { events } = await run<Attempt>(
          sandbox,
          `const first = await attempt(input)\n await new Promise((done) => setTimeout(done, 300))\n report(first)`,
          input(),
          options,
        )
        expect(events.join()).toContain('kernel')
        expect(existsSync(marker)).toBe(false)
      }),
  )
})
