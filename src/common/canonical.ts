/**
 * An injective encoding of a list of strings: each is preceded by its length. Not JSON, which changes if a library has
 * put a `toJSON` method on arrays.
 */
export function canonical(texts: readonly string[]): string {
  let all = ''
  for (let i = 0; i < texts.length; i++) all += `${texts[i]!.length}:${texts[i]}`
  return all
}
