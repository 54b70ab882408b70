import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './places.ts'

/** A block of code on a page that people read: between fences, or indented by four spaces. */
export interface Block {
  readonly page: string
  /** The nearest heading above it. */
  readonly heading: string
  /** Of the fence: empty where it names none. What is indented is for a shell. */
  readonly language: string
  readonly text: string
}

const PAGES = [
  ...['README.md', 'SECURITY.md', 'CONTRIBUTING.md'],
  ...readdirSync(join(ROOT, 'docs'))
    .sort()
    .map((name) => `docs/${name}`),
]

const INDENT = ' '.repeat(4)

export function blocksIn(page: string, markdown: string): Block[] {
  const found: Block[] = []
  const lines = markdown.split('\n')
  let heading = ''
  for (let i = 0; i < lines.length; i++) {
    const isIndented = (line: string | undefined) => line?.startsWith(INDENT)
    const from = i
    const add = (language: string, text: readonly string[]) =>
      found.push({ page, heading, language, text: `${text.join('\n')}\n` })
    if (lines[i]!.startsWith('#')) heading = lines[i]!.replace(/^#+ /, '')
    else if (lines[i]!.startsWith('```')) {
      do i++
      while (!lines[i]!.startsWith('```'))
      add(lines[from]!.slice('```'.length), lines.slice(from + 1, i))
    } else if (isIndented(lines[i]) && lines[i - 1] === '') {
      while (isIndented(lines[i + 1])) i++
      add(
        'sh',
        lines.slice(from, i + 1).map((line) => line.slice(INDENT.length)),
      )
    }
  }
  return found
}

const all = PAGES.flatMap((page) => blocksIn(page, readFileSync(join(ROOT, page), 'utf8')))

/**
 * The tests of blocks, each with those that it has: it runs them, or makes them, or compares them with what is real. A block
 * has the first test that fits.
 */
const TESTS = {
  // What a command prints, and what the doc comments say: these tests write the page.
  'test/cli/screens.test.ts': ({ page }) => page === 'docs/screens.md',
  'test/reference.test.ts': ({ page, heading }) => page === 'docs/reference.md' && heading !== 'Example',
  // The examples of the doc comments are compiled. So is a bundle by what the page says.
  'test/e2e/consumers.test.ts': ({ page, language }) =>
    page === 'docs/reference.md' || (page === 'docs/library.md' && language === 'text'),
  'test/docs.test.ts': ({ page, language }) =>
    language === 'js' || (page === 'docs/library.md' && language === 'sh'),
  'test/docs-ci.test.ts': ({ page, language }) => page === 'docs/ci.md' && language !== 'console',
  'test/docs-fleet.test.ts': ({ page, heading }) => page === 'docs/fleet.md' || heading === 'pool',
  'test/cli/keychain.test.ts': ({ heading }) => heading === 'rotate-key',
  'test/cli/run.test.ts': ({ heading }) => /^The summary/.test(heading),
  'test/cli/json-shapes.test.ts': ({ page, language }) => page === 'docs/command.md' && language === 'json',
  'test/docs-administrators.test.ts': ({ page }) => page === 'docs/administrators.md',
  'test/docs-shell.test.ts': ({ page, language, heading }) =>
    language === 'sh' &&
    (page === 'docs/command.md' || (page === 'README.md' && heading !== 'More' && heading !== 'Install')),
  'test/docs-contributing.test.ts': ({ page, heading }) =>
    page === 'CONTRIBUTING.md' || (page === 'README.md' && heading === 'More') || page === 'docs/clients.md',
} satisfies Record<string, (block: Block) => boolean>

export type BlockTest = keyof typeof TESTS

const testOf = (block: Block) => (Object.keys(TESTS) as BlockTest[]).find((name) => TESTS[name](block))

/** The blocks of a test, in the order of the pages. */
export const blocksOf = (test: BlockTest): Block[] => all.filter((block) => testOf(block) === test)

/** Those that no test has. */
export const untested = (): Block[] => all.filter((block) => testOf(block) === undefined)

export const BLOCK_TESTS = Object.keys(TESTS) as BlockTest[]

/** Single lines for a shell, without comments. Lines that a backslash joins are one. */
export const shellLines = (text: string): string[] =>
  text
    .replaceAll('\\\n', '')
    .split('\n')
    .map((line) => line.replace(/(^| +)#.*$/, '').trim())
    .filter((line) => line !== '')
