import { chownSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode, missingRoot } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { DIST, PRELOAD } from '../../support/places.ts'
import { runCommand, runProgram, type Sandbox } from '../../support/run-program.ts'
import { type OneServer, useServer } from '../../support/servers.ts'
import { type Attempt, harvested, inSandbox, LINES, ONE, offered, run } from './kit.ts'

// A program replaces parts of its process, of its sockets or of its environment.

const given = useServer({ names: ['a.test'], kind: 'raw' })

interface Place {
  readonly sandbox: Sandbox
  readonly input: OneServer['target'] & { readonly ca: string; readonly other: string }
}

const place = (test: (place: Place) => Promise<void>): Promise<void> =>
  inSandbox((sandbox) =>
    test({ sandbox, input: { ...given.target, ca: given.ca.cert, other: given.otherCa.cert } }),
  )

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it.each(['version', 'platform', 'arch', 'execPath'])(
      'a program that replaces process.%s is left alone',
      (name) =>
        place(async ({ sandbox, input }) => {
          await run(sandbox, ONE, input, node)
          const body = `Object.defineProperty(process, '${name}', { value: 'other' }); ${ONE}`
          const seen = await run<Attempt>(sandbox, body, input, node)
          expect([offered(seen), harvested(seen), seen.seen.text]).toEqual([false, false, 'hello\n'])
        }),
    )

    it('a program that sets its own connect method on a socket keeps that method', () =>
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

    it('a subclass of TLSSocket can set its own connect method', () =>
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

    it('a program that freezes EventEmitter connects and stores its session', () =>
      place(async ({ sandbox, input }) => {
        const body = `Object.freeze(require('node:events')); ${ONE}`
        const seen = await run<Attempt>(sandbox, body, input, node)
        expect([seen.seen, harvested(seen)]).toEqual([{ authorized: true, text: 'hello\n' }, true])
      }))

    it.runIf(process.platform === 'linux')(
      'flags that a program hides before it loads the preload still count',
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
          // The number of flags and arguments is right, but another argument is the script.
          const moved =
            'process.execArgv.length = 1; process.argv.splice(1, 1, "node:fs", "--use-openssl-ca", process.argv[1])'
          expect(await attend(three, moved, 'word')).toBe(false)
        }),
    )

    it.runIf(process.platform === 'linux' && missingCommands('python3') === undefined)(
      'the first value of NODE_OPTIONS counts where it is set twice, since Node reads that one',
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

describeWith(missingRoot(), 'compiled code in the package', () => {
  it('is not run if its owner is not the owner of the package', () =>
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
