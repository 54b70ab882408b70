import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { scratch } from '../support/directories.ts'
import { KEY } from '../support/keychains.ts'
import { describeWith } from '../support/missing.ts'
import { folderOf } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { PRELOAD, ROOT } from '../support/places.ts'
import { createSandbox, exampleProgram, runCommand, type Sandbox } from '../support/run-program.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'
import { bundleForWindows, missingWindows, onWindows, windowsPath } from './wine.ts'

// All in one file, so that no two tests use the Credential Manager at the same time.
describeWith(missingWindows(), 'the Credential Manager, with Node for Windows under Wine', () => {
  const folder = scratch()
  type Step = Record<string, unknown> & { name: string; current?: string; previous?: string }
  const steps = new Map<string, Step>()
  beforeAll(async () => {
    const [command, modules] = onWindows.command
    const output = execFileSync(command, [modules, await bundleForWindows('keys', folder)], {
      encoding: 'utf8',
      env: { ...process.env, WINEPREFIX: onWindows.prefix },
    })
    for (const line of output.trim().split('\n')) {
      const step = JSON.parse(line)
      steps.set(step.name, step)
    }
  })
  const keyOf = (name: string) => steps.get(name)!.current

  test('has no key, stores one and returns it', () => {
    expect(steps.get('virgin')).toMatchObject({ creatable: true })
    expect(keyOf('virgin')).toBeUndefined()
    expect(keyOf('made')).toMatch(/^[0-9a-f]{64}$/)
    expect([keyOf('read'), keyOf('made again')]).toEqual([keyOf('made'), keyOf('made')])
  })

  test('holds the next key with the previous one', () => {
    expect(steps.get('a week later')).toMatchObject({ overdue: true, current: keyOf('made') })
    expect(steps.get('renewed')).toMatchObject({ overdue: false, previous: keyOf('made') })
    expect(steps.get('rotated')).toMatchObject({ previous: keyOf('renewed') })
    expect(keyOf('held')).toContain(keyOf('rotated'))
  })

  test('is asked in the process, since it never prompts', () => {
    expect(steps.get('at once')).toMatchObject({ reason: 'the Windows Credential Manager' })
  })

  test('would be asked in the process while it is quick and not at all while it hangs, if it could prompt', () => {
    expect(steps.get('quick')).toMatchObject({ reason: 'the Windows Credential Manager' })
    expect(steps.get('asking')).toMatchObject({ reason: expect.stringMatching(/by another process/) })
    expect(steps.get('hung')).toMatchObject({ reason: expect.stringMatching(/is not asked for ten minutes/) })
  })

  test('is empty after a purge', () => {
    expect(steps.get('removed')).toMatchObject({ reason: 'removed' })
    expect(steps.get('gone')).toMatchObject({ creatable: true })
  })

  test('is one of several sources: a key file works too, and there is no kernel keyring', () => {
    expect(keyOf('file')).toBe(Buffer.from(KEY).toString('hex'))
    expect(steps.get('kernel')).toMatchObject({ reason: 'only Linux has a kernel keyring' })
  })
})

describeWith(missingWindows(), 'Node for Windows under Wine', () => {
  let server: TlsServer
  let sandbox: Sandbox
  let ca: string
  const folder = scratch()
  beforeAll(async () => {
    const authority = await createAuthority()
    server = await startTlsServer(await authority.issue())
    sandbox = createSandbox()
    ca = sandbox.write('ca.pem', authority.cert)
  })
  afterAll(async () => {
    sandbox.remove()
    await server.close()
  })

  const run = (program: string, args: readonly string[], env: Record<string, string> = {}) =>
    runCommand(
      {
        sandbox,
        preload: false,
        env: { TICKETKEEP_KEY: undefined, TICKETKEEP_DIR: undefined, WINEPREFIX: onWindows.prefix, ...env },
        timeoutMs: 60_000,
      },
      [...onWindows.command, program, ...args],
    )

  test('a program under the preload makes a key in the Credential Manager, and the next one resumes', async () => {
    const env = {
      NODE_EXTRA_CA_CERTS: windowsPath(ca),
      TICKETKEEP_DIR: windowsPath(sandbox.tickets),
      TICKETKEEP_KEY_SOURCE: 'keychain',
    }
    const visit = (extra: Record<string, string>) =>
      run(exampleProgram('slow-lookup.cjs'), [`https://localhost:${server.port}/`], { ...env, ...extra })
    const plain = await visit({})
    expect(plain).toEqual({ status: 0, signal: null, stdout: '200 hello\n', stderr: '' })
    expect(sandbox.stored()).toEqual([])
    // As npm installs it on Windows.
    const modules = join(sandbox.directory, 'node_modules')
    cpSync(dirname(PRELOAD), join(modules, 'ticketkeep/dist'), { recursive: true })
    copyFileSync(join(ROOT, 'package.json'), join(modules, 'ticketkeep/package.json'))
    cpSync(join(folderOf('windows'), 'node_modules/@napi-rs'), join(modules, '@napi-rs'), { recursive: true })
    const path = windowsPath(join(modules, 'ticketkeep/dist/preload.cjs'))
    const preload = { NODE_OPTIONS: `--require ${path.replaceAll('\\', '/')}` }
    expect(await visit(preload)).toEqual(plain)
    expect(sandbox.stored().length).toBeGreaterThan(0)
    expect(await visit(preload)).toEqual(plain)
    expect(server.requests.map(({ reused }) => reused)).toEqual([false, false, true])
  })

  test('the store saves, takes once, reads reusable sessions, invalidates, prunes and purges', async () => {
    const { stdout, stderr } = await run(await bundleForWindows('store', folder), [])
    expect(stderr).toBe('')
    const lines = stdout.trim().split('\n')
    expect(
      Object.fromEntries(lines.map((line) => JSON.parse(line)).map(({ name, value }) => [name, value])),
    ).toEqual({
      saved: [3, 'no problem', 1],
      listed: 3,
      taken: [3, 0, 0],
      replaced: [1, 1, 1],
      'read and left': [1, 1],
      'after a rotation': 1,
      'with another key': 0,
      invalidated: [{ removed: 1, left: 0 }, 0],
      pruned: { files: 1, tickets: 0 },
      purged: [1, ['foreign'], true],
    })
  })
})
