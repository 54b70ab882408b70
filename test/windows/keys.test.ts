import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { KEY } from '../support/keychains.ts'
import { describeWith, findCommand, missingCommands } from '../support/missing.ts'
import { folderOf, install } from '../support/pinned.ts'
import { CACHE, ROOT } from '../support/places.ts'

const missing = () => {
  if (process.platform !== 'linux') return 'Wine runs on Linux here'
  if (!findCommand('wine64') && !findCommand('wine')) return 'wine is not installed (apt-get install wine64)'
  return missingCommands('x86_64-w64-mingw32-gcc') ?? install('windows')
}

describeWith(missing(), 'the Credential Manager, with Node for Windows under Wine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-windows-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  type Step = Record<string, unknown> & { name: string; current?: string; previous?: string }
  const steps = new Map<string, Step>()
  beforeAll(async () => {
    const program = join(folder, 'keys.mjs')
    await build({
      entryPoints: [join(ROOT, 'test/windows/keys.ts')],
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['@napi-rs/keyring', 'vitest'],
      banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
      outfile: program,
    })
    const output = execFileSync(join(ROOT, 'test/support/windows.sh'), [folderOf('windows'), program], {
      encoding: 'utf8',
      env: { ...process.env, WINEPREFIX: join(CACHE, 'wine') },
    })
    for (const line of output.trim().split('\n')) {
      const step = JSON.parse(line)
      steps.set(step.name, step)
    }
  })
  const keyOf = (name: string) => steps.get(name)!.current

  test('holds no key, takes one, and gives it back', () => {
    expect(steps.get('virgin')).toMatchObject({ creatable: true })
    expect(keyOf('virgin')).toBeUndefined()
    expect(keyOf('made')).toMatch(/^[0-9a-f]{64}$/)
    expect([keyOf('read'), keyOf('made again')]).toEqual([keyOf('made'), keyOf('made')])
  })

  test('holds the next key with the one before in it', () => {
    expect(steps.get('a week later')).toMatchObject({ overdue: true, current: keyOf('made') })
    expect(steps.get('renewed')).toMatchObject({ overdue: false, previous: keyOf('made') })
    expect(steps.get('rotated')).toMatchObject({ previous: keyOf('renewed') })
    expect(keyOf('held')).toContain(keyOf('rotated'))
  })

  test('is asked within the process while it is quick, and not at all while it hangs', () => {
    expect(steps.get('at once')).toMatchObject({ reason: 'the Windows Credential Manager' })
    expect(steps.get('asking')).toMatchObject({ reason: expect.stringMatching(/by another process/) })
    expect(steps.get('hung')).toMatchObject({ reason: expect.stringMatching(/left alone for ten minutes/) })
  })

  test('is left empty by a purge', () => {
    expect(steps.get('removed')).toMatchObject({ reason: 'removed' })
    expect(steps.get('gone')).toMatchObject({ creatable: true })
  })

  test('is one source of several: a key file works too, and there is no kernel keyring', () => {
    expect(keyOf('file')).toBe(Buffer.from(KEY).toString('hex'))
    expect(steps.get('kernel')).toMatchObject({ reason: 'only Linux has a kernel keyring' })
  })
})
