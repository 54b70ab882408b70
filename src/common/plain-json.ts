/**
 * A `JSON.stringify` that calls no method of the program. A `toJSON` on `Object.prototype`, which test and logging
 * libraries add, would otherwise receive the secrets that are about to be encrypted.
 */
export const plainJson = (value: unknown): string => JSON.stringify(withoutMethods(value))

function withoutMethods(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const copy = Array.isArray(value)
    ? value.map(withoutMethods)
    : Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withoutMethods(one)]))
  return Object.defineProperty(copy, 'toJSON', { value: undefined })
}
