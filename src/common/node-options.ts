/**
 * NODE_OPTIONS as Node reads it: only a space separates words, a double quote opens and closes a string anywhere in
 * a word, and a backslash escapes inside a string only.
 *
 * Source: Node, `ParseNodeOptionsEnvVar` in src/node_options.cc.
 */

interface Word {
  text: string
  /** Where it is written, with its quotes. */
  readonly start: number
  end: number
}

function findWords(value: string): Word[] | undefined {
  const words: Word[] = []
  let word: Word | undefined
  let start: number | undefined
  let inString = false
  for (let i = 0; i < value.length; i++) {
    let c = value.charAt(i)
    if (c === ' ' && !inString) {
      word = start = undefined
      continue
    }
    start ??= i
    if (c === '\\' && inString) {
      c = value.charAt(++i)
      if (c === '') return undefined
    } else if (c === '"') {
      inString = !inString
      c = ''
    }
    // A pair of quotes with nothing in it is no word.
    if (word === undefined && c !== '') words.push((word = { text: '', start, end: i }))
    if (word === undefined) continue
    word.text += c
    word.end = i + 1
  }
  return inString ? undefined : words
}

/** @returns the words; undefined where Node itself refuses to start with this value */
export function parseNodeOptions(value: string): string[] | undefined {
  return findWords(value)?.map(({ text }) => text)
}

/** The module that is loaded by the flag at this place, and how many words that takes. */
function moduleLoadedAt(words: readonly string[], at: number): { path: string; length: number } | undefined {
  const word = words[at] ?? ''
  const next = words[at + 1]
  const inline = /^--(?:require|import)=(.*)$/s.exec(word)?.[1]
  if (inline !== undefined) return { path: inline, length: 1 }
  return /^(-r|--require|--import)$/.test(word) && next !== undefined ? { path: next, length: 2 } : undefined
}

/** The modules that a program started with these words loads first, as they are named there. */
export function modulesLoadedBy(words: readonly string[]): string[] {
  return words.flatMap((_, i) => moduleLoadedAt(words, i)?.path ?? [])
}

/**
 * The word that loads the preload. Quoted only where it must be: many tools split NODE_OPTIONS at spaces
 * and know no quotes, and Yarn deletes `--require FILE` in two words where the name looks like its own.
 */
export function requireWord(preload: string): string {
  const word = `--require=${preload}`
  return /[ "]/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word
}

/**
 * NODE_OPTIONS with the preload in front, so that what others put there comes after it, untouched. Returned
 * as it was where the preload is in it, where it is malformed, and where Node's permission model is on.
 */
export function withPreload(existing: string | undefined, preload: string): string | undefined {
  if (existing === undefined || existing.trim() === '') return requireWord(preload)
  const words = parseNodeOptions(existing)
  if (words === undefined || modulesLoadedBy(words).includes(preload) || asksForPermission(words))
    return existing
  return `${requireWord(preload)} ${existing}`
}

/** NODE_OPTIONS without the modules that `isOurs` knows, everything else as it was written. */
export function withoutModules(existing: string, isOurs: (path: string) => boolean): string {
  const words = findWords(existing)
  if (words === undefined) return existing
  const texts = words.map(({ text }) => text)
  const kept: string[] = []
  for (let i = 0; i < words.length; i++) {
    const loaded = moduleLoadedAt(texts, i)
    if (loaded && isOurs(loaded.path)) i += loaded.length - 1
    else kept.push(existing.slice(words[i]!.start, words[i]!.end))
  }
  return kept.join(' ')
}

/** Under Node's permission model a preload that may not be read ends the program before it starts. */
export function asksForPermission(words: readonly string[]): boolean {
  return words.some((word) => /^--(experimental[-_])?permission$/.test(word))
}
