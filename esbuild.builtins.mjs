// For a default import of a module of Node's, esbuild copies all that the module exports, getter by getter: of
// `process`, that takes longer than what env-paths does with it.

/** @type {import('esbuild').Plugin} */
export const builtinDefaults = {
  name: 'builtin-defaults',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, importer, kind }) =>
      kind === 'import-statement' && importer.includes('node_modules')
        ? { path, namespace: 'builtin-default' }
        : undefined,
    )
    build.onLoad({ filter: /.*/, namespace: 'builtin-default' }, ({ path }) => ({
      contents: `export default require('${path}')`,
    }))
  },
}
