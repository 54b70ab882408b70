// In the place of `src/cache/load-storage.ts` where Vitest runs the sources: Node 20 cannot require() a `.ts` file.
import * as storage from '../../src/cache/storage.ts'

export const loadStorage = () => storage
