/**
 * `JSON.stringify` that asks no method of the program's: a `toJSON` on `Object.prototype`, which libraries of tests and of
 * logging put there, would be given the secrets that are to be encrypted.
 */
export const plainJson = (value: unknown): string => JSON.stringify(withoutMethods(value))

function withoutMethods(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const copy = Array.isArray(value)
    ? value.map(withoutMethods)
    : Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withoutMethods(one)]))
  return Object.defineProperty(copy, 'toJSON', { value: undefined })
}
