import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DIST } from '../test/support/places.ts'
import type { Place, Run } from './place.ts'

/** What the program `store.mjs` works on. */
export interface Filled {
  readonly line: Run['line']
  readonly kind: 'encrypted' | 'plaintext'
  readonly path: string
  readonly hosts: number
}

export type Step = 'fill' | 'get' | 'put'

/** One step of `store.mjs`, by the library as it was built. */
export const storeStep = ({ line, kind, path, hosts }: Filled, step: Step): Run => ({
  line,
  program: 'store.mjs',
  env: {
    KIND: kind,
    STEP: step,
    STORE: path,
    HOSTS: String(hosts),
    LIBRARY: pathToFileURL(join(DIST, 'index.js')).href,
  },
})

/** @returns the path of a store with a ticket of each of so many hosts */
export async function fillStore(place: Place, hosts: number): Promise<string> {
  const path = place.store()
  await place.way(place.job(storeStep({ line: '24', kind: 'encrypted', path, hosts }, 'fill')))()
  return path
}
