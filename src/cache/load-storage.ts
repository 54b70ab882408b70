/** The build makes a file of its own of it (`esbuild.config.mjs`), so that who imports the library does not load it. */
export const loadStorage = (): typeof import('./storage.ts') => require('./storage.ts')
