import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { blocksOf } from './support/blocks.ts'
import { describeWith, missingNode } from './support/missing.ts'
import { type NodeLine, nodeBinary } from './support/pinned.ts'
import { createAuthority } from './support/pki.ts'
import { ROOT } from './support/places.ts'
import { createSandbox, runCommand, runProgram, type Sandbox } from './support/run-program.ts'
import { startTlsServer, type TlsServer } from './support/tls-server.ts'

// Each block of JavaScript in the README and in `docs` is a program that takes a URL, and resumes in its second run.

const blocks = blocksOf('test/docs.test.ts')
const programs = blocks
  .filter(({ language }) => language === 'js')
  .map(({ page, heading, text }) => [`${page}, ${heading}`, text] as const)

let server: TlsServer
let sandbox: Sandbox
let ca: string
beforeAll(async () => {
  const authority = await createAuthority()
  const identity = await authority.issue({ names: ['localhost'] })
  server = await startTlsServer({ ...identity, kind: 'http2', allowHTTP1: true } as never)
  sandbox = createSandbox()
  ca = sandbox.write('ca.pem', authority.cert)
  mkdirSync(join(sandbox.directory, 'node_modules'))
  for (const name of ['undici', 'tweetnacl']) {
    symlinkSync(join(ROOT, 'node_modules', name), join(sandbox.directory, 'node_modules', name))
  }
  symlinkSync(ROOT, join(sandbox.directory, 'node_modules/ticketkeep'))
})
afterAll(async () => {
  await server?.close()
  sandbox?.remove()
})

it('there are such blocks', () => expect(programs.length).toBeGreaterThanOrEqual(6))

// On Node 20 it is not known what was read of NODE_EXTRA_CA_CERTS.
for (const line of ['22', '24'] as NodeLine[]) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    it.each(programs)('%s', async (name, source) => {
      const before = server.handshakes.length
      const env = {
        TICKETKEEP_DIR: join(sandbox.directory, `${line} ${name.replaceAll('/', ' ')}`),
        NODE_EXTRA_CA_CERTS: ca,
      }
      const file = sandbox.write('program.mjs', source)
      const args = [`https://localhost:${server.port}/`]
      for (let i = 0; i < 2; i++) {
        const ran = await runProgram({ sandbox, file, args, env, preload: false, node: nodeBinary(line) })
        expect(ran).toMatchObject({ status: 0, stderr: '' })
        expect(ran.stdout).toContain('hello\n')
      }
      expect(server.handshakes.slice(before).map(({ reused }) => reused)).toEqual([false, true])
    })
  })
}

it('how to test a program is what it says: nothing is resumed in the first run, and the second one resumes', async () => {
  const [trial, ...others] = blocks.filter(({ language }) => language === 'sh')
  expect(others).toEqual([])
  const source = blocks.find(({ language, heading }) => language === 'js' && heading === trial!.heading)!.text
  const folder = mkdtempSync(join(sandbox.directory, 'trial-'))
  symlinkSync(join(sandbox.directory, 'node_modules'), join(folder, 'node_modules'))
  // On the Node of the tests a program has to name its CA.
  const withCa = source.replace('{ onEvent', `{ ca: ${JSON.stringify(readFileSync(ca, 'utf8'))}, onEvent`)
  expect(withCa).not.toBe(source)
  writeFileSync(join(folder, 'program.mjs'), withCa)
  const script = trial!.text.replaceAll('https://registry.example', `https://localhost:${server.port}/`)
  const env = { TICKETKEEP_KEY: undefined, TICKETKEEP_DIR: undefined }
  const ran = await runCommand({ sandbox, preload: false, cwd: folder, env }, ['sh', '-euc', script])
  expect(ran).toMatchObject({ status: 0, stderr: '' })
  const said = ran.stdout.split('\n').filter((line) => /^(skip|offer|resumed|harvest)/.test(line))
  expect(said.indexOf('skip no ticket')).toBe(0)
  expect(said).toContain('harvest ')
  expect(said.slice(said.indexOf('harvest ')).map((line) => line.trim())).toEqual(
    expect.arrayContaining(['offer', 'resumed']),
  )
})
