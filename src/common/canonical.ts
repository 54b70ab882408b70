/**
 * Texts as one text that no other list of texts gives: each behind its length. Not JSON, which a `toJSON` that a library
 * has put on all arrays would change.
 */
export function canonical(texts: readonly string[]): string {
  let all = ''
  for (let i = 0; i < texts.length; i++) all += `${texts[i]!.length}:${texts[i]}`
  return all
}
