// What a third attacker found, who had read SECURITY.md and the page of admission first.
import { chownSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode, missingRoot } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../../support/pki.ts'
import { DIST, PRELOAD } from '../../support/places.ts'
import { runCommand, runProgram, type Sandbox } from '../../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../../support/tls-server.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, run, ticketsIn } from './kit.ts'

let ca: Authority
let other: Authority
let identity: Identity
beforeAll(async () => {
  ca = await createAuthority()
  other = await createAuthority()
  identity = await ca.issue({ names: ['a.test'] })
})

interface Place {
  readonly sandbox: Sandbox
  readonly server: TlsServer
  readonly input: { host: string; port: number; servername: string; ca: string; other: string }
}

async function place(test: (place: Place) => Promise<void>): Promise<void> {
  const server = await startTlsServer({ ...identity, kind: 'raw' })
  const input = { host: '127.0.0.1', port: server.port, servername: 'a.test', ca: ca.cert, other: other.cert }
  try {
    await inSandbox((sandbox) => test({ sandbox, server, input }))
  } finally {
    await server.close()
  }
}

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('a server name that the program changes after its call is not resumed under', () =>
      place(async ({ sandbox, input }) => {
        await run(sandbox, ONE, input, node)
        const body = `
          const socket = open(input)
          socket.setServername('b.test')
          socket.on('error', () => {}).on('data', () => {}).on('close', () => report(events))`
        const seen = await run<string[]>(sandbox, body, input, node)
        expect(seen).not.toContain('offer')
        expect(seen).toContain('skip: the server name was changed since the call')
      }))

    it('certificates as text and as bytes are one set only where Node gives OpenSSL the same bytes', () =>
      place(async ({ sandbox, input }) => {
        const accepts = `report(await attempt({ ...input, ca: '# \\u00e9\\n' + input.ca }))`
        const latin1 = `report(await attempt({ ...input, ca: Buffer.from('# \\u00e9\\n' + input.ca, 'latin1') }))`
        const utf8 = `report(await attempt({ ...input, ca: Buffer.from('# \\u00e9\\n' + input.ca) }))`
        await run(sandbox, accepts, input, node)
        expect(offered(await run(sandbox, latin1, input, node))).toBe(false)
        await run(sandbox, accepts, input, node)
        expect(offered(await run(sandbox, utf8, input, node))).toBe(true)
      }))

    /** The second connection of a process, whose options are noted as it makes its context. */
    const pinsLater = (pin: string) => `
      await attempt({ ...input, servername: 'warm.test' })
      const { Socket } = require('node:net')
      const { connect } = Socket.prototype
      Socket.prototype.connect = function (options, callback) {
        if (options.checkServerIdentity) ${pin}
        return connect.call(this, options, callback)
      }
      report(await attempt(input))`

    it.runIf(line !== '20')(
      'default CAs that a lookup of the first connection replaces do not count for it',
      () =>
        place(async ({ sandbox, input }) => {
          const lookup = (change: string) => `
          const lookup = (_name, { all }, done) => {
            ${change}
            all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
          }
          report(await attempt({ ...input, ca: undefined, host: 'a.test', lookup }))`
          const trusted = `tls.setDefaultCACertificates([input.ca])`
          expect(harvested(await run(sandbox, `${trusted}; ${lookup('')}`, input, node))).toBe(true)
          const refused = await run<Attempt>(sandbox, lookup(trusted), input, node)
          expect([offered(refused), refused.seen.authorized]).toEqual([false, undefined])
        }),
    )

    it('an identity check that a wrapper of connect puts into Node’s own options is not passed over', () =>
      place(async ({ sandbox, input }) => {
        await run(sandbox, ONE, input, node)
        const body = pinsLater(`options.checkServerIdentity = () => new Error('PIN')`)
        const refused = await run<Attempt>(sandbox, body, input, node)
        expect([offered(refused), refused.seen.error]).toEqual([false, 'PIN'])
      }))

    it('what is verified under options that changed meanwhile is not kept', () =>
      place(async ({ sandbox, input }) => {
        const body = pinsLater('options.checkServerIdentity = () => undefined')
        const accepted = await run<Attempt>(sandbox, body, { ...input, servername: 'wrong.test' }, node)
        expect([accepted.seen.authorized, harvested(accepted)]).toEqual([true, false])
        expect(ticketsIn(sandbox)).toEqual([])
      }))

    it('a pin that looks away from a reused session sees a full one', () =>
      place(async ({ sandbox, input }) => {
        // As snowflake-sdk does: a session of its own it has pinned when it was made.
        const pinned = `report(await attempt(input, (socket) => {
          const { fingerprint256 } = socket.getPeerCertificate()
          if (fingerprint256 !== 'AA:BB' && !socket.isSessionReused()) socket.destroy(new Error('PIN'))
        }))`
        await run(sandbox, ONE, input, node)
        const refused = await run<Attempt>(sandbox, pinned, input, node)
        expect([refused.reused, refused.seen.error]).toEqual([true, 'PIN'])
      }))

    it('a session that the program passes itself is shown as reused', () =>
      place(async ({ sandbox, input }) => {
        const body = `
          let session
          await attempt(input, (socket) => socket.on('session', (s) => (session = s)))
          let isReused
          await attempt({ ...input, session }, (socket) => (isReused = socket.isSessionReused()))
          report(isReused)`
        expect(await run(sandbox, body, input, node)).toBe(true)
      }))

    it.each(['version', 'platform', 'arch', 'execPath'])(
      'a process.%s that was replaced is left alone',
      (name) =>
        place(async ({ sandbox, input }) => {
          await run(sandbox, ONE, input, node)
          const body = `Object.defineProperty(process, '${name}', { value: 'other' }); ${ONE}`
          const seen = await run<Attempt>(sandbox, body, input, node)
          expect([offered(seen), harvested(seen), seen.seen.text]).toEqual([false, false, 'hello\n'])
        }),
    )

    it('a program that puts its own connect on its socket keeps it', () =>
      place(async ({ sandbox, input }) => {
        const body = `
          const socket = tls.connect(input)
          const before = Object.hasOwn(socket, 'connect')
          socket.connect = 'mine'
          setImmediate(() => report([before, socket.connect, Object.keys(socket).includes('connect')]))
          socket.on('data', () => {}).on('error', () => {})`
        const without = await run(sandbox, body, input, { ...node, preload: false })
        expect(await run(sandbox, body, input, node)).toEqual(without)
      }))

    it('a class of sockets that sets its own connect can be made', () =>
      place(async ({ sandbox, input }) => {
        const body = `
          const { Socket } = require('node:net')
          class Mine extends tls.TLSSocket {
            constructor() {
              super(new Socket())
              this.connect = 'mine'
            }
          }
          report(new Mine().connect)`
        expect(await run(sandbox, body, input, node)).toBe('mine')
      }))

    it('a program that freezes EventEmitter connects', () =>
      place(async ({ sandbox, input }) => {
        const body = `Object.freeze(require('node:events')); ${ONE}`
        const seen = await run<Attempt>(sandbox, body, input, node)
        expect([seen.seen, harvested(seen)]).toEqual([{ authorized: true, text: 'hello\n' }, true])
      }))

    it.runIf(process.platform === 'linux')(
      'flags that a program changed before it imports the preload count',
      () =>
        place(async ({ sandbox, input }) => {
          const attend = async (flags: string[], first: string, word = '') => {
            const source = `${first}\nrequire(${JSON.stringify(PRELOAD)})
            const { attempt, report } = require(${JSON.stringify(join(import.meta.dirname, 'attempt.cjs'))})
            attempt(${JSON.stringify(input)}).then(report)`
            const args = word ? [word] : []
            const { stdout } = await runProgram({ sandbox, ...node, preload: false, flags, source, args })
            const seen = JSON.parse(stdout) as Attempt
            return harvested(seen) || offered(seen)
          }
          const quiet = ['--no-warnings']
          expect(await attend(quiet, '', 'word')).toBe(true)
          for (const change of [
            'process.execArgv.length = 0',
            'process.execArgv.length = 0; process.argv.splice(1, 0, "--no-warnings")',
            'process.execArgv.length = 0; process.argv.splice(2, 0, process.argv[1])',
            'process.execArgv.push("--no-warnings")',
          ]) {
            expect([change, await attend(quiet, change, 'word')]).toEqual([change, false])
          }
          const three = ['--require', 'node:fs', '--use-openssl-ca']
          expect(await attend(three, 'process.execArgv.length = 1', 'word')).toBe(false)
          // The flags and the words add up, and still another word is the script.
          const moved =
            'process.execArgv.length = 1; process.argv.splice(1, 1, "node:fs", "--use-openssl-ca", process.argv[1])'
          expect(await attend(three, moved, 'word')).toBe(false)
        }),
    )

    it.runIf(process.platform === 'linux' && missingCommands('python3') === undefined)(
      'of a variable that is set twice the first counts, which Node reads',
      () =>
        place(async ({ sandbox, input }) => {
          const file = sandbox.write(
            'program.cjs',
            `require(${JSON.stringify(PRELOAD)})
            const { attempt, report } = require(${JSON.stringify(join(import.meta.dirname, 'attempt.cjs'))})
            attempt(${JSON.stringify(input)}).then(report)`,
          )
          const exec = sandbox.write('twice.py', EXEC_WITH_TWO)
          const attend = async (first: string, second: string) => {
            const command = ['python3', exec, first, second, node.node, file]
            const { stdout } = await runCommand({ sandbox, preload: false }, command)
            const seen = JSON.parse(stdout) as Attempt
            return harvested(seen) || offered(seen)
          }
          expect(await attend('--no-warnings', '--no-deprecation')).toBe(true)
          expect(await attend('--use-openssl-ca', '--no-warnings')).toBe(false)
        }),
    )
  })
}

