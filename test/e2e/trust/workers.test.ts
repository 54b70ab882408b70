import { existsSync } from 'node:fs'
import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../../support/pinned.ts'
import { useServer } from '../../support/servers.ts'
import { type Attempt, harvested, inSandbox, ONE, offered, run } from './kit.ts'

// The flags and variables of the process decide trust in worker threads, though a worker may have been given others. The
// default CAs are a thread's own.

const given = useServer({ names: ['a.test'], kind: 'raw', version: 'TLSv1.3' })

const ATTEMPT = JSON.stringify(new URL('attempt.cjs', import.meta.url).pathname)

/** A program that makes its attempt in a worker with these options of `Worker`, after `before` has run there. */
const inWorker = (options: string, before = '', end = '') => `
  const { SHARE_ENV, Worker } = require('node:worker_threads')
  const source = \`
    const { parentPort, workerData } = require('node:worker_threads')
    const { attempt } = require(${ATTEMPT})
    ${before}
    attempt(workerData).then((result) => parentPort.postMessage(result))\`
  const worker = new Worker(source, { eval: true, workerData: input, ${options} })
  worker.on('message', (result) => { report(result); ${end} })`

/** ld.so(8): it can be given a program to start. */
const LOADER = ['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1'].find(existsSync)

for (const line of NODE_LINES) {
  describeWith(missingNode(line) ?? onLinux(), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }
    const target = () => given.target
    const withCa = () => ({ ...target(), ca: given.ca.cert })
    /** Node 20 does not tell its default CAs. */
    const isTold = line !== '20'

    it('a worker resumes a session of another worker that was terminated right after its connection', () =>
      inSandbox(async (sandbox) => {
        const body = inWorker('', '', 'worker.terminate()')
        const attempts: Attempt[] = []
        for (let i = 0; i < 3; i++) attempts.push(await run<Attempt>(sandbox, body, withCa(), node))
        expect(attempts.map(({ reused }) => reused)).toEqual([false, true, true])
        expect((await run<Attempt>(sandbox, ONE, withCa(), node)).seen.authorized).toBe(true)
      }))

    it.each(['execArgv: [], env: process.env', 'execArgv: [], env: SHARE_ENV'])(
      'a session of a worker is not offered by one whose process reads the OpenSSL configuration: %s',
      (options) =>
        inSandbox(async (sandbox) => {
          expect(harvested(await run<Attempt>(sandbox, inWorker(''), withCa(), node))).toBe(true)
          const flags = ['--openssl-shared-config']
          const attack = await run<Attempt>(sandbox, inWorker(options), withCa(), { ...node, flags })
          expect([offered(attack), harvested(attack)]).toEqual([false, false])
          const titled = `process.title = 'x'\n${inWorker(options)}`
          expect(offered(await run<Attempt>(sandbox, titled, withCa(), { ...node, flags }))).toBe(false)
        }),
    )

    it.skipIf(LOADER === undefined)(
      'workers are left alone for a flag of their process, even if that was started through the dynamic loader',
      () =>
        inSandbox(async (sandbox) => {
          await run<Attempt>(sandbox, inWorker(''), withCa(), node)
          const options = { ...node, prefix: [LOADER!], flags: ['--openssl-shared-config'] }
          const attack = await run<Attempt>(sandbox, inWorker('execArgv: []'), withCa(), options)
          expect([attack.seen.text, offered(attack), harvested(attack)]).toEqual(['hello\n', false, false])
        }),
    )

    it('the NODE_EXTRA_CA_CERTS of a worker’s own environment is ignored', () =>
      inSandbox(async (sandbox) => {
        const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
        await run<Attempt>(sandbox, ONE, target(), { ...node, env })
        const options = `env: { ...process.env, NODE_EXTRA_CA_CERTS: ${JSON.stringify(env.NODE_EXTRA_CA_CERTS)} }`
        const attack = await run<Attempt>(sandbox, inWorker(options), target(), node)
        expect([attack.seen.authorized ?? false, offered(attack)]).toEqual([false, false])
      }))

    it('a worker does not trust the default CAs that another thread has set', () =>
      inSandbox(async (sandbox) => {
        if (!isTold) return
        const set = 'tls.setDefaultCACertificates?.([workerData.own])'
        const input = { ...target(), own: given.ca.cert }
        const stored = inWorker('', `const tls = require('node:tls'); ${set}`)
        const made = await run<Attempt>(sandbox, stored, input, node)
        const main = set.replace('workerData', 'input')
        const attack = await run<Attempt>(sandbox, `${main}\n${inWorker('')}`, input, node)
        expect([attack.seen.authorized ?? false, offered(attack)]).toEqual([false, false])
        if (made.seen.authorized) expect((await run<Attempt>(sandbox, stored, input, node)).reused).toBe(true)
      }))
  })
}

function onLinux(): string | undefined {
  return process.platform === 'linux' ? undefined : 'worker threads are attended on Linux only'
}
