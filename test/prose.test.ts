import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './support/places.ts'

// The documents for users have short sentences. Tables, code and headings do not count.

const pages = [
  'README.md',
  'SECURITY.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(ROOT, page), 'utf8')
  const sentences = sentencesOf(text)
  const lengths = sentences.map(wordsIn).sort((a, b) => a - b)

  it('has sentences of at most 14 words in the median', () =>
    expect(lengths[Math.floor(lengths.length / 2)] ?? 0).toBeLessThanOrEqual(14))

  it('has no sentence of more than 30 words', () =>
    expect(sentences.filter((sentence) => wordsIn(sentence) > 30)).toEqual([]))

  it('has no semicolon', () => expect(sentences.filter((sentence) => sentence.includes(';'))).toEqual([]))
})

it('the README has at most 900 words', () => {
  const prose = readFileSync(join(ROOT, 'README.md'), 'utf8').replace(/^```.*?^```/gms, '')
  expect(wordsIn(prose)).toBeLessThanOrEqual(900)
})

it('sentencesOf splits sentences', () =>
  expect(
    sentencesOf('# A title\n\nOne. Two `a.b. c`\nand more: e.g. this.\n\n* Three.\n* Four\n\n| a. b |\n'),
  ).toEqual(['One.', 'Two CODE and more:', 'e.g. this.', 'Three.', 'Four']))

function sentencesOf(markdown: string): string[] {
  return markdown
    .replace(/^```.*?^```/gms, '\n')
    .replace(/^(#|\||<!--| {4}).*$/gm, '\n')
    .replace(/`[^`]*`/g, 'CODE')
    .replace(/\]\([^)]*\)/g, ']')
    .split(/\n\s*\n|\n\s*(?:[*-]|\d+\.) /)
    .flatMap((paragraph) =>
      paragraph.replace(/^\s*(?:[*-]|\d+\.) /, '').split(/(?<=[.?!:]["”)*]*)(?<!\b(?:e\.g|i\.e)\.)\s+/),
    )
    .map((sentence) => sentence.replace(/\s+/g, ' ').trim())
    .filter((sentence) => sentence !== '')
}

function wordsIn(sentence: string): number {
  return sentence.split(/\s+/).filter((word) => /\w/.test(word)).length
}
