// Two builds of one source: the library and the command as ES modules that import their dependencies as
// usual, and what runs inside other people's processes as CommonJS with everything it needs inlined.
import { rmSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'
import { builtinsOnce } from './esbuild.builtins.mjs'
import { secretboxOnly } from './esbuild.secretbox.mjs'

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
  minify: true,
  plugins: [secretboxOnly, builtinsOnce],
}

// An older Node has to be able to read it, and then leaves it alone.
await build({ ...inOtherProcesses, target: 'node12', entryPoints: { preload: 'src/runtime/preload.cts' } })

await build({
  ...inOtherProcesses,
  entryPoints: {
    'save-compiled': 'src/runtime/save-compiled.ts',
    'key-helper': 'src/keys/helper-main.ts',
  },
})

// Without what esbuild would put around a module's exports: each adds these to `exported`. The latter two are one
// function each, as `src/load-compiled.ts` hands it to V8.
const asFunction = ['(function(exported,require){', '})']
for (const [name, source, exports, [head, tail]] of [
  ['hook', './src/runtime/hook.ts', ['hookTls'], ['const exported=exports;', '']],
  ['wire', './src/runtime/wire.ts', ['start', 'hasRun'], asFunction],
  ['keys', './src/keys/chain.ts', ['fetchKeys', 'createKeysSoon'], asFunction],
]) {
  await build({
    ...inOtherProcesses,
    stdin: {
      contents: `import{${exports}}from'${source}';Object.assign(exported,{${exports}})`,
      resolveDir: '.',
    },
    outdir: undefined,
    outfile: `dist/${name}.cjs`,
    banner: { js: head },
    footer: { js: tail },
  })
}

// Loaded for what it does, not for what it exports.
writeFileSync('dist/preload.d.cts', 'export {}\n')
