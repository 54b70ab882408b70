// Three builds of one source. The library is CommonJS, with an ES module that hands on its names: so both kinds of programs,
// and bundles of either, share one copy. The command is an ES module. What runs inside other people's processes is CommonJS
// with everything it needs bundled. tweetnacl lies beside that byte for byte as published (`test/runtime/bundles.test.ts`
// compares it with the installed package).
import { execFileSync } from 'node:child_process'
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { build } from 'esbuild'

rmSync('dist', { recursive: true, force: true })

const common = {
  bundle: true,
  metafile: true,
  platform: 'node',
  target: 'node20.19',
  outdir: 'dist',
  legalComments: 'inline',
}

const asUsual = {
  ...common,
  // The names of classes show in what programs print.
  keepNames: true,
  // Not env-paths: Nodes before 22.13 cannot require() it, an ES module, without a warning or at all.
  external: ['@napi-rs/keyring', 'tweetnacl', 'iovalkey'],
}

/** What the library loads when it is needed, by the name of its file in `dist`. */
const LOADED_LATER = { attendant: 'runtime/attendant.ts', keys: 'keys/chain.ts', storage: 'cache/storage.ts' }

/** In the library, each require() of a source of ours is one of the file that is made of it. */
const loadLater = {
  name: 'load-later',
  setup: ({ onResolve }) =>
    onResolve({ filter: /\.ts$/ }, ({ kind, path, resolveDir }) => {
      if (kind !== 'require-call') return undefined
      const source = relative(process.cwd(), join(resolveDir, path))
      const [name] = Object.entries(LOADED_LATER).find(([, one]) => join('src', one) === source) ?? []
      if (name === undefined) throw new Error(`the build makes no file of ${source}`)
      return { path: `./${name}.cjs`, external: true }
    }),
}

const library = await build({
  ...asUsual,
  entryPoints: { index: 'src/index.ts' },
  format: 'cjs',
  minify: true,
  outExtension: { '.js': '.cjs' },
  plugins: [loadLater],
})

const names = Object.keys(createRequire(import.meta.url)('./dist/index.cjs')).sort()
writeFileSync(
  'dist/index.js',
  `import library from './index.cjs'\n\nexport const { ${names.join(', ')} } = library\n`,
)
// The types of both are those of `index.cjs` (`npm run types`), so that both name the same classes.
writeFileSync('dist/index.d.ts', "export * from './index.cjs'\n")

// Some dependencies are loaded only when needed, and synchronously: require() of them, in an ES module.
const requireInModule =
  "import{createRequire as __cr}from'node:module';const{filename:__filename}=import.meta,require=__cr(__filename);"

const command = await build({
  ...asUsual,
  entryPoints: { cli: 'src/cli/main.ts', 'pool-helper': 'src/pool/helper-main.ts' },
  format: 'esm',
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  minifyWhitespace: true,
  minifySyntax: true,
  banner: { js: requireInModule },
})

// The man page and the completions: by a program that has the commands in it, and is not part of the package.
await build({
  ...asUsual,
  entryPoints: { manual: 'src/manual/main.ts' },
  format: 'esm',
  outdir: '.cache',
  banner: { js: requireInModule },
})
execFileSync(process.execPath, ['.cache/manual.js'], { stdio: 'inherit' })

const inOtherProcesses = {
  ...common,
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  external: ['@napi-rs/keyring', 'tweetnacl'],
  minify: true,
}

// An older Node has to be able to read it, and then leaves it alone.
const preload = await build({
  ...inOtherProcesses,
  target: 'node12',
  entryPoints: { preload: 'src/runtime/preload.cts' },
})

const runtime = await build({
  ...inOtherProcesses,
  entryPoints: {
    hook: 'src/runtime/hook.ts',
    ...Object.fromEntries(Object.entries(LOADED_LATER).map(([name, source]) => [name, `src/${source}`])),
    'key-helper': 'src/keys/helper-main.ts',
    precompile: 'src/runtime/precompile-main.ts',
  },
})

// As it is: the runtime loads this copy in place of the package.
copyFileSync(createRequire(import.meta.url).resolve('tweetnacl/nacl-fast.min.js'), 'dist/nacl-fast.min.js')

// Loaded for what it does, not for what it exports.
writeFileSync('dist/preload.d.cts', 'export {}\n')
writeFileSync('dist/LICENSES-OF-BUNDLED-PACKAGES.txt', licences([library, command, preload, runtime]))

/** The licences of the packages whose code is in `dist`. */
function licences(builds) {
  const inputs = builds.flatMap(({ metafile }) => Object.keys(metafile.inputs))
  const bundled = inputs.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [])
  return [...new Set(['tweetnacl', ...bundled])].sort().map(licenceOf).join('\n\n')
}

function licenceOf(name) {
  const folder = join('node_modules', name)
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find((one) => /^licen[cs]e(\.|$)/i.test(one))
  if (file === undefined) throw new Error(`${name} is bundled and has no licence file`)
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
}
