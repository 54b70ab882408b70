import type { Script } from 'node:vm'

/**
 * Loads `wire.cjs` with the code that V8 compiled of it in an earlier process: compiling costs a short program
 * more than everything else we do. The compiled code lies beside the source, as Python's does, one file for
 * each version of Node. It is used and written only where it is as trustworthy as the source itself, by the
 * same owner and closed to everyone else, and where its digest holds (V8 checks none of its content).
 */
export function loadWire<T>(folder: string, require: NodeJS.Require): T {
  const { readFileSync } = require('node:fs') as typeof import('node:fs')
  const vm = require('node:vm') as typeof import('node:vm')
  const source = `${folder}/wire.cjs`
  const compiled = `${folder}/wire.${process.version}-${process.arch}.v8`
  const cachedData = readCompiled(source, compiled, require)
  const wrapped = `(function (module, exports, require, __filename, __dirname) {${readFileSync(source, 'latin1')}\n})`
  const script = new vm.Script(wrapped, { filename: source, cachedData })
  const module = { exports: {} as T }
  script.runInThisContext()(module, module.exports, require, source, folder)
  if (cachedData === undefined) process.once('exit', () => writeCompiled(script, source, compiled, require))
  return module.exports
}

const DIGEST = 32

function readCompiled(source: string, compiled: string, require: NodeJS.Require): Buffer | undefined {
  const fs = require('node:fs') as typeof import('node:fs')
  const { createHash } = require('node:crypto') as typeof import('node:crypto')
  try {
    const stats = fs.lstatSync(compiled, { throwIfNoEntry: false })
    const ours = fs.statSync(source)
    const open = stats === undefined || (stats.mode & 0o022 & ~ours.mode) !== 0
    if (open || !stats.isFile() || stats.uid !== ours.uid || stats.mtimeMs < ours.mtimeMs) return undefined
    const bytes = fs.readFileSync(compiled)
    const data = bytes.subarray(DIGEST)
    return createHash('sha256').update(data).digest().equals(bytes.subarray(0, DIGEST)) ? data : undefined
  } catch {
    return undefined
  }
}

/** Once for each version of Node, at the end of a process: by then V8 has compiled what a connection needs. */
function writeCompiled(script: Script, source: string, compiled: string, require: NodeJS.Require): void {
  const fs = require('node:fs') as typeof import('node:fs')
  const { createHash } = require('node:crypto') as typeof import('node:crypto')
  const temporary = `${compiled}.${process.pid}`
  try {
    if (fs.statSync(source).uid !== (process.geteuid?.() ?? 0)) return
    fs.accessSync(source.slice(0, -'/wire.cjs'.length), fs.constants.W_OK)
    const data = script.createCachedData()
    fs.writeFileSync(temporary, createHash('sha256').update(data).digest(), { flag: 'wx', mode: 0o644 })
    fs.appendFileSync(temporary, data)
    fs.renameSync(temporary, compiled)
  } catch {
    fs.rmSync(temporary, { force: true })
  }
}
