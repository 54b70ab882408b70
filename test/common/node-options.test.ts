import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { modulesLoadedBy, parseNodeOptions, requireWord, withPreload } from '../../src/common/node-options.ts'
import { cleanEnv, scratchDirectory } from '../cli/kit.ts'

const path = fc
  .string({ unit: fc.constantFrom('a', 'é', '漢', ' ', '"', "'", '\\', '$', '`', '*', '!', '\t', '=', '-') })
  .map((text) => `/${text}.cjs`)

describe('NODE_OPTIONS', () => {
  it('can hold any path, which parsing returns', () => {
    fc.assert(
      fc.property(path, (preload) => {
        expect(parseNodeOptions(requireWord(preload))).toEqual([`--require=${preload}`])
      }),
    )
  })

  it('keeps its words and gets the preload once', () => {
    fc.assert(
      fc.property(path, fc.array(path), (preload, others) => {
        const existing = others.map(requireWord).join(' ')
        const once = withPreload(existing, preload)
        expect(withPreload(once, preload)).toBe(once)
        const words = parseNodeOptions(once ?? '')!
        expect(words.filter((word) => word !== `--require=${preload}`)).toEqual(
          parseNodeOptions(existing)!.filter((word) => word !== `--require=${preload}`),
        )
        expect(modulesLoadedBy(words)).toContain(preload)
      }),
    )
  })

  it('is parsed as Node parses it', () => {
    const title = (value: string) => `--title="${value.replace(/["\\]/g, '\\$&')}"`
    fc.assert(
      fc.property(path, (text) => {
        const nodeOptions = `--no-warnings ${title(text)}`
        const { stdout } = spawnSync(process.execPath, ['-p', 'JSON.stringify(process.title)'], {
          env: cleanEnv({ NODE_OPTIONS: nodeOptions }),
          encoding: 'utf8',
        })
        expect(parseNodeOptions(nodeOptions)).toEqual(['--no-warnings', `--title=${text}`])
        expect(JSON.parse(stdout)).toBe(text)
      }),
      { numRuns: 25 },
    )
  })

  it.each(['--title="x', '--title="x\\', '"'])('is left unchanged if Node refuses it: %s', (malformed) => {
    expect(parseNodeOptions(malformed)).toBeUndefined()
    expect(withPreload(malformed, '/p.cjs')).toBe(malformed)
    const { status } = spawnSync(process.execPath, ['-e', ''], { env: cleanEnv({ NODE_OPTIONS: malformed }) })
    expect(status).not.toBe(0)
  })

  it('is left unchanged with the permission model, where an unreadable preload would end the program', () => {
    expect(withPreload('--permission', '/p.cjs')).toBe('--permission')
    expect(withPreload('--experimental-permission', '/p.cjs')).toBe('--experimental-permission')
  })

  it('is searched for the preload in every form that Node accepts', () => {
    for (const value of ['-r /p.cjs', '--require /p.cjs', '--require=/p.cjs', '--require="/p.cjs"']) {
      expect(withPreload(value, '/p.cjs')).toBe(value)
    }
    expect(withPreload('--require=/p.cjs.bak', '/p.cjs')).toBe('--require=/p.cjs --require=/p.cjs.bak')
  })

  it('loads a preload from a directory with awkward characters', () => {
    const preload = join(scratchDirectory(), 'a b"c\'d\\e$f`g漢.cjs')
    writeFileSync(preload, 'globalThis.preloads = 1')
    const { stdout } = spawnSync(process.execPath, ['-p', 'globalThis.preloads'], {
      env: cleanEnv({ NODE_OPTIONS: requireWord(preload) }),
      encoding: 'utf8',
    })
    expect(stdout).toBe('1\n')
  })
})
