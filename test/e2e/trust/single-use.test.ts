import { cpSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { DIST } from '../../support/places.ts'
import { useServer } from '../../support/servers.ts'
import { type Attempt, inSandbox, LINES, ONE, offered, run, ticketsIn } from './kit.ts'

// Each ticket is stored once and offered once, whatever becomes of the program.

const given = useServer({ names: ['a.test'], kind: 'raw' })

it('two copies of the package in one process store each ticket once', () =>
  inSandbox(async (sandbox) => {
    cpSync(DIST, join(sandbox.directory, 'dist'), { recursive: true })
    const flags = ['--require', join(sandbox.directory, 'dist/preload.cjs')]
    await run(sandbox, ONE, { ...given.target, ca: given.ca.cert })
    const once = sandbox.stored().length
    for (const path of sandbox.stored()) rmSync(path)
    await run(sandbox, ONE, { ...given.target, ca: given.ca.cert }, { flags })
    expect([once > 0, sandbox.stored().length]).toEqual([true, once])
  }))

it('a used ticket is not stored again when a listener of the program throws', () =>
  inSandbox(async (sandbox) => {
    const input = { ...given.target, ca: given.ca.cert }
    await run(sandbox, ONE, input)
    const before = ticketsIn(sandbox)
    const body = `
      process.on('uncaughtException', () => {})
      require('node:https').get({ ...input, agent: false }).on('error', () => {}).on('socket', (socket) => {
        let reused
        socket.on('connect', () => { throw new Error('of the program') })
        socket.on('secureConnect', () => {
          reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(socket)
          setTimeout(() => socket.destroy(), 20)
        })
        socket.on('close', () => report(reused))
      })`
    expect(await run(sandbox, body, input)).toBe(true)
    // The server sends no ticket on a resumption.
    expect(before.length - ticketsIn(sandbox).length).toBe(1)
  }))

it('a file of single-use tickets that is renamed as reusable is a miss and is removed', () =>
  inSandbox(async (sandbox) => {
    const input = { ...given.target, ca: given.ca.cert }
    await run(sandbox, ONE, input)
    const [path = '', ...others] = sandbox.stored()
    expect(others).toEqual([])
    expect(path).toMatch(/\.s\.[0-9a-f]{8}\.[0-9a-f]{16}\.json$/)
    const renamed = path.replace(/\.s\.(?=[0-9a-f]{8}\.[0-9a-f]{16}\.json$)/, '.r.')
    renameSync(path, renamed)
    const made = await run<Attempt>(sandbox, ONE, input)
    expect([offered(made), made.reused, made.seen.text]).toEqual([false, false, 'hello\n'])
    expect(sandbox.stored()).not.toContain(renamed)
  }))

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('the batch of a killed program is gone, and the next program uses each ticket of another batch once', () =>
      inSandbox(async (sandbox) => {
        const input = { ...given.target, ca: given.ca.cert }
        await run(sandbox, ONE, input, node)
        const [first = ''] = sandbox.stored()
        renameSync(first, join(sandbox.directory, 'first'))
        await run(sandbox, ONE, input, node)
        renameSync(join(sandbox.directory, 'first'), first)
        expect(sandbox.stored()).toHaveLength(2)
        const [total, inBatch] = [ticketsIn(sandbox).length, ticketsIn(sandbox).length / 2]
        const body = `
          require('node:diagnostics_channel').subscribe('ticketkeep:offer', () => process.kill(process.pid, 'SIGKILL'))
          await attempt(input)`
        await expect(run(sandbox, body, input, node)).rejects.toThrow(/SIGKILL/)
        expect(ticketsIn(sandbox)).toHaveLength(total - inBatch)
        // Without this the server would be left alone, since it may have hung.
        const notes = sandbox.stored().filter((one) => one.endsWith('.offer'))
        expect(notes).toHaveLength(1)
        rmSync(notes[0]!)
        for (let left = inBatch - 1; left >= 0; left--) {
          expect((await run<Attempt>(sandbox, ONE, input, node)).reused).toBe(true)
          expect(ticketsIn(sandbox)).toHaveLength(left)
        }
        expect((await run<Attempt>(sandbox, ONE, input, node)).reused).toBe(false)
      }))

    it('the half-written file of a killed program is not read as a batch', () =>
      inSandbox(async (sandbox) => {
        const input = { ...given.target, ca: given.ca.cert }
        await run(sandbox, ONE, input, node)
        const [path = ''] = sandbox.stored()
        const [time, random] = path.split('.').slice(-3)
        const temporary = join(dirname(path), `${time}.${random}.tmp`)
        renameSync(path, temporary)
        const made = await run<Attempt>(sandbox, ONE, input, node)
        expect([offered(made), made.reused, made.seen.text]).toEqual([false, false, 'hello\n'])
        expect(sandbox.stored()).toContain(temporary)
      }))
  })
}
