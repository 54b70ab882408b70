// A program of its own (dist/precompile.cjs), which `ticketkeep precompile` runs on each Node that it is given. It keeps
// what V8 makes of the bundles beside them, for `loadBundle` to find, and prints one line of JSON.
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'
import { asFunction, digestOf, precompiledFile, TWEETNACL } from './bundles.ts'

/** What a process with a TLS connection loads: `keys.cjs` only where the key has to be asked for. */
const BUNDLES = ['hook.cjs', 'attendant.cjs', 'keys.cjs', TWEETNACL]

// As a rule V8 compiles a function when it is first called. The flag is set back, since V8 takes kept code only under
// the flags that it was kept under.
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
