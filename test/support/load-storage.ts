// Replaces `src/cache/load-storage.ts` when Vitest runs the sources, since Node 20 cannot require() a `.ts` file.
import * as storage from '../../src/cache/storage.ts'

export const loadStorage = () => storage
