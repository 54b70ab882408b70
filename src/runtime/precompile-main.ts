// A separate program (dist/precompile.cjs). `ticketkeep precompile` runs it on each Node that it is given. It stores
// the code that V8 compiles from the bundles next to them, where `loadBundle` looks, and prints one line of JSON.
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'
import { asFunction, digestOf, precompiledFile, TWEETNACL } from './bundles.ts'

/**
 * The bundles that a process with a TLS connection loads. It loads `keys.cjs` only if a slower key source is needed.
 */
const BUNDLES = ['hook.cjs', 'attendant.cjs', 'keys.cjs', TWEETNACL]

// By default V8 compiles a function at its first call. The flag is reset, because V8 accepts cached code only under the
// flags that it was created with.
setFlagsFromString('--no-lazy')
const compiled = BUNDLES.map((name) => {
  const filename = `${__dirname}/${name}`
  const source = asFunction(readFileSync(filename, 'utf8'))
  return { filename, source, script: new Script(source, { filename }) }
})
setFlagsFromString('--lazy')

let bytes = 0
for (const { filename, source, script } of compiled) {
  const code = script.createCachedData()
  const content = Buffer.concat([digestOf(source, code), code])
  const temporary = `${precompiledFile(filename)}.${process.pid}`
  writeFileSync(temporary, content, { flag: 'wx', mode: 0o644 })
  chmodSync(temporary, 0o644) // whatever the umask
  renameSync(temporary, precompiledFile(filename))
  bytes += content.length
}
process.stdout.write(`${JSON.stringify({ version: process.version, arch: process.arch, bytes })}\n`)
