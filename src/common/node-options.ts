/**
 * NODE_OPTIONS as Node reads it (`ParseNodeOptionsEnvVar` in src/node_options.cc): only a space separates,
 * a double quote opens and closes a string anywhere in a word, and a backslash escapes inside a string only.
 */

/** The words of NODE_OPTIONS; undefined where Node itself would refuse to start with it. */
export function parseNodeOptions(value: string): string[] | undefined {
  const words: string[] = []
  let inString = false
  let newWord = true
  for (let i = 0; i < value.length; i++) {
    let c = value.charAt(i)
    if (c === '\\' && inString) {
      c = value.charAt(++i)
      if (c === '') return undefined
    } else if (c === ' ' && !inString) {
      newWord = true
      continue
    } else if (c === '"') {
      inString = !inString
      continue
    }
    if (newWord) words.push(c)
    else words[words.length - 1] += c
    newWord = false
  }
  return inString ? undefined : words
}

/**
 * The word that loads the preload. Quoted only where it must be: many tools split NODE_OPTIONS at spaces
 * and know no quotes, and Yarn deletes `--require FILE` in two words where the name looks like its own.
 */
export function requireWord(preload: string): string {
  const word = `--require=${preload}`
  return /[ "]/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word
}

/** Under Node's permission model a preload that may not be read ends the program before it starts. */
const PERMISSION = /^--(experimental[-_])?permission$/

/**
 * NODE_OPTIONS with the preload in front, so that what others put there comes after it, untouched. Returned
 * as it was where the preload is in it, where it is malformed, and where Node's permission model is on.
 */
export function withPreload(existing: string | undefined, preload: string): string | undefined {
  if (existing === undefined || existing.trim() === '') return requireWord(preload)
  const words = parseNodeOptions(existing)
  if (words === undefined || hasPreload(words, preload) || words.some((w) => PERMISSION.test(w)))
    return existing
  return `${requireWord(preload)} ${existing}`
}

/** Whether a program started with these words loads the preload. */
export function hasPreload(words: readonly string[], preload: string): boolean {
  return words.some(
    (word, i) =>
      word === `--require=${preload}` || (word === preload && /^(-r|--require)$/.test(words[i - 1] ?? '')),
  )
}

export function asksForPermission(words: readonly string[]): boolean {
  return words.some((word) => PERMISSION.test(word))
}
