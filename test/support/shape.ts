import { expect } from 'vitest'

/** Fails with the path of what differs: other fields, or a value of another kind, where neither is null. */
export function expectShape(actual: unknown, shown: unknown, path: string): void {
  if (actual === null || shown === null) return
  expect(Array.isArray(actual) ? 'array' : typeof actual, path).toBe(
    Array.isArray(shown) ? 'array' : typeof shown,
  )
  if (Array.isArray(shown)) {
    for (const one of actual as unknown[]) expectShape(one, shown[0], `${path}[]`)
  } else if (typeof shown === 'object') {
    expect(Object.keys(actual as object), path).toEqual(Object.keys(shown))
    for (const [key, value] of Object.entries(shown))
      expectShape((actual as Record<string, unknown>)[key], value, `${path}.${key}`)
  }
}
