// A program of its own (dist/precompile.cjs), which `ticketkeep precompile` runs on each Node that it is given. It keeps
// what V8 makes of the bundles beside them, for `loadBundle` to find, and prints one line of JSON.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'
import { asFunction, precompiledFolder, TWEETNACL } from './bundles.ts'

/** What a process with a TLS connection loads: `keys.cjs` only where the key has to be asked for. */
const BUNDLES = ['hook.cjs', 'wire.cjs', 'keys.cjs', TWEETNACL]

const dist = __dirname
const folder = precompiledFolder(dist)
mkdirSync(folder, { recursive: true })

// As a rule V8 compiles a function when it is first called. The flag is set back, since V8 takes kept code only under
// the flags that it was kept under.
setFlagsFromString('--no-lazy')
const scripts = BUNDLES.map((name) => {
  const filename = `${dist}/${name}`
  return { name, script: new Script(asFunction(readFileSync(filename, 'utf8')), { filename }) }
})
setFlagsFromString('--lazy')

let bytes = 0
for (const { name, script } of scripts) {
  const code = script.createCachedData()
  bytes += code.length
  const temporary = `${folder}/${name}.v8.${process.pid}`
  writeFileSync(temporary, code, { flag: 'wx', mode: 0o644 })
  renameSync(temporary, `${folder}/${name}.v8`)
}
process.stdout.write(`${JSON.stringify({ version: process.version, arch: process.arch, folder, bytes })}\n`)
