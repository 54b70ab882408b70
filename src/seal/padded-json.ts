import { asBuffer } from '../common/bytes.ts'
import { plainJson } from '../common/plain-json.ts'

/**
 * Sealed lengths are a multiple of this, in bytes. An exact length could identify a server: it depends on its
 * certificate, which is public.
 */
const PADDING = 2048

export const paddedLength = (length: number): number => Math.ceil(length / PADDING) * PADDING

/** Padded JSON. It is pure ASCII, so its length in characters is its length in bytes. */
export function padded(json: unknown): string {
  const text = plainJson(json)
  return text.padEnd(paddedLength(text.length))
}

/**
 * Reads exactly what `spell` writes: a text that differs from the encoding of its own value is rejected.
 * @returns undefined if it is rejected
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