describeWith(missingRoot(), 'compiled code beside the package', () => {
  it('of another owner than the package is not run', () =>
    inSandbox(async (sandbox) => {
      const dist = join(sandbox.directory, 'dist')
      mkdirSync(dist)
      cpSync(DIST, dist, { recursive: true })
      const script = join(dist, 'precompile.cjs')
      const made = await runProgram({ sandbox, preload: false, file: script, args: [] })
      expect(made).toMatchObject({ status: 0 })
      const compiled = readdirSync(dist).filter(
        (name) => name.startsWith('hook.cjs.') && name.endsWith('.v8'),
      )
      expect(compiled).toHaveLength(1)
      const path = join(dist, compiled[0]!)
      writeFileSync(path, readFileSync(path))
      const isRead = async () => {
        const { stderr } = await runProgram({
          sandbox,
          preload: join(dist, 'preload.cjs'),
          source: `const { Script } = require('node:vm')
            require('node:vm').Script = class extends Script {
              constructor(source, options) {
                super(source, options)
                if (options.filename.endsWith('hook.cjs')) console.error(Boolean(options.cachedData))
              }
            }
            require('node:tls').connect(1, '127.0.0.1').on('error', () => {})`,
        })
        return stderr.trim()
      }
      expect(await isRead()).toBe('true')
      chownSync(path, 65_534, 65_534)
      expect(await isRead()).toBe('false')
    }))
})

/** Runs a program with NODE_OPTIONS twice in its environment, as execve(2) allows. */
const EXEC_WITH_TWO = `
import ctypes, os, sys
first, second, *command = sys.argv[1:]
rest = [f'{name}={value}' for name, value in os.environ.items() if name != 'NODE_OPTIONS']
words = lambda some: (ctypes.c_char_p * (len(some) + 1))(*[one.encode() for one in some], None)
ctypes.CDLL(None).execve(command[0].encode(), words(command), words([f'NODE_OPTIONS={first}', f'NODE_OPTIONS={second}', *rest]))
`
