// Each module of Node's is asked for once a bundle, and what is used of it is held in variables: for every file that
// imports it esbuild would ask again, and look its functions up at every call. For a short process that is a tenth
// of a millisecond.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** @type {import('esbuild').Plugin} */
export const builtinsOnce = {
  name: 'builtins-once',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'builtin' } : undefined,
    )
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => {
      const names = Object.keys(require(path)).filter((name) => name !== 'default')
      // "Pure": what nobody imports is left out.
      const exports = names.map((name) => `export const ${name} = /* @__PURE__ */ (() => builtin.${name})()`)
      return {
        contents: [`const builtin = require('${path}')`, ...exports, 'export default builtin'].join('\n'),
      }
    })
  },
}
