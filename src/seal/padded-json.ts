import { asBuffer } from '../common/bytes.ts'
import { plainJson } from '../common/plain-json.ts'

/** Lengths say nothing finer than this: a session's follows its certificate's, and certificates are public. */
const PADDING = 2048

export const paddedLength = (length: number): number => Math.ceil(length / PADDING) * PADDING

/** JSON of ASCII alone, so that its length in bytes is its length. */
export function padded(json: unknown): string {
  const text = plainJson(json)
  return text.padEnd(paddedLength(text.length))
}

/**
 * Reads a text that `spell` wrote and no other: what does not spell as what it seems to say is refused.
 * @returns undefined where it is refused
 */
export function decode<T>(
  bytes: Uint8Array,
  parse: (json: never) => T | undefined,
  spell: (value: T) => string,
): T | undefined {
  try {
    const text = asBuffer(bytes).toString('latin1')
    const value = parse(JSON.parse(text) as never)
    return value !== undefined && spell(value) === text ? value : undefined
  } catch {
    return undefined
  }
}
