// On a Node without one of its private parts, ticketkeep does nothing and the program runs as without it.
import { EventEmitter } from 'node:events'
import tls from 'node:tls'
import { describe, expect, it } from 'vitest'
import { defaultAgentOf, makeRoom, onContextChange } from '../../src/runtime/node-internals.ts'
import { SecureContexts } from '../../src/tls/secure-contexts.ts'
import { inSandbox } from '../e2e/trust/kit.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { PRELOAD } from '../support/places.ts'
import { runProgram } from '../support/run-program.ts'
import { useServer } from '../support/servers.ts'

/** Hides a part from ticketkeep alone, since Node itself needs it. */
const HIDDEN: Record<string, string> = {
  'EventEmitter.init': `
    const { EventEmitter } = require('node:events')
    let { init } = EventEmitter
    const isOurs = () => new Error().stack.includes('preload.cjs')
    Object.defineProperty(EventEmitter, 'init', { get: () => (isOurs() ? undefined : init), set: (f) => (init = f) })`,
  'TLSSocket.prototype._releaseControl': `
    const { prototype } = require('node:tls').TLSSocket
    const release = prototype._releaseControl
    const isOurs = () => new Error().stack.includes('hook.cjs')
    Object.defineProperty(prototype, '_releaseControl', { get: () => (isOurs() ? undefined : release) })`,
  kConnectOptions: `
    const symbols = Object.getOwnPropertySymbols
    const isConnectOptions = ({ description }) => description === 'connect-options'
    Object.getOwnPropertySymbols = (object) => symbols(object).filter((symbol) => !isConnectOptions(symbol))`,
}

const GET = `
const https = require('node:https')
const { subscribe } = require('node:diagnostics_channel')
const events = []
for (const name of ['offer', 'harvest', 'skip']) subscribe('ticketkeep:' + name, () => events.push(name))
const [url, ca] = process.argv.slice(2)
https.get(url, { ca }, (response) => {
  response.setEncoding('utf8').on('data', (text) => console.log(response.statusCode, text.trim()))
  response.on('end', () => setImmediate(() => console.log(events.join())))
})`

const given = useServer()

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const get = (hide: string) =>
      inSandbox((sandbox) =>
        runProgram({
          sandbox,
          node: nodeBinary(line),
          preload: false,
          flags: ['--require', sandbox.write('hide.cjs', hide), '--require', PRELOAD],
          source: GET,
          args: [`https://localhost:${given.server.port}/`, given.ca.cert],
        }),
      )

    it('attends a connection with all private parts', async () => {
      expect((await get('')).stdout).toBe('200 hello\nskip,harvest,harvest\n')
    })

    it.each(Object.entries(HIDDEN))('leaves a connection alone without %s', async (_name, hide) => {
      expect(await get(hide)).toEqual({ status: 0, signal: null, stdout: '200 hello\n\n', stderr: '' })
    })
  })
}

describe('without the native half of a context', () => {
  it('contexts are unknown, and are made as without ticketkeep', () => {
    const made = { context: undefined } as unknown as tls.SecureContext
    const module = { createSecureContext: () => made } as unknown as typeof tls
    const contexts = new SecureContexts(onContextChange)
    contexts.watch(module, () => expect.unreachable())
    expect(module.createSecureContext({})).toBe(made)
    expect(contexts.originOf(made)).toBeUndefined()
  })
})

describe('without _maxListeners', () => {
  it('the limit of listeners stays raised, and nothing throws', () => {
    class Emitter extends EventEmitter {
      #most = 10
      override getMaxListeners = () => this.#most
      override setMaxListeners = (most: number) => {
        this.#most = most
        return this
      }
    }
    const emitter = new Emitter()
    const takeAway = makeRoom(emitter)
    expect(emitter.getMaxListeners()).toBe(11)
    takeAway()
    expect(emitter.getMaxListeners()).toBe(11)
  })
})

it('without _defaultAgent a request without an agent has none', () => {
  expect(defaultAgentOf({})).toBeUndefined()
})

it('this Node has the private parts under these names', () => {
  expect(EventEmitter).toHaveProperty('init')
  expect(tls.TLSSocket.prototype).toHaveProperty('_releaseControl')
  expect(Object.keys(new EventEmitter())).toContain('_maxListeners')
})
