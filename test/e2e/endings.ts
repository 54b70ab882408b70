import type { Outcome, RunOptions } from '../support/run-program.ts'

export interface Ending extends Pick<RunOptions, 'source' | 'module' | 'flags' | 'onStart'> {
  /** What is seen without ticketkeep, so that a program that breaks by itself is not taken for an example. */
  readonly expected: Partial<Outcome>
  /** Whether one of its requests comes over a resumed connection. */
  readonly resumes: boolean
}

/** Gets a page, writes to both streams, and leaves at once with a status of its own. */
export const TALKATIVE = `
  require('node:https').get(process.argv[2], (response) => {
    response.on('data', (bytes) => process.stdout.write(bytes))
    response.on('end', () => {
      process.stderr.write('on the other side\\n')
      process.exit(3)
    })
  })`

const inResponse = (statements: string) => `
  require('node:https').get(process.argv[2], (response) => {
    response.resume().on('end', () => {
      ${statements}
    })
  })`

/** The ways in which programs end: every one uses TLS, and none knows of ticketkeep. */
export const ENDINGS: Record<string, Ending> = {
  'by having no more to do': {
    source: inResponse(`console.log('done')`),
    expected: { status: 0, stdout: 'done\n', stderr: '' },
    resumes: true,
  },
  'by process.exit in a handler': { source: TALKATIVE, expected: { status: 3 }, resumes: true },
  'by process.exit in an exit handler': {
    source: `process.on('exit', (code) => { console.log('exit', code); process.exit(code + 4) })
      ${inResponse('process.exitCode = 1')}`,
    expected: { status: 5, stdout: 'exit 1\n' },
    resumes: true,
  },
  'by process.reallyExit': {
    source: inResponse('process.reallyExit(6)'),
    expected: { status: 6 },
    resumes: false,
  },
  'by an uncaught exception': {
    source: inResponse(`throw new Error('nobody catches this')`),
    expected: { status: 1 },
    resumes: true,
  },
  'by an uncaught exception that a handler takes': {
    source: `process.on('uncaughtException', (error, origin) => { console.log(error.message, origin); process.exitCode = 8 })
      ${inResponse(`throw new Error('taken')`)}`,
    expected: { status: 8, stdout: 'taken uncaughtException\n', stderr: '' },
    resumes: true,
  },
  'by an unhandled rejection': {
    source: inResponse(`Promise.reject(new Error('nobody awaits this'))`),
    expected: { status: 1 },
    resumes: true,
  },
  'by process.abort': {
    source: inResponse('process.abort()'),
    expected: { signal: 'SIGABRT' },
    resumes: false,
  },
  'by its own SIGKILL': {
    source: inResponse(`process.kill(process.pid, 'SIGKILL')`),
    expected: { status: null, signal: 'SIGKILL' },
    resumes: false,
  },
  'by SIGTERM from outside': {
    source: inResponse(`console.log('ready'); setInterval(() => {}, 1000)`),
    onStart: (child) => child.stdout?.once('data', () => child.kill('SIGTERM')),
    expected: { status: null, signal: 'SIGTERM', stdout: 'ready\n' },
    resumes: false,
  },
  'by SIGTERM that it handles itself': {
    source: `process.on('SIGTERM', () => { console.log('tidying up'); process.exit(143) })
      ${inResponse(`console.log('ready'); setInterval(() => {}, 1000)`)}`,
    onStart: (child) => child.stdout?.once('data', () => child.kill('SIGTERM')),
    expected: { status: 143, signal: null, stdout: 'ready\ntidying up\n' },
    resumes: true,
  },
  'in an ES module with top-level await': {
    module: 'mjs',
    source: `const response = await fetch(process.argv[2])
      console.log(await response.text())
      process.exitCode = 2`,
    expected: { status: 2, stdout: 'hello\n\n' },
    resumes: true,
  },
  'with the work done in a worker thread': {
    source: `
      const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
      if (isMainThread) {
        const worker = new Worker(__filename, { workerData: process.argv[2] })
        worker.on('message', (text) => console.log(text)).on('exit', (code) => console.log('worker left with', code))
      } else {
        // Node 20 does not tell what it trusts in a worker, where this is set.
        const ca = require('node:fs').readFileSync(process.env.NODE_EXTRA_CA_CERTS)
        require('node:https').get(workerData, { ca }, (response) => {
          response.resume().on('end', () => { parentPort.postMessage('done'); process.exit(5) })
        })
      }`,
    expected: { status: 0, stdout: 'done\nworker left with 5\n' },
    resumes: process.platform === 'linux',
  },
  'with the work done in a cluster': {
    source: `
      const cluster = require('node:cluster')
      if (cluster.isPrimary) {
        const codes = []
        for (let i = 0; i < 3; i++) cluster.fork({ NTH: i })
        cluster.on('exit', (_worker, code) => {
          codes.push(code)
          if (codes.length === 3) console.log(codes.sort().join())
        })
      } else {
        require('node:https').get(process.argv[2], (response) => {
          response.resume().on('end', () => process.exit(10 + Number(process.env.NTH)))
        })
      }`,
    expected: { status: 0, stdout: '10,11,12\n', stderr: '' },
    resumes: true,
  },
  'with a child process that speaks TLS as well': {
    source: `
      const { spawnSync } = require('node:child_process')
      if (process.argv[4]) ${inResponse(`process.exit(9)`)}
      else console.log(spawnSync(process.execPath, [__filename, process.argv[2], '-', 'child']).status)`,
    expected: { status: 0, stdout: '9\n', stderr: '' },
    resumes: true,
  },
  'with an error for a certificate of another name': {
    source: `require('node:tls').connect({ port: Number(process.argv[3]), servername: 'elsewhere.test' })
      .on('error', (error) => console.log(error.code, error.message, error.stack))`,
    expected: { status: 0 },
    resumes: false,
  },
  'with an uncaught connection error': {
    source: `require('node:https').get('https://localhost:1/')`,
    expected: { status: 1 },
    resumes: false,
  },
  'with an argument that Node refuses': {
    source: `require('node:https').get({ host: 'localhost', port: 65536 })`,
    expected: { status: 1 },
    resumes: false,
  },
  'with an async context that must not be lost': {
    source: `
      const { AsyncLocalStorage } = require('node:async_hooks')
      const context = new AsyncLocalStorage()
      context.run('mine', () => {
        const request = require('node:https').get(process.argv[2], (response) => {
          console.log('response', context.getStore())
          response.resume().on('end', () => console.log('end', context.getStore()))
        })
        request.on('socket', (socket) => {
          socket.on('secureConnect', () => console.log('secureConnect', context.getStore()))
        })
      })`,
    expected: { status: 0, stdout: 'secureConnect mine\nresponse mine\nend mine\n', stderr: '' },
    resumes: true,
  },
  'while it looks at the certificate': {
    source: `
      const socket = require('node:tls').connect({ host: 'localhost', servername: 'localhost', port: Number(process.argv[3]) }, () => {
        const { subject, issuer, fingerprint256 } = socket.getPeerCertificate()
        console.log(socket.authorized, subject, issuer, fingerprint256, socket.getPeerX509Certificate().subject)
        setTimeout(() => socket.end(), 50)
      })`,
    expected: { status: 0, stderr: '' },
    resumes: false,
  },
  'with as many listeners as Node bears without a warning': {
    source: `
      for (let i = 0; i < 10; i++) process.on('exit', () => {})
      const request = require('node:https').get(process.argv[2], (response) => response.resume())
      request.on('socket', (socket) => socket.on('secureConnect', () => {
        for (let i = 0; i < 7; i++) socket.on('end', () => {})
      }))`,
    expected: { status: 0, stderr: '' },
    resumes: true,
  },
  'with warnings made into errors and deprecations thrown': {
    flags: ['--throw-deprecation', '--trace-warnings', '--pending-deprecation'],
    source: inResponse(`console.log('done')`),
    expected: { status: 0, stdout: 'done\n', stderr: '' },
    resumes: true,
  },
  'with frozen intrinsics': {
    flags: ['--frozen-intrinsics'],
    source: inResponse(`console.log('done')`),
    expected: { status: 0, stdout: 'done\n' },
    resumes: true,
  },
}
