// Two builds of one source: the library and the command as ES modules that import their dependencies as usual, and what
// runs inside other people's processes as CommonJS with everything it needs bundled. Dependencies are bundled as they are
// published (`test/package/bundles.test.ts` compares tweetnacl with the installed package).
import { rmSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'

rmSync('dist', { recursive: true, force: true })

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  outdir: 'dist',
  legalComments: 'inline',
}

await build({
  ...common,
  entryPoints: { index: 'src/index.ts', cli: 'src/cli/main.ts' },
  format: 'esm',
  // The names of classes show in what programs print.
  keepNames: true,
  splitting: true,
  // Not env-paths: Nodes before 22.13 cannot require() it, an ES module, without a warning or at all.
  external: ['@napi-rs/keyring', 'tweetnacl', 'zod'],
  chunkNames: 'chunks/[name]-[hash]',
  // Some dependencies are loaded only when needed, and synchronously: require() of them, in an ES module.
  banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
})

const inOtherProcesses = {
  ...common,
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  external: ['@napi-rs/keyring'],
}

// An older Node has to be able to read it, and then leaves it alone.
await build({ ...inOtherProcesses, target: 'node12', entryPoints: { preload: 'src/runtime/preload.cts' } })

await build({
  ...inOtherProcesses,
  entryPoints: {
    hook: 'src/runtime/hook.ts',
    wire: 'src/runtime/wire.ts',
    keys: 'src/keys/chain.ts',
    'key-helper': 'src/keys/helper-main.ts',
    precompile: 'src/runtime/precompile.ts',
  },
})

// Loaded for what it does, not for what it exports.
writeFileSync('dist/preload.d.cts', 'export {}\n')
