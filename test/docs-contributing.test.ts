import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { blocksOf, shellLines } from './support/blocks.ts'
import { ROOT } from './support/places.ts'

// What a developer is told to run is there. The short ones are run by CI, the others take half an hour and more. And the tree of
// CONTRIBUTING.md is that of `src`.

const blocks = blocksOf('test/docs-contributing.test.ts')
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}

const lines = blocks.filter(({ language }) => language === 'sh').flatMap(({ text }) => shellLines(text))

it.each([...new Set(lines)])('%s', (line) => {
  for (const command of line.split(' && ')) {
    const [, script] = /^npm (?:run )?(\S+)/.exec(command) ?? []
    if (script === undefined) expect(existsSync(join(ROOT, command)), command).toBe(true)
    else if (script !== 'ci') expect(scripts, command).toHaveProperty([script])
  }
})

it('each block is for one of these tests', () =>
  expect(blocks.map(({ language }) => language)).toEqual(['sh', 'sh', '', 'sh']))

it('CI runs what the README says of a clone', () => {
  const ci = readFileSync(join(ROOT, '.ci/run'), 'utf8')
  for (const command of ['npm ci', 'npm test', 'npm run demo', 'npm run check'])
    expect(ci).toContain(` ${command}`)
})

it('the tree has each file and folder of src, and no other', () => {
  const [tree] = blocks.filter(({ text }) => text.startsWith('src/'))
  const named = [...tree!.text.matchAll(/^ {2}([\w.-]+)/gm)].map(([, name]) => name)
  expect(named.sort()).toEqual(readdirSync(join(ROOT, 'src')).sort())
})
