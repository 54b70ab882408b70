import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { createSandbox, type RunOptions, runProgram, type Sandbox } from '../support/run-program.ts'

// A program that loads `node:tls` finds everything as it is without ticketkeep.

let sandbox: Sandbox
beforeAll(() => {
  sandbox = createSandbox()
})
afterAll(() => sandbox?.remove())

/** What a program can see of the objects that are touched on the way. */
const LOOK = `
const seen = (tls) => ({
  objects: Object.getOwnPropertyNames(Object.prototype),
  events: Object.getOwnPropertyDescriptors(require('node:events')).captureRejectionSymbol,
  tls: Object.entries(Object.getOwnPropertyDescriptors(tls)).map(([name, { value, ...how }]) =>
    [name, typeof value, value?.name, value?.length, how]),
})
const show = (what) => console.log(require('node:util').inspect(what, { depth: 9, maxArrayLength: null }))
`

const PROGRAMS: Record<string, Partial<RunOptions>> = {
  'a program that requires tls': { source: `${LOOK} show(seen(require('node:tls')))` },
  'one that requires https and then tls': {
    source: `${LOOK} require('node:https'); show(seen(require('node:tls')))`,
  },
  'one that requires http2 and then tls': {
    source: `${LOOK} require('node:http2'); show(seen(require('node:tls')))`,
  },
  'one that gets tls by process.getBuiltinModule': {
    source: `${LOOK} show(seen(process.getBuiltinModule('node:tls')))`,
  },
  'one that imports tls and names of it': {
    module: 'mjs',
    source: `import { createRequire } from 'node:module'
      import * as all from 'node:tls'
      import tls, { connect } from 'node:tls'
      const require = createRequire(import.meta.url)
      ${LOOK} show([seen(tls), Object.keys(all), connect === tls.connect])`,
  },
  'one that loads only http': {
    source: `${LOOK} const http = require('node:http')
      show([Object.getOwnPropertyNames(Object.prototype), require('node:events').captureRejectionSymbol, http.Agent])`,
  },
  'one that replaces functions of tls': {
    source: `${LOOK} const events = require('node:events')
      events.captureRejectionSymbol = Symbol('mine')
      show([events.captureRejectionSymbol, Object.keys(events), seen(require('node:tls'))])`,
  },
  'one that replaces the default CAs through an early reference': {
    source: `
      const { setDefaultCACertificates, getCACertificates } = require('node:tls')
      const set = (value) => { try { setDefaultCACertificates(value) } catch ({ code }) { return code } }
      console.log(setDefaultCACertificates && [
        set('no array'), set([getCACertificates('bundled')[0]]), getCACertificates('default').length,
        setDefaultCACertificates.toString()])`,
  },
  'one that freezes Object.prototype': {
    source: `${LOOK} Object.freeze(Object.prototype); show(seen(require('node:tls')))`,
  },
  'one that freezes EventEmitter': {
    source: `${LOOK} const events = Object.freeze(require('node:events'))
      require('node:tls'); show([events.captureRejectionSymbol, Object.getOwnPropertyNames(Object.prototype)])`,
  },
}

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `Node ${line}: nothing of ticketkeep is seen by`, () => {
    it.each(Object.entries(PROGRAMS))('%s', async (_name, program) => {
      const options = { sandbox, node: nodeBinary(line), ...program }
      const plain = await runProgram({ ...options, preload: false })
      expect(plain.status).toBe(0)
      expect(await runProgram(options)).toEqual(plain)
    })
  })
}
