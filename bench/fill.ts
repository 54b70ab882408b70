import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DIST } from '../test/support/places.ts'
import type { Place, Run } from './place.ts'

/** The input of the program `store.mjs`. */
export interface Filled {
  readonly line: Run['line']
  readonly kind: 'encrypted' | 'plaintext'
  readonly path: string
  readonly hosts: number
}

export type Step = 'fill' | 'get' | 'put'

/** One step of `store.mjs`, with the built library. */
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

/** @returns the path of a store with one ticket for each of this many hosts */
export async function fillStore(place: Place, hosts: number): Promise<string> {
  const path = place.store()
  await place.way(place.job(storeStep({ line: '24', kind: 'encrypted', path, hosts }, 'fill')))()
  return path
}
