/**
 * Parses NODE_OPTIONS like Node: only spaces separate words, a double quote opens and closes a string anywhere in a
 * word, and a backslash escapes only inside a string.
 *
 * Source: Node, `ParseNodeOptionsEnvVar` in src/node_options.cc.
 */

interface Word {
  text: string
  /** Its position in the value, including quotes. */
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
    // An empty pair of quotes is not a word.
    if (word === undefined && c !== '') words.push((word = { text: '', start, end: i }))
    if (word === undefined) continue
    word.text += c
    word.end = i + 1
  }
  return inString ? undefined : words
}

/** @returns the words; undefined if Node itself would refuse to start with this value */
export function parseNodeOptions(value: string): string[] | undefined {
  return findWords(value)?.map(({ text }) => text)
}

/** The module that the flag at this index loads, and the number of words of the flag. */
function moduleLoadedAt(words: readonly string[], at: number): { path: string; length: number } | undefined {
  const word = words[at] ?? ''
  const next = words[at + 1]
  const inline = /^--(?:require|import)=(.*)$/s.exec(word)?.[1]
  if (inline !== undefined) return { path: inline, length: 1 }
  return /^(-r|--require|--import)$/.test(word) && next !== undefined ? { path: next, length: 2 } : undefined
}

/** The modules that these words make a program load first, as they are written there. */
export function modulesLoadedBy(words: readonly string[]): string[] {
  return words.flatMap((_, i) => moduleLoadedAt(words, i)?.path ?? [])
}

/**
 * The word that loads the preload. It is quoted only if necessary, because many tools split NODE_OPTIONS at spaces and
 * do not understand quotes. It is one word, because Yarn deletes `--require FILE` in two words if the name looks like
 * its own.
 */
export function requireWord(preload: string): string {
  const word = `--require=${preload}`
  return /[ "]/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word
}

/**
 * NODE_OPTIONS with the preload in front. What others put there follows unchanged. Returned unchanged if it already
 * contains the preload, is malformed, or enables Node's permission model.
 */
export function withPreload(existing: string | undefined, preload: string): string | undefined {
  if (existing === undefined || existing.trim() === '') return requireWord(preload)
  const words = parseNodeOptions(existing)
  if (words === undefined || modulesLoadedBy(words).includes(preload) || asksForPermission(words))
    return existing
  return `${requireWord(preload)} ${existing}`
}

/** NODE_OPTIONS without the modules that `isOurs` accepts. Everything else stays as it is written. */
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

/**
 * Whether the words enable Node's permission model. Under it, a preload without read permission stops the program from
 * starting.
 */
export function asksForPermission(words: readonly string[]): boolean {
  return words.some((word) => /^--(experimental[-_])?permission$/.test(word))
}
