import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { BLOCK_TESTS, blocksIn, blocksOf, untested } from './support/blocks.ts'
import { ROOT } from './support/places.ts'

// Every block of code in README.md, SECURITY.md, CONTRIBUTING.md and docs is run, or made, or compared by a test: `TESTS` in
// `support/blocks.ts` says by which. The others are here.

/** By their first lines: why no test has them. */
const NOT_TESTED: Record<string, string> = {
  'npm install -g ticketkeep': 'it needs the registry. `e2e/consumers` has the packed tarball',
  '$ docker build --secret id=ticketkeep,src=ticketkeep.key .':
    'it needs a Docker daemon, and images from a registry. The lines of the Dockerfile are run without Docker',
}

it('every block has a test, or a reason why it has none', () => {
  const firstLines = untested().map(({ text }) => text.split('\n')[0]!)
  expect(firstLines).toEqual(Object.keys(NOT_TESTED))
})

it.each(BLOCK_TESTS)('%s has blocks, and takes them from here', (test) => {
  expect(blocksOf(test).length).toBeGreaterThan(0)
  expect(existsSync(join(ROOT, test))).toBe(true)
  // These two compare the whole page.
  if (test === 'test/cli/screens.test.ts' || test === 'test/reference.test.ts') return
  expect(readFileSync(join(ROOT, test), 'utf8').includes(`blocksOf('${test}')`)).toBe(true)
})

it('blocks are found by their fences and by four spaces', () => {
  const page =
    '# A\n\n```js\nx\n\ny\n```\n\n* a list\n    that goes on\n\n## B\n\n    one\n    two\n\n```\n# no heading\n```\n'
  expect(blocksIn('p', page)).toEqual([
    { page: 'p', heading: 'A', language: 'js', text: 'x\n\ny\n' },
    { page: 'p', heading: 'B', language: 'sh', text: 'one\ntwo\n' },
    { page: 'p', heading: 'B', language: '', text: '# no heading\n' },
  ])
})
